import sqlite3
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from operator_prices.errors import ExplainedError
from operator_prices.local import backups, client_programs
from operator_prices.local.backups import BackupError
from operator_prices.local.postgres import embedded
from operator_prices.settings import READER
from operator_prices.store import migrations
from operator_prices_tests.support.old_database import OLD_DATABASE


def answers(dsn: str) -> list[list[tuple[object, ...]]]:
    with psycopg.connect(dsn) as connection:
        return [
            connection.execute("SELECT * FROM epochs ORDER BY epoch").fetchall(),
            connection.execute("SELECT * FROM comprehensive_analytics ORDER BY epoch").fetchall(),
            connection.execute(
                "SELECT nspname, relname, relkind FROM pg_class"
                " JOIN pg_namespace ON pg_namespace.oid = relnamespace"
                " WHERE nspname !~ '^pg_' AND nspname <> 'information_schema' ORDER BY 1, 2"
            ).fetchall(),
        ]


@pytest.fixture
def old(dsn: str) -> str:
    with psycopg.connect(dsn) as connection:
        connection.execute(OLD_DATABASE)
    return dsn


def test_a_backup_from_before_the_migrations_brings_the_old_database_back(
    old: str, tmp_path: Path
) -> None:
    before = answers(old)
    file = backups.before_migration(old, tmp_path)
    assert file is not None
    assert file.parent == tmp_path / "backups"
    migrations.migrate(old)
    with psycopg.connect(old) as connection:
        connection.execute("DELETE FROM epochs")
        connection.execute("CREATE TABLE dagster.runs (id INTEGER)")
    backups.restore(old, file, replace=True)
    assert answers(old) == before
    assert migrations.pending(old)


def test_a_migrated_database_comes_back_as_it_was(old: str, tmp_path: Path) -> None:
    migrations.migrate(old)
    before = answers(old)
    assert backups.backup(old, tmp_path / "now.dump") > 0
    with psycopg.connect(old) as connection:
        connection.execute("UPDATE epochs SET data = '{}', source = 'chain'")
    backups.restore(old, tmp_path / "now.dump", replace=True)
    assert answers(old) == before
    assert migrations.pending(old) == []
    migrations.rollback(old)
    assert len(answers(old)[0]) == 50


def test_no_backup_is_made_where_there_is_nothing_to_lose_or_nothing_to_do(
    dsn: str, tmp_path: Path
) -> None:
    assert backups.before_migration(dsn, tmp_path) is None
    migrations.migrate(dsn)
    with psycopg.connect(dsn) as connection:
        connection.execute(
            "INSERT INTO epochs (epoch, end_block, end_hash, timestamp, data)"
            " VALUES (1, 1, '0x', 1, '{}')"
        )
    assert backups.before_migration(dsn, tmp_path) is None
    assert list(tmp_path.iterdir()) == []


def test_a_database_that_holds_something_is_only_replaced_on_demand(
    old: str, tmp_path: Path
) -> None:
    backups.backup(old, tmp_path / "old.dump")
    with pytest.raises(BackupError, match="--replace"):
        backups.restore(old, tmp_path / "old.dump")


def test_what_is_no_backup_changes_nothing(old: str, tmp_path: Path) -> None:
    before = answers(old)
    sqlite3.connect(tmp_path / "other.dump").close()
    (tmp_path / "text.dump").write_text("not a dump")
    for name in ("missing.dump", "text.dump", "other.dump"):
        with pytest.raises(ExplainedError):
            backups.restore(old, tmp_path / name, replace=True)
    assert answers(old) == before


def test_a_restore_that_fails_half_way_keeps_what_was_there(old: str, tmp_path: Path) -> None:
    before = answers(old)
    file = tmp_path / "old.dump"
    backups.backup(old, file)
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(ExplainedError):
        backups.restore(old, file, replace=True)
    assert answers(old) == before


def test_a_backup_appears_when_it_is_whole(tmp_path: Path) -> None:
    with pytest.raises(psycopg.OperationalError):
        backups.backup("postgresql://nobody@127.0.0.1:1/none", tmp_path / "x.dump")
    assert list(tmp_path.iterdir()) == []


def test_a_server_without_the_roles_of_the_backup_gets_ours_and_does_without_others(
    old: str, tmp_path: Path
) -> None:
    migrations.migrate(old)
    with psycopg.connect(old, autocommit=True) as connection:
        connection.execute("CREATE ROLE a_stranger")
        connection.execute("GRANT SELECT ON epochs TO a_stranger")
        backups.backup(old, tmp_path / "now.dump")
        connection.execute("DROP OWNED BY a_stranger")
        connection.execute("DROP ROLE a_stranger")
    assert backups.restore(old, tmp_path / "now.dump", replace=True).strangers == ["a_stranger"]
    with psycopg.connect(old) as connection:
        granted = connection.execute(
            "SELECT has_table_privilege('operator_prices_reader', 'epoch_documents', 'SELECT')"
        ).fetchone()
    assert granted == (True,)


@pytest.mark.e2e
def test_a_new_machine_takes_a_backup(old: str, tmp_path: Path) -> None:
    migrations.migrate(old)
    before = answers(old)
    backups.backup(old, tmp_path / "now.dump")
    with embedded.server(tmp_path / "new") as new:
        assert backups.restore(new, tmp_path / "now.dump").strangers == []
        assert answers(new) == before
        with psycopg.connect(new, user=READER) as connection:
            assert connection.execute("SELECT count(*) FROM epochs").fetchone() == (50,)
    embedded.remove(tmp_path / "new")


def test_nobody_sees_a_password_among_the_arguments_of_a_program() -> None:
    told, environment = client_programs.apart("postgresql://me:a%20secret@db.example:5433/prices")
    assert "secret" not in told
    assert environment["PGPASSWORD"] == "a secret"
    assert conninfo_to_dict(told) == {
        "user": "me",
        "host": "db.example",
        "port": "5433",
        "dbname": "prices",
    }
