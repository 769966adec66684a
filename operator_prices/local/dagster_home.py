"""Dagster's own instance: at home in the data directory, its storage beside our tables."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from urllib.parse import quote

import dagster as dg
from psycopg.conninfo import conninfo_to_dict

from operator_prices import VERSION
from operator_prices.settings import PROJECT, Settings

SCHEMA = "dagster"
"""Dagster's tables have a schema of their own; the migrations create it."""

CODE, LOCATION = "operator_prices.definitions", "operator_prices"
"""The module of the code location, and its name; `workspace.yaml` says the same."""

ENDED = [
    dg.DagsterRunStatus.SUCCESS,
    dg.DagsterRunStatus.FAILURE,
    dg.DagsterRunStatus.CANCELED,
]

EVENTS_AT_ONCE = "DAGSTER_EVENT_BATCH_SIZE"
"""How many events of one kind Dagster writes in one statement; it halves the cost of a window."""


def storage_url(dsn: str) -> str:
    """The form of `dsn` that Dagster's storage takes.

    SQLAlchemy takes a bare `postgresql://` for psycopg 3, with which the webserver cannot work.

    >>> storage_url("postgresql://me:secret@db.example/prices?sslmode=require")
    'postgresql+psycopg2://me:secret@db.example/prices?sslmode=require&options=-csearch_path%3Ddagster'
    >>> storage_url("postgresql://postgres:@/prices?host=/run/postgres")
    'postgresql+psycopg2://postgres@/prices?host=/run/postgres&options=-csearch_path%3Ddagster'
    """
    known = {name: str(value) for name, value in conninfo_to_dict(dsn).items() if value}
    host, port = known.pop("host", ""), known.pop("port", "")
    user, password = known.pop("user", ""), known.pop("password", "")
    database = known.pop("dbname", user)
    options = f"{known.pop('options', '')} -csearch_path={SCHEMA}".strip()
    place = quote(user, safe="") + (f":{quote(password, safe='')}" if password else "")
    place += "@" if place else ""
    if host.startswith("/"):
        known = {"host": host, **({"port": port} if port else {}), **known}
    else:
        place += host + (f":{port}" if port else "")
    query = "&".join(
        f"{name}={quote(value, safe='/')}" for name, value in (known | {"options": options}).items()
    )
    return f"postgresql+psycopg2://{place}/{quote(database, safe='')}?{query}"


def home(data_dir: Path) -> Path:
    """Dagster's home below `data_dir`, with this project's `dagster.yaml` in it."""
    folder = data_dir / "dagster"
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(PROJECT / "dagster.yaml", folder / "dagster.yaml")
    return folder


def workspace(data_dir: Path, host: str, port: int) -> Path:
    """A workspace file for the code server at `host` and `port`."""
    file = home(data_dir) / "workspace.yaml"
    server = f"{{host: {host}, port: {port}, location_name: {LOCATION},"
    server += f" additional_metadata: {{version: {VERSION!r}}}}}"
    file.write_text(f"load_from:\n  - grpc_server: {server}\n")
    return file


def environment(settings: Settings) -> dict[str, str]:
    """What Dagster's processes read, the code location's settings included."""
    ours = {
        "UI_URL": f"http://127.0.0.1:{settings.ui_port}",
        "API_URL": f"http://127.0.0.1:{settings.api_port}",
        EVENTS_AT_ONCE: "50",
    }
    return (
        {name: os.environ.get(name) or value for name, value in ours.items()}
        | settings.environment()
        | {
            "DAGSTER_HOME": str(home(settings.data_dir)),
            "DAGSTER_PG_URL": storage_url(str(settings.database_url)),
        }
    )


def pool_slots(instance: dg.DagsterInstance, pool: str) -> int:
    """How many steps of the pool may run at once, on all machines together."""
    limit = instance.event_log_storage.get_concurrency_info(pool).limit
    return limit or instance.global_op_concurrency_default_limit or 1


def forget_runs(
    instance: dg.DagsterInstance, before: datetime, *, at_most: int = 1000
) -> tuple[int, int]:
    """Delete the runs that ended before a time, with their logs; return how many went and stayed.

    A run that holds the latest materialization of any window stays: the UI would show the window as
    missing. Of the oldest `at_most` that can go, so that one call has an end.
    """
    forgotten = kept = 0
    records = instance.get_run_records(
        dg.RunsFilter(statuses=ENDED, created_before=before), ascending=True
    )
    for record in records:
        run_id = record.dagster_run.run_id
        if forgotten == at_most:
            break
        if _holds_a_latest(instance, run_id):
            kept += 1
        else:
            instance.delete_run(run_id)
            forgotten += 1
    return forgotten, kept


def _holds_a_latest(instance: dg.DagsterInstance, run_id: str) -> bool:
    for entry in instance.all_logs(run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION):
        event = entry.dagster_event
        if event is None or event.asset_key is None:
            continue
        partitions = None if event.partition is None else [event.partition]
        of = dg.AssetRecordsFilter(asset_key=event.asset_key, asset_partitions=partitions)
        latest = instance.fetch_materializations(of, limit=1).records
        if latest and latest[0].run_id == run_id:
            return True
    return False


@contextmanager
def opened(settings: Settings) -> Iterator[dg.DagsterInstance]:
    """The instance in this process, whose environment says afterwards what `environment` says."""
    os.environ.update(environment(settings))
    with dg.DagsterInstance.from_config(os.environ["DAGSTER_HOME"]) as instance:
        yield instance
