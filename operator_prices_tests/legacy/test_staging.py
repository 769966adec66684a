"""Imports of sources in other forms than SQLite and Postgres: one after the other, and mixed."""

import functools
import gzip
import http.server
import io
import json
import os
import shutil
import sqlite3
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from operator_prices.cli.console import Console
from operator_prices.legacy.errors import UnusableSourceError
from operator_prices.legacy.quarantine import in_quarantine
from operator_prices.legacy.snapshots import Row
from operator_prices.legacy.sources import open_source
from operator_prices_tests.support.legacy_forms import (
    PLAIN,
    csv_with_header,
    fill_old_table,
    json_lines,
    json_list,
    pg_dump,
    sqlite_dump,
)
from operator_prices_tests.support.legacy_imports import (
    EPOCHS,
    Bring,
    failed,
    forget_all,
    published,
    rows,
)
from operator_prices_tests.support.legacy_samples import (
    SHARED,
    document,
    history,
    needs_shared,
    row,
    write_sqlite,
)

pytestmark = pytest.mark.e2e


def served(folder: Path) -> Iterator[str]:
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None: ...

        def do_GET(self) -> None:
            if "cut" not in self.path:
                super().do_GET()
                return
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            self.wfile.write(b"[{")

    handler = functools.partial(Quiet, directory=folder)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[str]:
    yield from served(tmp_path)


def test_every_form_gives_the_rows_that_sqlite_gives(
    database: psycopg.Connection, bring: Bring, tmp_path: Path
) -> None:
    snapshots = history(110)
    bring(write_sqlite(tmp_path / "old.db", snapshots))
    expected = [rows(database, EPOCHS), *published(database)]
    for name, form in PLAIN.items():
        forget_all(database)
        file = tmp_path / "source without a telling name"
        file.write_bytes(form(snapshots))
        done = bring(file)
        assert sum(done.found.values()) == 110, name
        assert [rows(database, EPOCHS), *published(database)] == expected, name
    assert not list((tmp_path / "data" / "staging").glob("*.db"))
    assert bring(file).windows_done_before == 2


@pytest.mark.parametrize("how", [[], ["-Fc"]])
def test_a_dump_of_postgres_gives_the_rows_of_its_table(
    database: psycopg.Connection, bring: Bring, server: str, tmp_path: Path, how: list[str]
) -> None:
    snapshots = history(30)
    name = f"dumped_{os.getpid()}_{len(how)}"
    with psycopg.connect(server, autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name}".encode())
    try:
        dsn = psycopg.conninfo.make_conninfo(server, dbname=name)
        fill_old_table(dsn, snapshots)
        (tmp_path / "dump").write_bytes(pg_dump(dsn, *how))
    finally:
        with psycopg.connect(server, autocommit=True) as admin:
            admin.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())
    assert bring(tmp_path / "dump").epochs == 30
    assert failed(database) == {}


@needs_shared
def test_a_folder_of_forms_is_one_source_and_strangers_are_named(
    database: psycopg.Connection,
    bring: Bring,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    bring(SHARED / "comprehensive-metrics.db")
    expected = published(database)
    forget_all(database)
    with sqlite3.connect(SHARED / "comprehensive-metrics.db") as connection:
        told = connection.execute(
            "SELECT epoch, end_block, end_hash, timestamp, data FROM epochs ORDER BY epoch"
        ).fetchall()
    connection.close()
    snapshots = [Row(*one) for one in told]
    folder = tmp_path / "folder"
    (folder / "deeper").mkdir(parents=True)
    (folder / "a").write_bytes(json_lines(snapshots[:20]))
    (folder / "b.txt").write_bytes(gzip.compress(json_list(snapshots[10:40])))
    (folder / "deeper" / "c").write_bytes(csv_with_header(snapshots[40:60]))
    write_sqlite(folder / "d", snapshots[60:])
    (folder / "README.md").write_text("How these came about.")
    (folder / "empty.json").touch()

    done = bring(folder)
    Console().imported(done)

    assert published(database) == expected
    assert (done.epochs, done.quarantined) == (80, 0)
    assert done.found == {"CSV": 20, "JSON lines": 20, "JSON list, gzip": 30, "SQLite": 20}
    said = capsys.readouterr().out
    assert "JSON list, gzip: 30 found; 30 read now, 30 of them understood, 0 values" in said
    assert "Passed over: README.md is none of" in said
    assert "Passed over: empty.json is empty" in said
    (folder / "broken").write_bytes(json_list(snapshots)[:-9])
    with pytest.raises(UnusableSourceError, match="has a file broken that is cut off"):
        bring(folder)


def test_what_is_refused_and_what_contradicts_itself_is_named_and_the_rest_imported(
    database: psycopg.Connection, bring: Bring, tmp_path: Path
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "a").write_bytes(json_lines([row(0), row(1), row(2)]) + b"\n{broken\n")
    (folder / "b").write_bytes(json_lines([row(1), row(2, document(2, note=1)), row(3)]))
    assert bring(folder).quarantined == 3
    assert rows(database, "SELECT epoch FROM epochs ORDER BY 1") == [(0,), (1,), (3,)]
    told = rows(database, "SELECT epoch, path, raw FROM quarantine ORDER BY epoch NULLS LAST")
    assert [one[:2] for one in told] == [
        (2, "epoch"),
        (2, "epoch"),
        (None, f"{folder}: a, line 4"),
    ]
    assert told[2][2] == "{broken"
    bring(write_sqlite(tmp_path / "other.db", [row(5)]))
    assert len(in_quarantine(database, 0, 9)) == 2  # of the other source nothing is forgotten


def test_a_source_is_fetched_from_an_address_without_telling_its_secrets(
    database: psycopg.Connection, bring: Bring, site: str, tmp_path: Path
) -> None:
    (tmp_path / "old.json.gz").write_bytes(gzip.compress(json_list(history(5))))
    secret = site.replace("http://", "http://me:sesame@")
    assert bring(f"{secret}/old.json.gz?signature=sesame").epochs == 5
    assert rows(database, "SELECT DISTINCT source FROM legacy_windows") == [
        (f"{site}/old.json.gz",)
    ]
    for path, fact in (
        ("missing.json?key=sesame", "answers 404"),
        ("cut?key=sesame", "does not answer to the end"),
    ):
        with pytest.raises(UnusableSourceError, match=fact) as told:
            bring(f"{secret}/{path}")
        assert "sesame" not in str(told.value)
    with pytest.raises(UnusableSourceError, match="does not answer"):
        bring("http://127.0.0.1:1/old.json")


def test_a_source_is_piped_in(
    database: psycopg.Connection, bring: Bring, monkeypatch: pytest.MonkeyPatch
) -> None:
    piped = io.TextIOWrapper(io.BytesIO(sqlite_dump(history(5))))
    monkeypatch.setattr(sys, "stdin", piped)
    assert bring("-").epochs == 5
    assert rows(database, "SELECT source FROM legacy_windows") == [("standard input",)]


def test_a_sqlite_file_with_a_log_beside_it_is_read_whole_and_left_without_a_trace(
    database: psycopg.Connection, bring: Bring, tmp_path: Path
) -> None:
    live = tmp_path / "live.db"
    write_sqlite(live, history(3))
    with sqlite3.connect(live) as writer:
        writer.execute("PRAGMA journal_mode = wal")
        writer.executemany(
            "INSERT INTO epochs (epoch, end_block, end_hash, timestamp, data)"
            " VALUES (?, ?, ?, ?, ?)",
            history(5)[3:],
        )
        writer.commit()
        kept = tmp_path / "kept"
        kept.mkdir()
        for suffix in ("", "-wal"):  # as a copy of a file in use has them
            shutil.copyfile(f"{live}{suffix}", kept / f"old.db{suffix}")
        assert bring(live).epochs == 5
    writer.close()
    assert sorted(file.name for file in tmp_path.glob("live.db*")) == ["live.db"]
    before = {file.name: file.read_bytes() for file in kept.iterdir()}
    kept.chmod(0o555)
    forget_all(database)
    assert bring(kept / "old.db").epochs == 5
    assert {file.name: file.read_bytes() for file in kept.iterdir()} == before
    forget_all(database)
    assert bring(live).epochs == 5  # in the mode of a log, and without one
    assert sorted(file.name for file in tmp_path.glob("live.db*")) == ["live.db"]


@pytest.mark.parametrize(
    ("content", "fact"),
    [
        (b"", "is empty: name another one"),
        (b"hello", "is none of SQLite, JSON"),
        (json_list(history(2))[:-5], "nothing of it was imported: mend it, or fetch it again"),
    ],
)
def test_a_source_that_cannot_be_read_is_said_so_in_one_sentence(
    database: psycopg.Connection, bring: Bring, tmp_path: Path, content: bytes, fact: str
) -> None:
    (tmp_path / "source").write_bytes(content)
    with pytest.raises(UnusableSourceError, match=fact):
        bring(tmp_path / "source")
    assert rows(database, "SELECT FROM epochs") == []
    assert list((tmp_path / "data" / "staging").glob("*.db")) == []


def test_folders_without_anything_to_read_are_refused(
    bring: Bring, tmp_path: Path, database: psycopg.Connection
) -> None:
    (tmp_path / "none").mkdir()
    with pytest.raises(UnusableSourceError, match="folder without files"):
        bring(tmp_path / "none")
    (tmp_path / "none" / "notes").write_text("hello")
    with pytest.raises(UnusableSourceError, match="no file of a form"):
        bring(tmp_path / "none")
    with pytest.raises(UnusableSourceError, match="is no file"):
        bring(tmp_path / "missing")
    with (
        pytest.raises(UnusableSourceError, match="import-legacy"),
        open_source(str(tmp_path / "none" / "notes"), database),
    ):
        pass


def test_a_source_whose_numbers_alone_have_changed_is_imported_again(
    bring: Bring, tmp_path: Path, database: psycopg.Connection
) -> None:
    for reward in ("5", "6"):
        told = json.dumps(document(0, rewards={"0": reward}))
        (tmp_path / "source").write_bytes(json_list([row(0, told)]))
        assert bring(tmp_path / "source").windows_done_before == 0
    assert rows(
        database, "SELECT data #> '{domainStakingSummary,currentEpochRewards}' FROM epochs"
    ) == [({"0": "6"},)]
