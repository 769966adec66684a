"""Dagster's schema beside ours: how a connection gets into it, and how strayed tables do."""

import logging
from collections.abc import Mapping

from psycopg import Connection, sql

from operator_prices.errors import ExplainedError

LOG = logging.getLogger(__name__)

SCHEMA = "dagster"
"""Dagster's tables have a schema of their own; the migrations create it."""

ENTER = "SELECT set_config('search_path', 'dagster', false), current_schema(), pg_backend_pid()"
"""Has a connection work in the schema, and tells where it is and which process serves it."""

LEAVE = "RESET search_path"

LOCK = 0x6F705F6461677374
"""The advisory lock of whoever moves tables; it ends with the transaction."""

OUTSIDE = """
SELECT relname, array_agg(attname::text),
       pg_has_role(relowner, 'USAGE'),
       to_regclass(format('%%I.%%I', %(schema)s::text, relname)) IS NOT NULL
  FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid AND attnum > 0 AND NOT attisdropped
 WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' AND relname = ANY(%(names)s)
   AND NOT EXISTS (SELECT FROM pg_depend
                    WHERE classid = 'pg_class'::regclass AND objid = pg_class.oid AND deptype = 'e')
 GROUP BY pg_class.oid, relname, relowner
 ORDER BY relname
"""


UNMISTAKABLE = ("runs", "event_logs", "job_ticks", "asset_check_executions", "instigators")
"""Names whose columns nobody else has; a table `kvs` with a key and a value may be anybody's."""


class SchemaError(ExplainedError):
    """Dagster's tables cannot be where they belong."""


def require_schema(connection: Connection) -> None:
    """Raise `SchemaError` unless our role may work in Dagster's schema."""
    row = connection.execute(
        "SELECT current_user, has_schema_privilege(oid, 'USAGE') FROM pg_namespace"
        " WHERE nspname = %s",
        [SCHEMA],
    ).fetchone()
    if row is None:
        raise SchemaError(
            f"The database has no schema {SCHEMA} for Dagster's tables:"
            " run `operator-prices migrate` first."
        )
    if not row[1]:
        raise SchemaError(
            f"The role {row[0]} may not use the schema {SCHEMA}, where Dagster's tables are:"
            f" use the role that migrated, or GRANT ALL ON SCHEMA {SCHEMA} TO it."
        )


def strays(connection: Connection, tables: Mapping[str, frozenset[str]]) -> dict[str, bool]:
    """Dagster's tables in `public` that are ours to move, and whether its schema has them too."""
    rows = connection.execute(OUTSIDE, {"schema": SCHEMA, "names": list(tables)}).fetchall()
    found = {
        name: there
        for name, columns, ours, there in rows
        if ours and frozenset(columns) == tables[name]
    }
    return found if any(name in found for name in UNMISTAKABLE) else {}


def gather(
    connection: Connection, tables: Mapping[str, frozenset[str]], revisions: frozenset[str]
) -> list[str]:
    """Move Dagster's tables that lie in `public` to its schema; return their names.

    `tables` names the columns of each. A table of that name with other columns is somebody else's,
    and so is all of it while no table with an unmistakable name is Dagster's. Alembic's list of
    versions is Dagster's while it holds none but its `revisions`. What has its like in Dagster's
    schema already stays where it is, and is told to the log.
    """
    with connection.transaction():
        connection.execute("SELECT set_config('lock_timeout', '10s', true)")
        connection.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK])
        found = strays(connection, tables)
        if _stamped(connection, revisions):
            found["alembic_version"] = _known(connection, "alembic_version")
        if twice := sorted(name for name, there in found.items() if there):
            LOG.warning(
                "Dagster's tables are in the schema public and in %s too (%s): those in %s are"
                " used; drop the others when nobody needs their runs.",
                SCHEMA,
                ", ".join(twice),
                SCHEMA,
            )
            return []
        for name in found:
            connection.execute(
                sql.SQL("ALTER TABLE public.{} SET SCHEMA {}").format(
                    sql.Identifier(name), sql.Identifier(SCHEMA)
                )
            )
    return sorted(found)


def _stamped(connection: Connection, revisions: frozenset[str]) -> bool:
    found = connection.execute("SELECT to_regclass('public.alembic_version')").fetchone()
    if found is None or found[0] is None:
        return False
    return all(
        version in revisions
        for (version,) in connection.execute("SELECT version_num FROM public.alembic_version")
    )


def _known(connection: Connection, name: str) -> bool:
    row = connection.execute("SELECT to_regclass(%s)", [f"{SCHEMA}.{name}"]).fetchone()
    return row is not None and row[0] is not None
