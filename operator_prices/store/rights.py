"""Who may do what with our tables, views, sequences and functions, and what is taken back of it.

Whatever a database grants by default is: nobody but owner, writer and reader has a right that was
not given by name. What was granted by name, as on tables of the old system, stays.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from psycopg import Connection, sql

from operator_prices.settings import READER
from operator_prices.store.dagster_tables import SCHEMA as DAGSTER
from operator_prices.store.objects import Ours

WRITER = "operator_prices_writer"
"""The role of a pipeline that changes rows and no tables."""

COMMENT = "created by operator-prices"
"""By which a role of ours is told from one of the same name; only ours is ever dropped."""

EVERYBODY = "PUBLIC"

PLATFORM = ("anon", "authenticated", "service_role")
"""Whom REST interfaces act as, whether they get rights by default here or not."""

READABLE = (
    *("epochs", "operator_share_prices", "operator_shares", "operators_metadata"),
    *("epoch_analytics", "comprehensive_analytics", "epoch_documents", "operator_points"),
    *("data_version", "quarantine", "skipped_epochs", "chain_identity"),
    *("legacy_prices", "legacy_hashes", "source_head"),
    *("operator_share_prices_text", "operator_shares_text", "comprehensive_analytics_text"),
    *("nominator_epochs", "raw_nominators", "nominator_positions", "nominator_accounts"),
    *("nominators", "nominator_positions_by_epoch", "nominator_positions_by_epoch_text"),
)
"""What the API's role may read."""

PUBLISHED = (
    *("epochs", "operator_share_prices", "operator_shares", "operators_metadata"),
    *("epoch_analytics", "comprehensive_analytics"),
    *("operator_share_prices_text", "operator_shares_text", "comprehensive_analytics_text"),
    *("nominator_epochs", "nominator_positions", "nominator_accounts"),
    *("nominators", "nominator_positions_by_epoch", "nominator_positions_by_epoch_text"),
)
"""What `publish` opens for reading; views read as whoever asks, so their tables are with them."""

OLD_VIEW = "comprehensive_analytics_old"
"""The old system's view, which goes on reading with its owner's rights."""


@dataclass(frozen=True, slots=True)
class Target:
    """Something that rights are given on."""

    kind: str
    """TABLE, SEQUENCE, ROUTINE or SCHEMA: TABLE stands for views, too."""
    name: str
    quoted: str
    """As a statement names it, with its schema."""
    owner: str

    @property
    def named(self) -> sql.Composable:
        return sql.SQL(self.quoted)


@dataclass(frozen=True, slots=True)
class Right:
    target: Target
    grantee: str
    grantor: str
    privilege: str
    grantable: bool
    column: str | None


HELD = """
SELECT target, CASE grantee WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(grantee) END,
       pg_get_userbyid(grantor), privilege, grantable, attribute
FROM (
SELECT 'class' || pg_class.oid, grantee, grantor, privilege_type, is_grantable, NULL AS attribute
FROM pg_class, aclexplode(coalesce(
  relacl, acldefault((CASE relkind WHEN 'S' THEN 's' ELSE 'r' END)::"char", relowner)))
WHERE pg_class.oid = ANY (%(relations)s)
UNION ALL
SELECT 'class' || attrelid, grantee, grantor, privilege_type, is_grantable, attname
FROM pg_attribute, aclexplode(attacl)
WHERE attrelid = ANY (%(relations)s) AND NOT attisdropped
UNION ALL
SELECT 'proc' || pg_proc.oid, grantee, grantor, privilege_type, is_grantable, NULL
FROM pg_proc, aclexplode(coalesce(proacl, acldefault('f', proowner)))
WHERE pg_proc.oid = ANY (%(functions)s)
UNION ALL
SELECT 'namespace', grantee, grantor, privilege_type, is_grantable, NULL
FROM pg_namespace, aclexplode(coalesce(nspacl, acldefault('n', nspowner)))
WHERE nspname = %(dagster)s
) AS held (target, grantee, grantor, privilege, grantable, attribute)
"""


BY_DEFAULT = """
SELECT rolname FROM pg_roles AS role
WHERE NOT rolsuper AND rolname <> ALL (%(known)s)
  AND (rolname = ANY (%(platform)s) OR role.oid IN (
    SELECT grantee FROM pg_default_acl, aclexplode(defaclacl)
    WHERE pg_get_userbyid(defaclrole) = ANY (%(owners)s)))
  AND role.oid <> (SELECT datdba FROM pg_database WHERE datname = current_database())
  AND NOT EXISTS (  -- a member of the owner's role is the owner
    SELECT FROM pg_roles AS owner
    WHERE owner.rolname = ANY (%(owners)s) AND pg_has_role(role.oid, owner.oid, 'MEMBER'))
ORDER BY rolname
"""


def targets(ours: Ours) -> dict[str, Target]:
    """Everything that rights are given on, by the key under which `HELD` has it."""
    found = {}
    for one in (*ours.relations, *ours.dagster_relations):
        kind = "SEQUENCE" if one.kind == "S" else "TABLE"
        name = one.name if one.schema == ours.schema else f"{one.schema}.{one.name}"
        found[f"class{one.oid}"] = Target(kind, name, one.named.as_string(None), one.owner)
    for function in (*ours.functions, *ours.dagster_functions):
        found[f"proc{function.oid}"] = Target(
            "ROUTINE", function.name, function.signature, function.owner
        )
    if ours.dagster_owner is not None:
        schema = Target("SCHEMA", f"schema {DAGSTER}", DAGSTER, ours.dagster_owner)
        found["namespace"] = schema
    return found


def held(connection: Connection, ours: Ours) -> list[Right]:
    """Every right that somebody has been given on what is ours, owners' own included."""
    known = targets(ours)
    relations = (*ours.relations, *ours.dagster_relations)
    functions = (*ours.functions, *ours.dagster_functions)
    rows = connection.execute(
        HELD,
        {
            "relations": [one.oid for one in relations],
            "functions": [one.oid for one in functions],
            "dagster": DAGSTER,
        },
    ).fetchall()
    return [
        Right(known[key], grantee, grantor, privilege, grantable, column)
        for key, grantee, grantor, privilege, grantable, column in rows
    ]


def owners(connection: Connection, ours: Ours) -> set[str]:
    """Who owns what is ours, and who we are."""
    row = connection.execute("SELECT current_user").fetchone()
    return {target.owner for target in targets(ours).values()} | {str(row[0]) if row else ""}


def roles_by_default(connection: Connection, ours: Ours) -> list[str]:
    """The roles that get rights here without being named: for them everything is closed."""
    mine = owners(connection, ours)
    rows = connection.execute(
        BY_DEFAULT,
        {
            "known": [*mine, READER, WRITER],
            "owners": list(mine),
            "platform": list(PLATFORM),
        },
    )
    return [EVERYBODY, *(name for (name,) in rows)]


def published_to(connection: Connection, ours: Ours) -> set[str]:
    """The roles that `publish` has opened the published tables to, as far as they exist."""
    if all(one.name != "published_to" for one in ours.relations):
        return set()
    rows = connection.execute(
        sql.SQL(
            "SELECT role FROM {} WHERE role = 'PUBLIC' OR to_regrole(quote_ident(role)) IS NOT NULL"
        ).format(sql.Identifier(ours.schema, "published_to"))
    )
    return {name for (name,) in rows}


def is_published(target: Target, privilege: str) -> bool:
    return target.kind == "TABLE" and target.name in PUBLISHED and privilege == "SELECT"


def close(connection: Connection, ours: Ours) -> None:
    """Take back what roles were granted by default, with what they passed on."""
    closed = set(roles_by_default(connection, ours))
    published = published_to(connection, ours)
    mine = changeable_owners(connection, ours)
    for _ in range(10):  # a right that was passed on is found when its grantor's is gone
        excess = [
            right
            for right in held(connection, ours)
            if right.grantee in closed
            and right.target.owner in mine
            and right.grantee != right.target.owner
            and not (right.grantee in published and is_published(right.target, right.privilege))
        ]
        if not excess:
            return
        _revoke(connection, excess)


def _revoke(connection: Connection, excess: Sequence[Right]) -> None:
    grouped: dict[tuple[Target, str, str, str | None], list[str]] = defaultdict(list)
    for right in excess:
        key = (right.target, right.grantee, right.grantor, right.column)
        grouped[key].append(right.privilege)
    for (target, grantee, grantor, column), privileges in grouped.items():
        what = listed_privileges(privileges, column)
        if grantor == target.owner:
            form = "REVOKE {what} ON {kind} {target} FROM {role} CASCADE"
            role = grantee
        else:  # only its grantor could revoke it, but not without the option to grant
            form = "REVOKE GRANT OPTION FOR {what} ON {kind} {target} FROM {role} CASCADE"
            role = grantor
        connection.execute(
            sql.SQL(form).format(
                what=what, kind=sql.SQL(target.kind), target=target.named, role=role_named(role)
            )
        )


def withdraw(connection: Connection, ours: Ours, role: str) -> None:
    """Take from a role what publishing gave it."""
    mine = changeable_owners(connection, ours)
    excess = [
        right
        for right in held(connection, ours)
        if right.grantee == role
        and right.target.owner in mine
        and is_published(right.target, right.privilege)
    ]
    with connection.transaction():
        _revoke(connection, excess)


def listed_privileges(privileges: Iterable[str], column: str | None) -> sql.Composable:
    of_column: sql.Composable = sql.SQL("")
    if column is not None:
        of_column = sql.SQL(" ({})").format(sql.Identifier(column))
    return sql.SQL(", ").join(sql.SQL(one) + of_column for one in sorted(set(privileges)))


def role_named(role: str) -> sql.Composable:
    return sql.SQL(EVERYBODY) if role == EVERYBODY else sql.Identifier(role)


def changeable_owners(connection: Connection, ours: Ours) -> set[str]:
    """The owners whose rights we have: what belongs to others is not ours to change."""
    rows = connection.execute(
        "SELECT name FROM unnest(%s::text[]) AS name WHERE pg_has_role(name, 'USAGE')",
        [list(owners(connection, ours))],
    )
    return {name for (name,) in rows}


def exists(connection: Connection, role: str) -> bool:
    return connection.execute("SELECT FROM pg_roles WHERE rolname = %s", [role]).rowcount == 1
