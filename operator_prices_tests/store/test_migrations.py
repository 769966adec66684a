"""Migrations up and down: whole, once, alone, and over an old database to the byte."""

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import quote
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from operator_prices.local.postgres import programs
from operator_prices.store import migrations, objects
from operator_prices.store.migrations import MigrationError
from operator_prices_tests.support.schema import (
    MIGRATIONS,
    OLD_DATABASE,
    keep_epoch,
    keep_operator,
    refresh,
    verified,
)


@pytest.fixture
def role(server: str) -> Iterator[str]:
    """A role that may do nothing in particular."""
    name = f"role_{uuid4().hex}"
    with psycopg.connect(server, autocommit=True) as admin:
        admin.execute(sql.SQL("CREATE ROLE {}").format(sql.Identifier(name)))
        yield name
        admin.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(name)))


MIGRATE = "import sys; from operator_prices.store.migrations import migrate; migrate(sys.argv[1])"


def dump(dsn: str) -> list[str]:
    """Everything in the database as pg_dump writes it, in an order of its own."""
    text = subprocess.run(
        [programs.binaries() / "pg_dump", "--dbname", dsn],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    return sorted(line for line in text.splitlines() if not line.startswith(("--", "\\")))


def rows(dsn: str, query: str) -> list[tuple[object, ...]]:
    with psycopg.connect(dsn) as connection:
        return connection.execute(query).fetchall()


def test_migrations_are_applied_once_and_in_order(dsn: str) -> None:
    assert migrations.pending(dsn) == MIGRATIONS
    assert migrations.migrate(dsn) == MIGRATIONS
    assert migrations.migrate(dsn) == []
    assert migrations.pending(dsn) == []


def test_asking_what_is_pending_changes_nothing(dsn: str) -> None:
    before = dump(dsn)
    migrations.pending(dsn)
    assert dump(dsn) == before


def test_a_rollback_leaves_a_fresh_database_empty(dsn: str) -> None:
    before = dump(dsn)
    migrations.migrate(dsn)
    with psycopg.connect(dsn) as connection:
        keep_epoch(connection, 1, {})
        connection.execute("CREATE TABLE dagster.runs (id INTEGER)")
    assert migrations.rollback(dsn) == MIGRATIONS[::-1]
    assert dump(dsn) == before
    assert migrations.rollback(dsn) == []
    assert migrations.migrate(dsn) == MIGRATIONS


def test_an_old_database_keeps_its_rows_and_its_view(old: str) -> None:
    facts = "SELECT epoch, end_block, end_hash, timestamp, data, created_at FROM epochs ORDER BY 1"
    answers = "SELECT * FROM comprehensive_analytics ORDER BY epoch"
    file = "SELECT pg_relation_filenode('epochs')"
    stored, answered, stored_in = rows(old, facts), rows(old, answers), rows(old, file)

    migrations.migrate(old)

    assert rows(old, facts) == stored
    assert rows(old, file) == stored_in  # the table was not rewritten
    assert rows(old, answers.replace("analytics", "analytics_old")) == answered
    assert rows(old, answers) == []
    assert rows(old, "SELECT count(source) FROM epochs") == [(0,)]


def test_a_rollback_restores_an_old_database_to_the_byte(old: str) -> None:
    facts = "SELECT * FROM epochs ORDER BY epoch"
    answers = "SELECT * FROM comprehensive_analytics ORDER BY epoch"
    before, stored, answered = dump(old), rows(old, facts), rows(old, answers)

    migrations.migrate(old)
    with psycopg.connect(old) as connection:
        keep_epoch(connection, 7, {"reduced": True}, source="legacy")
        keep_epoch(connection, 7, {"read": "again"})
        keep_epoch(connection, 8, {"reduced": True}, source=None)
        keep_epoch(connection, 9_000, {"new": True})
        connection.execute("DELETE FROM epochs WHERE epoch IN (9, 10)")
        keep_epoch(connection, 10, {"back": True})
        keep_operator(connection, 7, 0, shares=1, stake=1, active=1, reward=0)
        refresh(connection, 0, 10_000)
        connection.execute("REFRESH MATERIALIZED VIEW comprehensive_analytics_old WITH NO DATA")
        with pytest.raises(psycopg.DataError, match="about 5"), connection.transaction():
            connection.execute("REFRESH MATERIALIZED VIEW comprehensive_analytics_old")
    migrations.rollback(old)

    assert rows(old, facts) == stored
    with psycopg.connect(old) as connection:
        connection.execute("REFRESH MATERIALIZED VIEW comprehensive_analytics")
    assert rows(old, answers) == answered
    assert dump(old) == before


def test_rows_that_the_old_system_adds_meanwhile_survive_a_rollback(old: str) -> None:
    migrations.migrate(old)
    with psycopg.connect(old) as connection:
        connection.execute("INSERT INTO epochs VALUES (400, 50000, '0x', 5, '{}')")
    migrations.rollback(old)
    assert rows(old, "SELECT end_block FROM epochs WHERE epoch = 400") == [(50000,)]


def test_the_old_writer_goes_on_writing_and_the_old_readers_reading(old: str, role: str) -> None:
    with psycopg.connect(old, autocommit=True) as connection:
        connection.execute(
            sql.SQL(
                "GRANT SELECT, INSERT, UPDATE ON epochs TO {0};"
                "GRANT SELECT ON comprehensive_analytics TO {0}"
            ).format(sql.Identifier(role))
        )
        before = dump(old)
        migrations.migrate(old)
        connection.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(role)))
        connection.execute("UPDATE epochs SET data = '{}' WHERE epoch = 3")
        connection.execute("SELECT * FROM comprehensive_analytics")
        connection.execute("RESET ROLE")
        migrations.rollback(old)
        assert dump(old) == before
        connection.execute(sql.SQL("DROP OWNED BY {}").format(sql.Identifier(role)))


def test_a_plain_view_and_a_schema_that_were_there_stay(dsn: str) -> None:
    with psycopg.connect(dsn) as connection:
        connection.execute(
            "CREATE VIEW comprehensive_analytics AS SELECT 1 AS epoch;"
            "CREATE SCHEMA dagster; CREATE TABLE dagster.runs (id INTEGER)"
        )
    before = dump(dsn)
    migrations.migrate(dsn)
    assert rows(dsn, "SELECT * FROM comprehensive_analytics_old") == [(1,)]
    migrations.rollback(dsn)
    assert dump(dsn) == before


def test_a_table_that_only_shares_its_name_is_refused_in_one_sentence(dsn: str) -> None:
    with psycopg.connect(dsn) as connection:
        connection.execute("CREATE TABLE epochs (epoch INTEGER PRIMARY KEY, data TEXT)")
    with pytest.raises(MigrationError, match="data, end_block, end_hash, timestamp"):
        migrations.migrate(dsn)
    assert migrations.pending(dsn) == MIGRATIONS


@pytest.mark.parametrize(
    ("change", "fact"),
    [
        ("ALTER TABLE epochs DROP CONSTRAINT epochs_pkey", "no primary or unique key on epoch"),
        ("ALTER TABLE epochs ADD COLUMN source TEXT", "column source already"),
        ("CREATE TABLE operator_shares (x INTEGER)", '"operator_shares" already exists'),
    ],
)
def test_an_old_database_in_the_way_is_left_alone(old: str, change: str, fact: str) -> None:
    with psycopg.connect(old) as connection:
        connection.execute(sql.SQL(change))
    before = rows(old, "SELECT * FROM epochs ORDER BY epoch")
    with pytest.raises(MigrationError, match=fact):
        migrations.migrate(old)
    assert rows(old, "SELECT * FROM epochs ORDER BY epoch") == before


def test_a_database_of_a_newer_version_is_refused(dsn: str) -> None:
    migrations.migrate(dsn)
    with psycopg.connect(dsn) as connection:
        connection.execute("INSERT INTO _yoyo_migration VALUES ('hash', '99_from_the_future')")
    for step in (migrations.migrate, migrations.rollback):
        with pytest.raises(MigrationError, match="99_from_the_future"):
            step(dsn)


def test_of_several_at_once_one_migrates_and_the_others_find_it_done(dsn: str) -> None:
    with ThreadPoolExecutor() as pool:
        applied = sorted(pool.map(migrations.migrate, [dsn] * 4))
    assert applied == [[], [], [], MIGRATIONS]


def test_a_migration_and_its_mark_are_one_transaction(
    dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "01_unmarkable.sql").write_text(
        "CREATE TABLE made (); ALTER TABLE _yoyo_migration ADD CHECK (migration_id = 'another')"
    )
    monkeypatch.setattr(objects, "SQL", tmp_path)
    with pytest.raises(MigrationError, match="01_unmarkable failed"):
        migrations.migrate(dsn)
    assert rows(dsn, "SELECT to_regclass('made')") == [(None,)]


def test_a_killed_migration_leaves_nothing_behind(old: str) -> None:
    with psycopg.connect(old) as busy, psycopg.connect(old, autocommit=True) as watching:
        busy.execute("SELECT FROM epochs")  # and the transaction stays open
        process = subprocess.Popen(
            [
                sys.executable,
                "-c",
                MIGRATE,
                old,
            ],
            cwd=objects.SQL.parent,
        )
        waiting = (
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database()"
            " AND wait_event_type = 'Lock' AND application_name = 'operator-prices migrate'"
        )
        until = time.monotonic() + 30
        while not watching.execute(waiting).fetchone() and time.monotonic() < until:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        watching.execute("INSERT INTO yoyo_lock VALUES (1, now(), 1)")  # as yoyo itself leaves it
    assert migrations.pending(old) == MIGRATIONS
    assert migrations.migrate(old) == MIGRATIONS


def test_a_busy_table_stops_a_migration_and_not_its_readers(
    old: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migrations, "LOCK_TIMEOUT", "300ms")
    with psycopg.connect(old) as busy:
        busy.execute("SELECT FROM epochs")
        with pytest.raises(MigrationError, match=r"01_create_normalized_tables waited 300ms"):
            migrations.migrate(old)
        assert rows(old, "SELECT count(*) FROM epochs") == [(302,)]
    assert migrations.migrate(old) == MIGRATIONS


def test_a_second_migration_does_not_wait_for_ever(
    dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migrations, "PATIENCE", "300ms")
    with psycopg.connect(dsn) as other:
        other.execute("SELECT pg_advisory_lock(%s)", [migrations.LOCK])
        with pytest.raises(MigrationError, match="Another process"):
            migrations.migrate(dsn)


def test_readers_of_the_old_tables_read_on_all_the_while(old: str) -> None:
    done = threading.Event()

    def read() -> float:
        longest = 0.0
        with psycopg.connect(old, autocommit=True) as connection:
            while not done.is_set():
                start = time.perf_counter()
                connection.execute("SELECT count(*) FROM epochs")
                connection.execute("SELECT count(*) FROM comprehensive_analytics")
                longest = max(longest, time.perf_counter() - start)
        return longest

    with ThreadPoolExecutor() as pool:
        readers = [pool.submit(read) for _ in range(3)]
        try:
            migrations.migrate(old)
            migrations.rollback(old)
        finally:
            done.set()
        assert max(reader.result() for reader in readers) < 1


def test_a_role_that_owns_the_database_is_enough(server: str, role: str) -> None:
    name = f"owned_{uuid4().hex}"
    names = {"name": sql.Identifier(name), "role": sql.Identifier(role)}
    with psycopg.connect(server, autocommit=True) as admin:
        admin.execute(sql.SQL("CREATE DATABASE {name} OWNER {role}").format(**names))
        try:
            dsn = make_conninfo(server, dbname=name, options=f"-c role={role}")
            with psycopg.connect(dsn, autocommit=True) as connection:
                connection.execute(OLD_DATABASE)
            before = dump(dsn)
            assert migrations.migrate(dsn) == MIGRATIONS
            with psycopg.connect(dsn, autocommit=True) as connection:
                keep_epoch(connection, 5, {})
                refresh(connection)
            verified(dsn)
            migrations.rollback(dsn)
            assert dump(dsn) == before
        finally:
            admin.execute(sql.SQL("DROP DATABASE {name} WITH (FORCE)").format(**names))


def as_conninfo(dsn: str, user: str, dbname: str) -> str:
    return make_conninfo(dsn, user=user, dbname=dbname, password="p@ss w'o/r:d%?&#=\\")  # noqa: S106


def as_url(dsn: str, user: str, dbname: str) -> str:
    parts = {key: quote(str(value), safe="") for key, value in conninfo_to_dict(dsn).items()}
    password = quote("p@ss w'o/r:d%?&#=\\", safe="")
    return (
        f"postgresql://{quote(user, safe='')}:{password}@/{quote(dbname, safe='')}"
        f"?host={parts['host']}&port={parts.get('port', '5432')}&options=-c%20datestyle%3DGerman"
    )


def as_url_without_password(dsn: str, user: str, dbname: str) -> str:
    host = conninfo_to_dict(dsn)["host"]
    return f"postgresql://{quote(user, safe='')}:@/{quote(dbname, safe='')}?host={host}"


@pytest.mark.parametrize("written", [as_conninfo, as_url, as_url_without_password])
def test_whatever_psycopg_understands_is_understood(
    server: str, written: Callable[[str, str, str], str]
) -> None:
    if not str(conninfo_to_dict(server).get("host", "")).startswith("/"):
        pytest.skip("only the embedded server trusts any password")
    odd = f"o'd d/n@me?%:&{uuid4().hex}"
    with psycopg.connect(server, autocommit=True) as admin:
        admin.execute(sql.SQL("CREATE ROLE {0} LOGIN").format(sql.Identifier(odd)))
        admin.execute(sql.SQL("CREATE DATABASE {0} OWNER {0}").format(sql.Identifier(odd)))
        try:
            dsn = written(server, odd, odd)
            assert migrations.migrate(dsn) == MIGRATIONS
            assert rows(
                make_conninfo(server, dbname=odd),
                "SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = 'public'",
            ) == [(odd,)]
            assert migrations.pending(dsn) == []
            assert migrations.rollback(dsn) == MIGRATIONS[::-1]
        finally:
            admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(odd)))
            admin.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(odd)))


def test_no_server_is_an_error_of_the_connection() -> None:
    with pytest.raises(psycopg.OperationalError):
        migrations.migrate("host=/nowhere dbname=none")


def test_every_migration_has_its_rollback_beside_it() -> None:
    for name in MIGRATIONS:
        assert (objects.SQL / f"{name}.sql").exists()
        assert (objects.SQL / f"{name}.rollback.sql").exists()


def test_the_files_read_the_same_under_every_locale() -> None:
    assert all(file.read_bytes().isascii() for file in objects.SQL.glob("*.sql"))
