"""The database and the node of a command: those that the settings name, else embedded ones."""

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import psycopg

from operator_prices import store
from operator_prices.chain import Chain, Head, connect
from operator_prices.errors import ExplainedError
from operator_prices.local import backups
from operator_prices.local.ports import free_port, listening
from operator_prices.local.postgres import embedded
from operator_prices.local.processes import Child, Supervisor, lock
from operator_prices.options import Options
from operator_prices.settings import Settings
from operator_prices.store import migrations

EPOCHS = 240
"""Epochs of history that a new development chain begins with."""

HOST = "127.0.0.1"


class UnusableDatabaseError(ExplainedError):
    """A database that cannot be used, said in one sentence with the fix."""


@contextmanager
def database(settings: Settings) -> Iterator[Settings]:
    """The settings with a database that answers; an embedded one lives as long as needed."""
    if settings.database_url is None:
        with embedded.server(settings.data_dir) as url:
            yield settings.with_database(url)
        return
    try:
        store.described(settings.database_url)
        store.connect(settings.database_url).close()
    except psycopg.ProgrammingError:
        raise UnusableDatabaseError(
            "What DATABASE_URL holds is no database address: set it to a postgresql:// URL with %XX"
            " for special characters, or unset it to use the embedded one."
        ) from None
    except psycopg.Error as error:
        reason = " ".join(str(error).split())
        raise UnusableDatabaseError(
            f"The database of DATABASE_URL does not answer ({reason}): start it, or correct"
            " DATABASE_URL, or unset it to use the embedded one."
        ) from error
    yield settings


def upgrade(settings: Settings, *, backup: bool = True) -> list[str]:
    """Apply the migrations that the database lacks, after a backup of what it holds."""
    dsn = str(settings.database_url)
    if backup and (kept := backups.before_migration(dsn, settings.data_dir)):
        print(f"Backup before the migrations: {kept}")  # noqa: T201
    return migrations.migrate(dsn)


@contextmanager
def migrated(settings: Settings) -> Iterator[Settings]:
    """The settings with a migrated database: ours is migrated, one that is named must be."""
    with database(settings) as ready:
        if settings.database_url is None:
            upgrade(ready)
        if lacking := migrations.pending(str(ready.database_url)):
            raise UnusableDatabaseError(
                f"The database lacks {len(lacking)} of our migrations ({', '.join(lacking)}): run"
                " `operator-prices migrate` first."
            )
        yield ready


@contextmanager
def node(settings: Settings) -> Iterator[Settings]:
    """The settings with a node; without one they name, the development chain that `up` serves.

    Where none is served, one is started for as long as it is needed.
    """
    if settings.archive_node_url is not None:
        yield settings
    elif (served := _served(settings.data_dir)) is not None:
        yield settings.with_node(served)
    else:
        with lock(settings.data_dir), Supervisor(settings.data_dir) as children:
            yield start_development_chain(children, settings)


def start_development_chain(children: Supervisor, settings: Settings) -> Settings:
    """Start the development chain where it left off; return the settings that name it."""
    port = free_port(HOST)
    url = f"ws://{HOST}:{port}"

    def argv() -> list[str]:
        history = max(EPOCHS, _stored_epochs(settings) + 1)
        return [
            *(sys.executable, "-m", "operator_prices.devchain"),
            *("--port", str(port), "--epochs", str(history)),
            *("--careers-over", str(EPOCHS)),
        ]

    children.start(
        Child(
            name="devchain",
            argv=argv,
            log=settings.data_dir / "logs" / "devchain.log",
            ready=listening(HOST, port),
        )
    )
    return settings.with_node(url)


@contextmanager
def announced(settings: Settings) -> Iterator[None]:
    """Let other commands on the same data directory find the development chain that is served."""
    notice = _notice(settings.data_dir)
    process = psutil.Process()
    notice.write_text(
        json.dumps(
            {
                "url": settings.archive_node_url,
                "pid": process.pid,
                "started": process.create_time(),
            }
        )
    )
    try:
        yield
    finally:
        notice.unlink(missing_ok=True)


@contextmanager
def chain(settings: Settings) -> Iterator[Chain]:
    """The chain behind the node of `settings`; refuses one that the database is not of."""
    options = Options.read(os.environ)
    with connect(
        str(settings.archive_node_url),
        domain_id=settings.domain_id,
        cache=settings.data_dir / "runtimes",
        depth=options.confirmation_depth,
        requests_per_second=_share(settings, options.requests_per_second),
        authorization=options.archive_node_authorization,
    ) as reader:
        with store.connect(str(settings.database_url)) as connection:
            store.refuse_other_chain(connection, reader.genesis_hash, reader.domain_id)
        yield reader


def head(settings: Settings) -> Head:
    """The chain's head; raises `WrongChainError` if the database holds another chain's data."""
    with chain(settings) as reader:
        return reader.head()


def _share(settings: Settings, total: float | None) -> float | None:
    """A command's part of what the node may be asked in all: as much as a run has."""
    if total is None:
        return None
    from operator_prices.defs import resources  # noqa: PLC0415
    from operator_prices.local import dagster_home  # noqa: PLC0415 - Dagster is slow to import

    with dagster_home.opened(settings) as dagster:
        return resources.share(total, dagster)


def _served(data_dir: Path) -> str | None:
    try:
        known = json.loads(_notice(data_dir).read_text())
        if psutil.Process(known["pid"]).create_time() == known["started"]:
            return str(known["url"])
    except (FileNotFoundError, psutil.NoSuchProcess):
        pass
    return None


def _notice(data_dir: Path) -> Path:
    return data_dir / "devchain.json"


def _stored_epochs(settings: Settings) -> int:
    """The last stored epoch, -1 in a database that holds none."""
    with store.connect(str(settings.database_url)) as connection:
        return store.last_epoch(connection)
