"""Dagster's own instance: at home in the data directory, its storage beside our tables."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import dagster as dg
from psycopg.conninfo import conninfo_to_dict

from operator_prices import VERSION
from operator_prices.settings import PROJECT, Settings

CODE, LOCATION = "operator_prices.definitions", "operator_prices"
"""The module of the code location, and its name; `workspace.yaml` says the same."""

EVENTS_AT_ONCE = "DAGSTER_EVENT_BATCH_SIZE"
"""How many events of one kind Dagster writes in one statement; it halves the cost of a window."""


def storage_url(dsn: str) -> str:
    """The form of `dsn` that Dagster's storage takes.

    SQLAlchemy takes a bare `postgresql://` for psycopg 3, with which the webserver cannot work.

    >>> storage_url("postgresql://me:secret@db.example/prices?sslmode=require")
    'postgresql+psycopg2://me:secret@db.example/prices?sslmode=require'
    >>> storage_url("postgresql://postgres:@/prices?host=/run/postgres")
    'postgresql+psycopg2://postgres@/prices?host=/run/postgres'
    >>> storage_url("host=::1 user=me dbname=prices port=5433")
    'postgresql+psycopg2://me@[::1]:5433/prices'
    >>> storage_url("postgresql://me@one.example,two.example:5433/prices")
    'postgresql+psycopg2://me@/prices?host=one.example%2Ctwo.example&port=%2C5433'
    """
    known = {name: str(value) for name, value in conninfo_to_dict(dsn).items() if value}
    host, port = known.pop("host", ""), known.pop("port", "")
    user, password = known.pop("user", ""), known.pop("password", "")
    database = known.pop("dbname", user)
    place = quote(user, safe="") + (f":{quote(password, safe='')}" if password else "")
    place += "@" if place else ""
    if host.startswith("/") or "," in host:
        if "," not in port:
            port = ",".join([port] * len(host.split(","))) if port else ""
        known = {"host": host, **({"port": port} if port else {}), **known}
    else:
        place += (f"[{host}]" if ":" in host else host) + (f":{port}" if port else "")
    query = "&".join(f"{name}={quote(value, safe='/')}" for name, value in known.items())
    return f"postgresql+psycopg2://{place}/{quote(database, safe='')}" + (query and f"?{query}")


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


def dagster_environment(settings: Settings) -> dict[str, str]:
    """What Dagster's processes read, the code location's settings included."""
    ours = {
        "UI_URL": f"http://127.0.0.1:{settings.ui_port}{settings.ui_root_path}",
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


@contextmanager
def opened_instance(settings: Settings) -> Iterator[dg.DagsterInstance]:
    """Dagster's instance, opened in this process, to which `dagster_environment` is added."""
    os.environ.update(dagster_environment(settings))
    with dg.DagsterInstance.from_config(os.environ["DAGSTER_HOME"]) as instance:
        yield instance
