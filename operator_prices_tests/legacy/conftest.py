"""Imports by runs of the job, and a database that the old system had filled."""

from pathlib import Path

import dagster as dg
import psycopg
import pytest

from operator_prices.cli.console import Console
from operator_prices.legacy.quarantine import quarantine_misplaced
from operator_prices.legacy.sources import open_source
from operator_prices.runs.legacy import SOURCE_VARIABLE, ImportedSource, import_source
from operator_prices.runs.windows import import_windows
from operator_prices.settings import Settings
from operator_prices.store import migrations
from operator_prices_tests.support.legacy_imports import OLD_TABLE, Bring, Import, keep_old
from operator_prices_tests.support.legacy_samples import (
    history,
)


@pytest.fixture
def environment(dsn: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """The database that runs of the job use, as the environment names it."""
    for name, value in {
        "DATABASE_URL": dsn,
        "ARCHIVE_NODE_URL": "ws://127.0.0.1:1",
        "DOMAIN_ID": "0",
        "DATA_DIR": str(tmp_path),
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv(SOURCE_VARIABLE, "")  # so that what an import puts there goes again
    return dsn


@pytest.fixture
def imported(environment: str, instance: dg.DagsterInstance) -> Import:
    """Imports all windows of a source by runs of the job, and adds up what they say."""

    def run(source: Path | str = "", *, domain_id: int = 0, **config: bool) -> dict[str, int]:
        with (
            psycopg.connect(environment, autocommit=True) as connection,
            open_source(str(source), connection) as place,
        ):
            windows = place.windows()
            quarantine_misplaced(connection, place)
        total: dict[str, int] = {}
        told = {"source": str(source), "domain_id": domain_id, **config}
        for _, said in import_windows(instance, windows, told):
            for name, number in said.items():
                if isinstance(number, int):
                    total[name] = total.get(name, 0) + number
        return total

    return run


@pytest.fixture
def old(dsn: str) -> str:
    """A migrated database that the old system had filled before."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(OLD_TABLE)
        keep_old(connection, history(230))
    migrations.migrate(dsn)
    return dsn


@pytest.fixture
def bring(environment: str, tmp_path: Path) -> Bring:
    """Imports a source as the command does."""
    settings = Settings.read(data_dir=tmp_path / "data", database_url=environment)

    def run(place: Path | str) -> ImportedSource:
        progress = Console().import_progress
        return import_source(settings, str(place), keep_raw=False, reduce=False, progress=progress)

    return run
