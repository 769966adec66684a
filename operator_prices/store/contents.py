"""What a database holds of ours, for a backup: who may do what, how much there is, its digest.

And the removal of all of it, which leaves alone whatever is somebody else's.
"""

from collections.abc import Iterable, Sequence

import psycopg
from psycopg import Connection, sql

from operator_prices.errors import ExplainedError
from operator_prices.settings import READER
from operator_prices.store import rights, row_security
from operator_prices.store.dagster_tables import SCHEMA as DAGSTER
from operator_prices.store.objects import Ours, Relation, applied, ours

Given = list[tuple[str, str, str, str, bool, str | None]]
"""Kind, name, grantee, privilege, whether with the option to grant, and column of each right."""

Digests = dict[str, tuple[int, str]]
"""Rows, and the sum of what each row's MD5 begins with, of each table."""

PLAIN = """
SELECT set_config('TimeZone', 'UTC', true), set_config('DateStyle', 'ISO', true),
       set_config('IntervalStyle', 'postgres', true), set_config('bytea_output', 'hex', true),
       set_config('extra_float_digits', '1', true), set_config('statement_timeout', '0', true)
"""
"""Rows read the same on every server."""

DIGEST = sql.SQL(
    "SELECT count(*), coalesce(sum(('x' || left(md5(one::text), 15))::bit(60)::bigint::numeric), 0)"
    "::text FROM {} AS one"
)

OLD_COLUMNS = {"epoch", "end_block", "end_hash", "timestamp", "data"}

TRIGGERS = """
SELECT tgname, tgrelid::regclass::text FROM pg_trigger
WHERE NOT tgisinternal AND tgrelid = ANY (%s) AND tgfoid = ANY (%s)
"""


class ForeignObjectError(ExplainedError):
    """Something that is not ours is in the way, and is not touched."""


def present(connection: Connection) -> Ours:
    """What is ours here, without a table epochs that only shares its name with the old system's."""
    known = ours(connection)
    if applied(connection):
        return known
    columns = {
        name
        for (name,) in connection.execute(
            "SELECT attname FROM pg_attribute WHERE attrelid = to_regclass('epochs')"
            " AND attnum > 0 AND NOT attisdropped"
        )
    }
    if columns >= OLD_COLUMNS:
        return known
    return Ours(
        known.schema, (), (), known.dagster_relations, known.dagster_functions, known.dagster_owner
    )


def refuse_hidden(connection: Connection, known: Ours) -> None:
    """Raise `ForeignObjectError` where row-level security would leave rows out of a backup."""
    row = connection.execute("SELECT current_user").fetchone()
    role = str(row[0]) if row else ""
    active = {
        oid
        for (oid,) in connection.execute(
            "SELECT oid::bigint FROM pg_class WHERE oid = ANY (%s) AND row_security_active(oid)",
            [[one.oid for one in known.tables]],
        )
    }
    hidden = [
        one.table.name
        for one in row_security.guarded(connection, known)
        if one.table.oid in active and (one.hidden_from & {role} or one.restricting)
    ]
    if hidden:
        raise ForeignObjectError(
            f"Row-level security hides rows of {', '.join(hidden)} from the role {role}, and a"
            " backup would not be whole: run `operator-prices migrate` as the tables' owner first."
        )


def digests(connection: Connection, tables: Iterable[Relation]) -> Digests:
    """How many rows each table has, and what they say, in whatever order."""
    connection.execute(PLAIN)
    found: Digests = {}
    for one in tables:
        row = connection.execute(DIGEST.format(one.named)).fetchone()
        found[f"{one.schema}.{one.name}"] = (int(row[0]), str(row[1])) if row else (0, "")
    return found


def given(connection: Connection, known: Ours) -> Given:
    """The rights that others than the owners have."""
    return [
        (
            right.target.kind,
            right.target.quoted,
            right.grantee,
            right.privilege,
            right.grantable,
            right.column,
        )
        for right in rights.held(connection, known)
        if right.grantee != right.target.owner
    ]


def give(connection: Connection, known: Ours, wanted: Given) -> list[str]:
    """Let others have these rights on what is ours and no more; return who is missing here."""
    targets = {(one.kind, one.quoted): one for one in rights.targets(known).values()}
    for kind, quoted, grantee, *_ in given(connection, known):
        connection.execute(
            sql.SQL("REVOKE ALL ON {} {} FROM {} CASCADE").format(
                sql.SQL(kind), targets[kind, quoted].named, rights.role_named(grantee)
            )
        )
    missing = set()
    for kind, quoted, grantee, privilege, grantable, column in wanted:
        target = targets.get((kind, quoted))
        if grantee != rights.EVERYBODY and not rights.exists(connection, grantee):
            missing.add(grantee)
        elif target is not None and grantee != target.owner:
            _grant(connection, target, grantee, privilege, column, grantable=grantable)
    return sorted(missing - {READER, rights.WRITER})


def _grant(
    connection: Connection,
    target: rights.Target,
    grantee: str,
    privilege: str,
    column: str | None,
    *,
    grantable: bool,
) -> None:
    statement = sql.SQL("GRANT {} ON {} {} TO {}").format(
        rights.listed_privileges([privilege], column),
        sql.SQL(target.kind),
        target.named,
        rights.role_named(grantee),
    )
    connection.execute(statement + sql.SQL(" WITH GRANT OPTION" if grantable else ""))


def definitions(connection: Connection, known: Ours) -> list[str]:
    """The statements that make our functions, with every name in full."""
    connection.execute("SELECT set_config('search_path', '', true)")
    rows = connection.execute(
        "SELECT pg_get_functiondef(oid) FROM pg_proc WHERE oid = ANY (%s) ORDER BY oid",
        [[one.oid for one in known.functions]],
    )
    return [text for (text,) in rows]


def remove(connection: Connection, known: Ours, *, dagster: bool) -> None:
    """Drop what is ours, and Dagster's tables if that is wanted.

    Raises `ForeignObjectError` where something of somebody else depends on it: nothing cascades.
    """
    try:
        tables = [one.oid for one in known.tables]
        functions = [one.oid for one in known.functions]
        for name, table in connection.execute(TRIGGERS, [tables, functions]).fetchall():
            connection.execute(
                sql.SQL("DROP TRIGGER {} ON {}").format(sql.Identifier(name), sql.SQL(table))
            )
        for kind, relkinds in (("VIEW", "v"), ("MATERIALIZED VIEW", "m")):
            named = [one.named for one in known.relations if one.kind in relkinds]
            _drop(connection, kind, named)
        _drop(connection, "FUNCTION", [sql.SQL(one.signature) for one in known.functions])
        _drop(connection, "TABLE", [one.named for one in known.tables])
        if dagster:
            owned = [one.named for one in known.dagster_relations if one.is_table]
            _drop(connection, "TABLE", owned)
    except psycopg.errors.DependentObjectsStillExist as error:
        told = "; ".join((error.diag.message_detail or "it is not said what").splitlines())
        raise ForeignObjectError(
            f"Something that is not ours depends on what is to be replaced, and nothing was"
            f" changed ({told}): drop it, restore, and make it again."
        ) from error


def made_dagster_schema(connection: Connection, known: Ours) -> bool:
    """Whether it was a migration that made Dagster's schema."""
    if all(one.name != "before_migration" for one in known.relations):
        return False
    noted = connection.execute(
        sql.SQL("SELECT FROM {} WHERE (kind, name) = ('schema', %s)").format(
            sql.Identifier(known.schema, "before_migration")
        ),
        [DAGSTER],
    )
    return noted.rowcount == 0 and known.dagster_owner is not None


def drop_dagster_schema(connection: Connection) -> None:
    """Drop Dagster's schema, which is empty by now but for what is somebody else's."""
    try:
        connection.execute(sql.SQL("DROP SCHEMA IF EXISTS {}").format(sql.Identifier(DAGSTER)))
    except psycopg.errors.DependentObjectsStillExist as error:
        raise ForeignObjectError(
            f"The schema {DAGSTER} holds something that is not Dagster's, and nothing was changed"
            f" ({error.diag.message_detail}): move it, then restore."
        ) from error


def _drop(connection: Connection, kind: str, named: Sequence[sql.Composable]) -> None:
    """All of a kind in one statement: they may depend on each other."""
    if named:
        connection.execute(sql.SQL("DROP {} {}").format(sql.SQL(kind), sql.SQL(", ").join(named)))
