"""The schema, forward and back: the files of `sql/`, each applied once and in order, by yoyo."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import psycopg
from yoyo.backends.core.postgresql import PostgresqlPsycopgBackend
from yoyo.connections import DatabaseURI
from yoyo.migrations import default_migration_table

from operator_prices.errors import ExplainedError
from operator_prices.postgres.pooling import Pooling, require_session
from operator_prices.store import objects, protection
from operator_prices.store.database import connect
from operator_prices.store.objects import read
from operator_prices.store.row_security import LOCK_TIMEOUT

LOCK = 0x6F705F6D69677261
"""The advisory lock of whoever migrates: the server lets go of it when that process dies."""

HOME = "public"
"""The schema of our tables."""

PATIENCE = "60s"
"""How long to wait for another process that migrates."""


class MigrationError(ExplainedError):
    """One sentence: what stands in the way, that nothing of it was kept, and what to do."""


def pending(dsn: str) -> list[str]:
    """The migrations that the database lacks, in order; changes nothing."""
    with _backend(dsn) as backend:
        known = read()
        if backend.migration_table in backend.list_tables():
            known = backend.to_apply(known)
        return [migration.id for migration in known]


def migrate(dsn: str) -> list[str]:
    """Apply what the database lacks, each migration in one transaction; return their names.

    What a migration makes is closed to all but its owner in the same transaction; in the end rights
    and row-level security are as they should be, whether anything was applied or not.

    Raises `MigrationError`, and `psycopg.OperationalError` if no server answers.
    """
    if not pending(dsn) and not _owns_tables(dsn):
        return []
    with _alone(dsn) as backend:
        seen = [migration.id for migration in backend.to_rollback(read())]
        lacking = backend.to_apply(read())
        for migration in lacking:
            seen.append(migration.id)
            with _whole(backend, migration.id):
                migration.process_steps(backend, "apply")
                protection.close(backend.connection, objects.ours(backend.connection, seen))
                backend.mark_one(migration, log=False)
        put_right(backend.connection)
        return [migration.id for migration in lacking]


def protect(dsn: str) -> tuple[list[str], list[str]]:
    """Put rights and row-level security right; return what was not, and what still is not.

    Nothing is changed where all is as it should be, nor where the role does not own our tables.
    Raises `MigrationError`.
    """
    with connect(dsn) as connection:
        found = protection.findings(connection)
        if not found or not _is_owner(connection):
            return found, found
        put_right(connection)
        return found, protection.findings(connection)


def put_right(connection: psycopg.Connection) -> None:
    """Put rights and row-level security right as their owner. Raises `MigrationError`."""
    with _sentence("Putting rights and row-level security right"):
        protection.settle(connection)


def unprotected(dsn: str) -> list[str]:
    """What of rights and row-level security is not as it should be; changes nothing."""
    with connect(dsn) as connection:
        return protection.findings(connection)


def rollback(dsn: str) -> list[str]:
    """Take every migration back, the last one first; return their names.

    Afterwards the database holds what it held before the first `migrate`, and nothing else.
    Raises as `migrate` does.
    """
    with _alone(dsn) as backend:
        applied = backend.to_rollback(read())
        with _sentence("Giving rights back"):
            protection.give_back(backend.connection)
        for migration in applied:
            with _whole(backend, migration.id):
                migration.process_steps(backend, "rollback")
                backend.unmark_one(migration, log=False)
        with _whole(backend, "Removing the list of migrations"):
            for table in _bookkeeping(backend):
                backend.execute(f"DROP TABLE IF EXISTS {backend.quote_identifier(table)}")
        return [migration.id for migration in applied]


def _owns_tables(dsn: str) -> bool:
    with connect(dsn) as connection:
        return _is_owner(connection)


def _is_owner(connection: psycopg.Connection) -> bool:
    """Whether the role may change our tables, and not only what is in them."""
    row = connection.execute(
        "SELECT pg_has_role(relowner, 'USAGE') FROM pg_class WHERE oid = to_regclass(%s)",
        [default_migration_table],
    ).fetchone()
    return row is None or bool(row[0])


class Backend(PostgresqlPsycopgBackend):  # type: ignore[misc]
    """Yoyo's, on a connection of ours: one that is dead is given up."""

    def connect(self, uri: DatabaseURI) -> psycopg.Connection:
        return connect(uri.args["dsn"], name="migrate")


@contextmanager
def _backend(dsn: str) -> Iterator[PostgresqlPsycopgBackend]:
    """A connection as yoyo wants it, from anything that psycopg understands.

    Yoyo's own parser knows neither conninfo strings nor all forms of a URL.
    """
    arguments = {"dsn": dsn}
    uri = DatabaseURI("postgresql+psycopg", None, None, None, None, None, arguments)
    with Backend(uri, default_migration_table) as backend:
        yield backend


@contextmanager
def _alone(dsn: str) -> Iterator[PostgresqlPsycopgBackend]:
    """A connection that no other migration or rollback runs beside, ready for yoyo.

    A pooler must keep its session for us, and gets it back as it was.
    """
    pooled = require_session(dsn) is not Pooling.NONE
    with _backend(dsn) as backend, ExitStack() as leaving:
        connection = backend.connection
        if pooled:
            leaving.callback(_give_back, connection)
        connection.execute("SELECT set_config('lock_timeout', %s, false)", [PATIENCE])
        try:
            connection.execute("SELECT pg_advisory_lock(%s)", [LOCK])
        except psycopg.errors.LockNotAvailable as error:
            raise MigrationError(
                f"Another process has been migrating this database for {PATIENCE}:"
                " wait until it is done, then try again."
            ) from error
        connection.execute("SELECT set_config('lock_timeout', %s, false)", [LOCK_TIMEOUT])
        connection.execute("SET statement_timeout = 0")  # a rollback may restore many rows
        _require_room(connection)
        with _sentence("Preparing the list of migrations"):
            backend.create_lock_table()
            backend.break_lock()  # ours is the advisory lock: a row here is of a killed process
            backend.ensure_internal_schema_updated()
        known = {migration.hash for migration in read()}
        rows = connection.execute(f"SELECT * FROM {backend.migration_table_quoted}")  # noqa: S608
        if newer := sorted(name for key, name, _ in rows if key not in known):
            raise MigrationError(
                f"This database was migrated by another version of operator-prices, which also has"
                f" {', '.join(newer)}: use that version."
            )
        yield backend


ROOM = """
SELECT current_user, current_database(), current_setting('search_path'), current_schema(),
       has_schema_privilege(current_schema(), 'CREATE'),
       has_database_privilege(current_database(), 'CREATE')
WHERE to_regclass(%s) IS NULL
"""


def _require_room(connection: psycopg.Connection) -> None:
    """Raise `MigrationError` where the role cannot make our first tables, which yoyo leaves out."""
    row = connection.execute(ROOM, [default_migration_table]).fetchone()
    if row is None:
        return
    user, database, path, schema, may_make_tables, may_make_schemas = row
    if schema is None:
        raise MigrationError(
            f"The search_path of the role {user} ({path}) names no schema that is there, so our"
            f" tables have no place: ALTER ROLE {user} IN DATABASE {database} SET search_path ="
            f" {HOME}."
        )
    if schema != HOME:
        raise MigrationError(
            f"The search_path of the role {user} ({path}) has our tables made in the schema"
            f" {schema}, and whoever reads them looks in {HOME}: ALTER ROLE {user} IN DATABASE"
            f" {database} SET search_path = {HOME}, and let DATABASE_URL set no other."
        )
    if not may_make_tables:
        raise MigrationError(
            f"The role {user} may make no tables in the schema {schema}, which from Postgres 15 on"
            f" only the database's owner may: GRANT CREATE ON SCHEMA {schema} TO {user}, or use"
            " that owner."
        )
    if not may_make_schemas:
        raise MigrationError(
            f"The role {user} may make no schema in the database {database}, and Dagster's tables"
            f" need one: GRANT CREATE ON DATABASE {database} TO {user}, or use its owner."
        )


def _give_back(connection: psycopg.Connection) -> None:
    connection.rollback()
    connection.execute("SELECT pg_advisory_unlock_all()")
    connection.execute("RESET lock_timeout")
    connection.execute("RESET statement_timeout")
    connection.commit()


@contextmanager
def _whole(backend: PostgresqlPsycopgBackend, what: str) -> Iterator[None]:
    """One transaction for a migration and for its mark, which yoyo would set in a second one.

    A process killed between the two would leave a migration to be applied twice.
    """
    with _sentence(what), backend.transaction():
        yield


@contextmanager
def _sentence(what: str) -> Iterator[None]:
    try:
        yield
    except psycopg.errors.LockNotAvailable as error:
        raise MigrationError(
            f"{what} waited {LOCK_TIMEOUT} for a table that a long query or an open transaction"
            " holds, and nothing of it was kept: end that (pg_stat_activity lists it) or try again"
            " when it is done."
        ) from error
    except psycopg.Error as error:
        fact = error.diag.message_primary or str(error)
        fix = f" {error.diag.message_hint}" if error.diag.message_hint else ""
        raise MigrationError(f"{what} failed, and nothing of it was kept: {fact}.{fix}") from error


def _bookkeeping(backend: PostgresqlPsycopgBackend) -> tuple[str, ...]:
    return (backend.migration_table, backend.log_table, backend.version_table, backend.lock_table)
