"""Where an import reads from, and what it refuses."""

import socket
import sqlite3
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from operator_prices.cli.console import Console
from operator_prices.errors import ExplainedError
from operator_prices.legacy.sources import open_source
from operator_prices.runs.legacy import import_source
from operator_prices.runs.windows import RunFailedError
from operator_prices.settings import Settings
from operator_prices_tests.support.legacy_imports import (
    OLD_TABLE,
    Import,
    keep_old,
    prices,
    published,
    rows,
)
from operator_prices_tests.support.legacy_samples import (
    history,
    row,
    write_sqlite,
)


@pytest.mark.e2e
def test_a_postgres_source_gives_the_same_rows_and_is_only_read(
    database: psycopg.Connection,
    imported: Import,
    server: str,
    tmp_path: Path,
) -> None:
    snapshots = history(130)
    imported(write_sqlite(tmp_path / "old.db", snapshots))
    first = published(database)
    name = sql.Identifier(f"source_{id(imported)}")
    with psycopg.connect(server, autocommit=True) as admin:
        admin.execute(sql.SQL("CREATE DATABASE {}").format(name))
    try:
        url = make_conninfo(server, dbname=f"source_{id(imported)}")
        with psycopg.connect(url) as source:
            source.execute(OLD_TABLE.replace("INTEGER", "NUMERIC").replace("BIGINT", "NUMERIC"))
            keep_old(source, snapshots)
        before = rows(url, "SELECT xmin::text, * FROM epochs ORDER BY epoch")
        known = psycopg.conninfo.conninfo_to_dict(url)
        place = f"postgresql://{known['user']}@/{known['dbname']}?host={known['host']}"
        said = imported(place)
        assert said["epochs"] == 130
        assert said["changed_prices"] == 0
        assert published(database) == first
        assert rows(url, "SELECT xmin::text, * FROM epochs ORDER BY epoch") == before
    finally:
        with psycopg.connect(server, autocommit=True) as admin:
            admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(name))


def test_a_source_that_is_none_is_refused_in_one_sentence(
    database: psycopg.Connection, tmp_path: Path
) -> None:
    (tmp_path / "text.db").write_text("no SQLite at all, but long enough to look like a header")
    sqlite3.connect(tmp_path / "empty.db").close()
    for place, fact in (
        (str(tmp_path / "missing.db"), f"is no file on host {socket.gethostname()}: import"),
        (str(tmp_path / "text.db"), "cannot be read as SQLite"),
        (str(tmp_path / "empty.db"), "has no table epochs"),
        ("postgresql://nobody@127.0.0.1:1/none", "does not answer"),
        ("postgresql://me:%zz%40@db.example/old", "The source is no address of a Postgres"),
        ("postgresql://db.example/old?nothing=5", "The source is no address of a Postgres"),
        ("mysql://me:secret@db.example/old", "The source is no address of a Postgres"),
    ):
        with pytest.raises(ExplainedError, match=fact), open_source(place, database):
            pass


def test_a_source_that_has_grown_is_imported_from_where_it_grew(
    database: psycopg.Connection, imported: Import, tmp_path: Path
) -> None:
    imported(write_sqlite(tmp_path / "old.db", history(150)))
    assert [source for _, source in prices(database, 149)] == ["derived"] * 2
    (tmp_path / "old.db").unlink()
    said = imported(write_sqlite(tmp_path / "old.db", history(160)))
    assert said["already_done"] == 1
    assert [source for _, source in prices(database, 149)] == ["epochs_json"] * 2


def test_of_a_source_only_windows_with_rows_are_run_and_what_is_no_epoch_is_named(
    database: psycopg.Connection, imported: Import, tmp_path: Path, dsn: str
) -> None:
    file = tmp_path / "old.db"
    with sqlite3.connect(file) as connection:
        connection.execute("CREATE TABLE epochs (epoch, end_block, end_hash, timestamp, data)")
        told = [row(epoch) for epoch in (0, 60_000)]
        told += [row(0)._replace(epoch=epoch) for epoch in (-1, 3_000_000_000, "x", 1.5, None)]  # type: ignore[arg-type]
        connection.executemany("INSERT INTO epochs VALUES (?, ?, ?, ?, ?)", told)
    connection.close()
    settings = Settings(data_dir=tmp_path, database_url=dsn)
    for _ in range(2):
        done = import_source(
            settings, str(file), keep_raw=False, reduce=False, progress=Console().import_progress
        )
        assert (done.windows, done.epochs + done.windows_done_before) == (2, 2)
        assert done.quarantined == 5
        assert rows(
            database, "SELECT epoch, path, raw, reason FROM quarantine ORDER BY reason, raw"
        ) == [
            (None, "epoch", "null", "is missing"),
            (-1, "epoch", "-1", "is negative"),
            (None, "epoch", "1.5", "is no number"),
            (None, "epoch", "x", "is no number"),
            (3_000_000_000, "epoch", "3000000000", "is too large"),
        ]
    assert imported(file)["already_done"] == 2


@pytest.mark.usefixtures("database")
def test_a_source_whose_data_was_changed_alone_is_imported_again(
    imported: Import, tmp_path: Path
) -> None:
    file = write_sqlite(tmp_path / "old.db", history(3))
    imported(file)
    with sqlite3.connect(file) as connection:
        connection.execute("UPDATE epochs SET data = replace(data, '}', ' }') WHERE epoch = 1")
    connection.close()
    assert imported(file)["already_done"] == 0


def test_the_password_of_a_source_is_nowhere_in_what_dagster_keeps(
    database: psycopg.Connection, environment: str, tmp_path: Path
) -> None:
    with psycopg.connect(environment, autocommit=True) as connection:
        keep_old(connection, history(3))
    database.execute("INSERT INTO chain_identity VALUES ('0xabc', 3)")  # so that the run fails
    known = psycopg.conninfo.conninfo_to_dict(environment)
    place = f"postgresql://{known['user']}:sesame@/{known['dbname']}?host={known['host']}"
    with pytest.raises(RunFailedError, match="domain 3"):
        import_source(
            Settings(data_dir=tmp_path, database_url=environment),
            place,
            keep_raw=False,
            reduce=False,
            progress=Console().import_progress,
        )
    (runs,) = rows(
        environment, "SELECT count(*) FROM dagster.runs WHERE run_body LIKE '%LEGACY_SOURCE%'"
    )
    assert runs == (1,)
    for table in ("runs", "event_logs"):
        query = sql.SQL("SELECT FROM dagster.{} AS one WHERE one::text LIKE '%sesame%'")
        assert database.execute(query.format(sql.Identifier(table))).fetchall() == []
