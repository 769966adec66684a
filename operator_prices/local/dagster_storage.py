"""Dagster's storage, in a schema of its own whatever a pooler makes of startup options.

`dagster.yaml` names the class.
"""

import math
import multiprocessing
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from threading import current_thread, main_thread
from time import monotonic
from typing import Any

from operator_prices.starting import uncollected

with uncollected():  # a run's process is here first, and waits for it
    import psycopg
    from alembic.script import ScriptDirectory
    from dagster import EventLogEntry, Field
    from dagster_postgres import (
        DagsterPostgresStorage,
        PostgresEventLogStorage,
        PostgresRunStorage,
        PostgresScheduleStorage,
    )
    from dagster_postgres.event_log.event_log import SqlEventLogStorageMetadata
    from dagster_postgres.run_storage import run_storage
    from dagster_postgres.schedule_storage.schedule_storage import ScheduleStorageSqlMetadata
    from dagster_postgres.storage import ConfigurableClassData
    from dagster_postgres.utils import pg_alembic_config, set_pg_statement_timeout
    from sqlalchemy import URL, Engine, NullPool, Pool, create_engine, event, make_url
    from sqlalchemy.dialects import plugins
    from sqlalchemy.engine import CreateEnginePlugin

    from operator_prices import store
    from operator_prices.errors import ExplainedError
    from operator_prices.local import silence
    from operator_prices.local.dagster_home import storage_url
    from operator_prices.local.dagster_pool import give_turn, kept_engine, named, turned
    from operator_prices.local.database import unusable
    from operator_prices.local.own_services import storage_address
    from operator_prices.postgres.address import understood
    from operator_prices.postgres.keeping import REACH
    from operator_prices.postgres.parts import part
    from operator_prices.postgres.pooling import require_session
    from operator_prices.store import dagster_tables, protection

PLUGIN = "operator_prices_schema"

POOLED = "operator-prices pooled"
"""Marks a connection whose session lives on at a pooler."""


REMEMBER_SECONDS, WORKING = 2, {"run", "command"}
"""How long what partitions there are is taken for known, and by which parts."""


class OwnSchemaStorage(DagsterPostgresStorage):
    """Dagster's storage in Postgres, whose every connection works in the schema `dagster`.

    Raises an `ExplainedError` where there is no such schema, or where a pooler keeps no session.
    """

    def __init__(
        self,
        postgres_url: str,
        *,
        should_autocreate_tables: bool = True,
        inst_data: ConfigurableClassData | None = None,
    ) -> None:
        dsn = understood(postgres_url, "DAGSTER_PG_URL")
        prepare(dsn)
        url = make_url(storage_url(dsn)).update_query_dict({"plugin": PLUGIN})
        self.postgres_url = url.render_as_string(hide_password=False)
        self.should_autocreate_tables = should_autocreate_tables and not _is_spawned()
        self._inst_data = inst_data
        self._run_storage = Runs(self.postgres_url, self.should_autocreate_tables)
        self._event_log_storage = EventLog(self.postgres_url, self.should_autocreate_tables)
        self._schedule_storage = Schedules(self.postgres_url, self.should_autocreate_tables)
        # Past the class above, which would make the three again, with a pool for each.
        super(DagsterPostgresStorage, self).__init__()  # type: ignore[no-untyped-call]
        if not _is_spawned():
            with store.connect(dsn) as connection:  # who gets rights by default has them by now
                protection.close_dagster(connection)

    @classmethod
    def config_type(cls) -> Mapping[str, Field]:
        return {"should_autocreate_tables": Field(bool, is_required=False, default_value=True)}

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]
    ) -> "OwnSchemaStorage":
        try:
            return cls(
                storage_address(),
                should_autocreate_tables=config_value["should_autocreate_tables"],
                inst_data=inst_data,
            )
        except ExplainedError as error:
            if _is_command():
                raise SystemExit(" ".join(str(error).split())) from error
            raise


class OnePool:
    """A storage that shares its connections with the two others, where Dagster shares nothing."""

    _engine: Engine
    postgres_url: str

    def __init__(self, postgres_url: str, should_autocreate_tables: bool) -> None:  # noqa: FBT001 - as Dagster's
        super().__init__(postgres_url, should_autocreate_tables)  # type: ignore[call-arg]
        self._engine = kept_engine(postgres_url)

    def dispose(self) -> None:
        super().dispose()  # type: ignore[misc]
        kept_engine(self.postgres_url).pool.dispose()

    def optimize_for_webserver(
        self, statement_timeout: int, pool_recycle: int, max_overflow: int
    ) -> None:
        self._engine = _pooled_engine(
            self.postgres_url, statement_timeout, pool_recycle, max_overflow
        )


class Runs(OnePool, PostgresRunStorage):
    """Dagster's table of runs and what belongs to it, whose columns are looked at once."""

    @cache  # noqa: B019 - there is one storage in a process
    def has_run_stats_index_cols(self) -> bool:
        return bool(super().has_run_stats_index_cols())

    @cache  # noqa: B019
    def has_backfill_id_column(self) -> bool:
        return bool(super().has_backfill_id_column())


class EventLog(OnePool, PostgresEventLogStorage):
    """Dagster's log of events, which is asked the same dozens of times in a step."""

    def __init__(self, postgres_url: str, should_autocreate_tables: bool) -> None:  # noqa: FBT001
        self._partitions: dict[str, tuple[float, list[str]]] = {}
        super().__init__(postgres_url, should_autocreate_tables)

    @cache  # noqa: B019 - there is one storage in a process
    def has_table(self, table_name: str) -> bool:
        """Dagster asks this in the middle of each event, over one connection more."""
        return bool(super().has_table(table_name))

    @cache  # noqa: B019
    def has_asset_key_col(self, column_name: str) -> bool:
        return bool(super().has_asset_key_col(column_name))

    def get_dynamic_partitions(self, partitions_def_name: str) -> Sequence[str]:
        """Those that a run has asked for a moment ago are told again: what it is about was there.

        Daemon and web server look anew, as others add partitions that they are asked for at once.
        """
        since, known = self._partitions.get(partitions_def_name, (-math.inf, []))
        if monotonic() - since > REMEMBER_SECONDS or part() not in WORKING:
            since, known = monotonic(), [*super().get_dynamic_partitions(partitions_def_name)]
            self._partitions[partitions_def_name] = since, known
        return [*known]

    def has_dynamic_partition(self, partitions_def_name: str, partition_key: str) -> bool:
        known = self.get_dynamic_partitions(partitions_def_name) if part() in WORKING else ()
        return partition_key in known or bool(
            super().has_dynamic_partition(partitions_def_name, partition_key)
        )

    def add_dynamic_partitions(
        self, partitions_def_name: str, partition_keys: Sequence[str]
    ) -> None:
        super().add_dynamic_partitions(partitions_def_name, partition_keys)
        self._partitions.clear()

    def delete_dynamic_partition(self, partitions_def_name: str, partition_key: str) -> None:
        super().delete_dynamic_partition(partitions_def_name, partition_key)
        self._partitions.clear()

    def store_event(self, event: EventLogEntry) -> None:
        """Leave out the NOTIFY with which Dagster's Postgres storage follows each: nobody hears."""
        super(PostgresEventLogStorage, self).store_event(event)


class Schedules(OnePool, PostgresScheduleStorage):
    """Dagster's ticks of schedules and sensors."""


@cache
def _pooled_engine(
    url: str, statement_timeout: int, pool_recycle: int, max_overflow: int
) -> Engine:
    engine = create_engine(
        url,
        isolation_level="AUTOCOMMIT",
        pool_size=1,
        pool_recycle=pool_recycle,
        max_overflow=max_overflow,
    )
    event.listen(
        engine, "connect", lambda line, _: set_pg_statement_timeout(line, statement_timeout)
    )
    return engine


class OwnSchema(CreateEnginePlugin):
    """Has each connection of an engine enter the schema when it is made."""

    def update_url(self, url: URL) -> URL:
        return url

    def handle_pool_kwargs(self, pool_cls: type[Pool], pool_args: dict[str, Any]) -> None:
        """Have the web server's pool look first whether the server was restarted meanwhile."""
        pool_args["pre_ping"] = not issubclass(pool_cls, NullPool)

    def engine_created(self, engine: Engine) -> None:
        engine.hide_parameters = True  # of statements that are told of in errors
        taking = turned if isinstance(engine.pool, NullPool) else named
        event.listen(engine, "do_connect", taking)
        event.listen(engine, "connect", _entered, insert=True)  # before SQLAlchemy asks where it is
        event.listen(engine, "close", _left)


plugins.register(PLUGIN, __name__, OwnSchema.__name__)
silence.install()


@cache
def prepare(dsn: str) -> None:
    """See that Dagster's tables can be where they belong, once in a process and all it spawns."""
    if _is_spawned():
        return
    try:
        require_session(dsn, "DAGSTER_PG_URL")
    except psycopg.Error as error:
        raise unusable(dsn, error, "DAGSTER_PG_URL") from error
    with store.connect(dsn) as connection:
        dagster_tables.require_schema(connection)
        if dagster_tables.strays(connection, tables()):
            dagster_tables.gather(connection, tables(), revisions())


def _is_spawned() -> bool:
    """Whether this is a run's process, whose parent has seen to everything."""
    return multiprocessing.parent_process() is not None


def _is_command() -> bool:
    """Whether somebody at a terminal has called this process, who is served by a sentence."""
    return (
        Path(sys.argv[0]).name in {"dagster", "dagster-daemon", "dagster-webserver"}
        and sys.argv[1:2] != ["api"]
        and current_thread() is main_thread()
    )


def tables() -> dict[str, frozenset[str]]:
    """The columns of each of Dagster's tables."""
    return {
        table.name: frozenset(column.name for column in table.columns)
        for metadata in (
            run_storage.RunStorageSqlMetadata,
            SqlEventLogStorageMetadata,
            ScheduleStorageSqlMetadata,
        )
        for table in metadata.tables.values()
    }


def revisions() -> frozenset[str]:
    """The versions of Dagster's tables, as Alembic notes them."""
    scripts = ScriptDirectory.from_config(pg_alembic_config(str(run_storage.__file__)))
    return frozenset(script.revision for script in scripts.walk_revisions())


def _entered(connection: Any, record: Any) -> None:  # noqa: ANN401 - psycopg2 has no types
    try:
        process = _enter(connection)
    except BaseException:
        connection.close()
        give_turn(record)
        raise
    record.info[POOLED] = process != connection.info.backend_pid


def _enter(connection: Any) -> int:  # noqa: ANN401
    """Have a connection work in the schema; which process serves it."""
    before, connection.autocommit = connection.autocommit, True  # a rollback must not undo it
    with connection.cursor() as cursor:
        cursor.execute(dagster_tables.ENTER)
        _, schema, process = cursor.fetchone()
    connection.autocommit = before
    if schema != dagster_tables.SCHEMA:
        raise dagster_tables.SchemaError(
            f"A connection of Dagster's is in the schema {schema}, not in {dagster_tables.SCHEMA}:"
            f" run `operator-prices migrate`, and let the role {connection.info.user} use it."
        )
    return int(process)


def _left(connection: Any, record: Any) -> None:  # noqa: ANN401
    """Give a session back to a pooler as it was, in case that the pooler does not see to it."""
    if record is not None and record.info.get(POOLED) and not REACH.failed_lately:
        with suppress(connection.Error), connection.cursor() as cursor:
            connection.rollback()
            connection.autocommit = True
            cursor.execute(dagster_tables.LEAVE)
    if record is not None:
        give_turn(record)
