"""Row-level security on our tables: on, with a policy for whoever has a right, and hiding nothing.

A right without a policy would be an empty answer instead of a refusal, so the policies follow the
rights; the owner has one, too, for the day when somebody forces it on owners.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from psycopg import Connection, sql

from operator_prices.store.objects import Ours, Relation
from operator_prices.store.rights import EVERYBODY, OLD_VIEW, Right, held, role_named

READ, WRITE = "operator_prices_read", "operator_prices_write"
"""The names of our policies."""

LOCK_TIMEOUT = "2s"
"""How long we wait for a busy table, and so how long we may hold up those behind us."""

BOUNDED = "SELECT set_config('lock_timeout', %s, true)"
"""For the rest of a transaction: nothing is left in a session that may be another's next."""

INVOKER = 150_000
"""The server version since which a view can read with the rights of whoever asks."""

STATE = """
SELECT pg_class.oid::bigint, relrowsecurity,
       coalesce(array_agg(ARRAY[polname, (
           SELECT string_agg(CASE role WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(role) END, E'\\n')
           FROM unnest(polroles) AS role),
         polcmd::text, polpermissive::text, pg_get_expr(polqual, polrelid),
         pg_get_expr(polwithcheck, polrelid)]) FILTER (WHERE polname IS NOT NULL), '{}')
FROM pg_class LEFT JOIN pg_policy ON polrelid = pg_class.oid
WHERE pg_class.oid = ANY (%s) GROUP BY pg_class.oid
"""

PASSING = (
    ("r", "true", "true", None),
    ("*", "true", "true", "true"),
)


@dataclass(frozen=True, slots=True)
class Policy:
    name: str
    roles: frozenset[str]
    permissive: bool
    passes: bool
    """It lets every row through."""


@dataclass(frozen=True, slots=True)
class Guarded:
    """A table as it is, and whom it should be open to."""

    table: Relation
    on: bool
    policies: tuple[Policy, ...]
    readers: frozenset[str]
    writers: frozenset[str]

    @property
    def hidden_from(self) -> set[str]:
        """Who has rights here and no policy that goes with them."""
        lacking: set[str] = set()
        for name, roles in ((READ, self.readers), (WRITE, self.writers)):
            sound = next((one for one in self.policies if one.name == name and one.passes), None)
            lacking |= roles - (sound.roles if sound else frozenset())
        return lacking

    @property
    def restricting(self) -> list[str]:
        """Policies that are not ours and hide rows that ours let through."""
        return [one.name for one in self.policies if not one.permissive]

    @property
    def is_right(self) -> bool:
        ours = {one.name: one.roles for one in self.policies if one.name in (READ, WRITE)}
        wanted = {READ: self.readers, WRITE: self.writers}
        sound = all(one.passes for one in self.policies if one.name in ours)
        return self.on and sound and ours == {name: who for name, who in wanted.items() if who}


def guarded(connection: Connection, ours: Ours) -> list[Guarded]:
    """Our tables with their policies, beside the rights that these should follow."""
    rights: dict[str, list[Right]] = defaultdict(list)
    for right in held(connection, ours):
        if right.target.kind == "TABLE":
            rights[right.target.name].append(right)
    known = {
        oid: (on, [_policy(told) for told in policies])
        for oid, on, policies in connection.execute(
            STATE, [[one.oid for one in ours.tables]]
        ).fetchall()
    }
    found = []
    for table in ours.tables:
        on, policies = known[table.oid]
        readers, writers = _entitled(table, rights[table.name])
        found.append(Guarded(table, on, tuple(policies), readers, writers))
    return found


def _entitled(table: Relation, rights: Iterable[Right]) -> tuple[frozenset[str], frozenset[str]]:
    given = [right for right in rights if right.grantee != EVERYBODY]
    writers = {table.owner} | {
        one.grantee for one in given if one.privilege in ("INSERT", "UPDATE", "DELETE")
    }
    readers = {one.grantee for one in given if one.privilege == "SELECT"} - writers
    return frozenset(readers), frozenset(writers)


def _policy(told: Sequence[str | None]) -> Policy:
    name, roles, command, permissive, using, checking = told
    expected = {READ: PASSING[0], WRITE: PASSING[1]}.get(str(name))
    passes = (command, permissive, using, checking) == expected
    return Policy(str(name), frozenset(str(roles).split("\n")), permissive == "true", passes)


def protect(connection: Connection, tables: Iterable[Guarded]) -> None:
    """Switch row-level security on and let the policies follow the rights; right tables are left.

    Each table in a transaction of its own.
    """
    for one in tables:
        if not one.is_right:
            with connection.transaction():
                connection.execute(BOUNDED, [LOCK_TIMEOUT])
                _protect_one(connection, one)


def _protect_one(connection: Connection, one: Guarded) -> None:
    table = one.table.named
    _drop_policies(connection, one)
    if one.readers:
        connection.execute(
            sql.SQL("CREATE POLICY {} ON {} FOR SELECT TO {} USING (true)").format(
                sql.Identifier(READ), table, _listed(one.readers)
            )
        )
    connection.execute(
        sql.SQL("CREATE POLICY {} ON {} TO {} USING (true) WITH CHECK (true)").format(
            sql.Identifier(WRITE), table, _listed(one.writers)
        )
    )
    if not one.on:
        connection.execute(sql.SQL("ALTER TABLE {} ENABLE ROW LEVEL SECURITY").format(table))


def _drop_policies(connection: Connection, one: Guarded) -> None:
    for policy in one.policies:
        if policy.name in (READ, WRITE):
            connection.execute(
                sql.SQL("DROP POLICY {} ON {}").format(sql.Identifier(policy.name), one.table.named)
            )


def _listed(roles: Iterable[str]) -> sql.Composable:
    return sql.SQL(", ").join([role_named(role) for role in sorted(roles)])


def unprotect(connection: Connection, tables: Iterable[Guarded]) -> None:
    """Take our policies away, and row-level security with them, one table at a time."""
    for one in tables:
        if any(policy.name in (READ, WRITE) for policy in one.policies):
            with connection.transaction():
                connection.execute(BOUNDED, [LOCK_TIMEOUT])
                _drop_policies(connection, one)
                if one.on:
                    connection.execute(
                        sql.SQL("ALTER TABLE {} DISABLE ROW LEVEL SECURITY").format(one.table.named)
                    )


def views_read_as_invoker(connection: Connection, ours: Ours) -> None:
    """Have our views read with the rights of whoever asks, where the server knows how."""
    if connection.info.server_version < INVOKER:
        return
    lacking = connection.execute(
        "SELECT oid::bigint FROM pg_class WHERE oid = ANY (%s)"
        " AND NOT coalesce(reloptions, '{}') @> ARRAY['security_invoker=true']",
        [[one.oid for one in ours.relations if one.kind == "v" and one.name != OLD_VIEW]],
    ).fetchall()
    wanted = {oid for (oid,) in lacking}
    for one in ours.relations:
        if one.oid in wanted:
            with connection.transaction():
                connection.execute(BOUNDED, [LOCK_TIMEOUT])
                connection.execute(
                    sql.SQL("ALTER VIEW {} SET (security_invoker = true)").format(one.named)
                )
