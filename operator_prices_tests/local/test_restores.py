import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO

import psycopg
import pytest

from operator_prices.errors import ExplainedError
from operator_prices.local import backups, client_programs, scripts
from operator_prices.local.backups import BackupError
from operator_prices.local.client_programs import ClientProgramError
from operator_prices.store import migrations, publication
from operator_prices.store.contents import ForeignObjectError
from operator_prices_tests.support import supabase
from operator_prices_tests.support.lines import line
from operator_prices_tests.support.old_database import OLD_DATABASE

pytestmark = pytest.mark.e2e

STRANGERS = """
CREATE SCHEMA crm;
CREATE TABLE crm.people (id INTEGER PRIMARY KEY, epochs TEXT);
INSERT INTO crm.people SELECT n, 'mine' FROM generate_series(1, 100) AS n;
CREATE TYPE mood AS ENUM ('fine', 'not so fine');
CREATE TABLE "my ""blog"" posts" (id BIGINT GENERATED ALWAYS AS IDENTITY, feeling mood);
INSERT INTO "my ""blog"" posts" (feeling) VALUES ('fine');
CREATE FUNCTION crm.number_or_null(text) RETURNS INTEGER LANGUAGE sql AS 'SELECT 1';
CREATE FUNCTION public.number_or_null(date) RETURNS INTEGER LANGUAGE sql AS 'SELECT 2';
CREATE TABLE crm.epochs (epoch INTEGER);
CREATE MATERIALIZED VIEW crm.epoch_documents AS SELECT 1 AS epoch;
"""

FILL = """
INSERT INTO epochs (epoch, end_block, end_hash, timestamp, data, domain_id, source, complete)
  SELECT n, n, '0x', n, '{"a": 1}', 0, 'chain', true FROM generate_series(1, 40) AS n;
INSERT INTO operator_share_prices SELECT n, 0, 10::numeric ^ 38 FROM generate_series(1, 40) AS n;
INSERT INTO quarantine (epoch, item, reason, source) VALUES (1, 'Operators', 'odd', 'chain');
SELECT refresh_epoch_analytics(1, 40);
"""


@pytest.fixture
def project(server: str) -> Iterator[str]:
    """A migrated database of ours among strangers, by an owner who is no superuser."""
    with supabase.project(server) as dsn:
        run(dsn, STRANGERS)
        migrations.migrate(dsn)
        run(dsn, FILL)
        yield dsn


@pytest.fixture
def another(server: str) -> Iterator[str]:
    with supabase.project(server) as dsn:
        yield dsn


def run(dsn: str, statements: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(statements.encode())


def rows(dsn: str, query: str) -> list[tuple[object, ...]]:
    with psycopg.connect(dsn) as connection:
        return connection.execute(query.encode()).fetchall()


def strangers(dsn: str) -> list[list[tuple[object, ...]]]:
    return [
        rows(dsn, "SELECT count(*) FROM crm.people"),
        rows(dsn, 'SELECT id, feeling::text FROM "my ""blog"" posts" ORDER BY id'),
        rows(dsn, "SELECT crm.number_or_null('x'), public.number_or_null(date '2020-01-01')"),
        rows(dsn, "SELECT oid, extname FROM pg_extension ORDER BY 1"),
        rows(
            dsn, "SELECT oid, nspname FROM pg_namespace WHERE nspname !~ '^pg_|dagster' ORDER BY 1"
        ),
        rows(dsn, "SELECT oid FROM pg_class WHERE relnamespace = 'crm'::regnamespace ORDER BY 1"),
        rows(dsn, "SELECT count(*) FROM auth.users"),
    ]


def told(dsn: str) -> list[list[tuple[object, ...]]]:
    return [
        rows(dsn, "SELECT * FROM epochs ORDER BY epoch"),
        rows(dsn, "SELECT epoch, document FROM epoch_documents ORDER BY epoch"),
        rows(dsn, "SELECT * FROM data_version"),
        rows(dsn, "SELECT tablename, policyname, cmd FROM pg_policies ORDER BY 1, 2"),
    ]


def test_a_backup_goes_back_to_where_it_came_from_and_touches_nothing_else(
    project: str, tmp_path: Path
) -> None:
    before = told(project)
    backups.backup(project, tmp_path / "now.backup")
    run(project, "DELETE FROM epochs WHERE epoch > 3; DELETE FROM quarantine")
    run(project, 'INSERT INTO "my ""blog"" posts" (feeling) VALUES (\'not so fine\')')
    others = strangers(project)
    done = backups.restore(project, tmp_path / "now.backup", replace=True)
    assert done.tables > 15
    assert told(project) == before
    assert strangers(project) == others
    opened = {name for _, name, _ in supabase.rights(project) if "blog" not in name}
    assert opened == {"number_or_null(date)"}  # the stranger's function of that name
    assert migrations.unprotected(project) == []
    run(project, "INSERT INTO quarantine (item, reason, source) VALUES ('a', 'b', 'chain')")


def test_a_backup_holds_nothing_of_strangers_and_not_what_may_not_be_read(
    project: str, another: str, tmp_path: Path
) -> None:
    backups.backup(project, tmp_path / "now.backup")
    run(another, STRANGERS.replace("fine", "well"))
    others = strangers(another)
    backups.restore(another, tmp_path / "now.backup")
    assert told(another) == told(project)
    assert strangers(another) == others
    migrations.rollback(another)
    assert strangers(another) == others


def test_an_empty_database_takes_a_backup_and_goes_on_being_published(
    project: str, another: str, tmp_path: Path
) -> None:
    publication.publish(project, "anon")
    backups.backup(project, tmp_path / "now.backup")
    backups.restore(another, tmp_path / "now.backup")
    assert rows(another, "SELECT has_table_privilege('anon', 'epoch_analytics', 'SELECT')") == [
        (True,)
    ]
    assert rows(another, "SELECT has_table_privilege('anon', 'epoch_documents', 'SELECT')") == [
        (False,)
    ]
    assert migrations.unprotected(another) == []
    assert migrations.pending(another) == []


@pytest.mark.parametrize(
    ("dependent", "named"),
    [
        ("CREATE VIEW crm.latest AS SELECT max(epoch) FROM epochs", "view crm.latest"),
        (
            "CREATE MATERIALIZED VIEW crm.latest AS SELECT * FROM comprehensive_analytics",
            "materialized view crm.latest",
        ),
        (
            "CREATE TABLE crm.notes (epoch BIGINT REFERENCES epochs)",
            "constraint notes_epoch_fkey on table crm.notes",
        ),
    ],
)
def test_what_strangers_built_on_our_tables_is_named_and_stays(
    project: str, tmp_path: Path, dependent: str, named: str
) -> None:
    run(project, dependent)
    before = told(project)
    backups.backup(project, tmp_path / "now.backup")
    with pytest.raises(ForeignObjectError, match=named):
        backups.restore(project, tmp_path / "now.backup", replace=True)
    assert told(project) == before


def test_a_strangers_table_with_one_of_our_names_is_never_replaced(
    project: str, another: str, tmp_path: Path
) -> None:
    backups.backup(project, tmp_path / "now.backup")
    run(another, "CREATE TABLE quarantine (patient TEXT); CREATE TABLE epochs (name TEXT)")
    with pytest.raises(BackupError, match="has epochs, quarantine, which is not ours"):
        backups.restore(another, tmp_path / "now.backup", replace=True)
    run(another, "DROP TABLE quarantine, epochs")
    run(
        another,
        "CREATE FUNCTION number_or_null(text) RETURNS INTEGER LANGUAGE sql AS 'SELECT 3'",
    )
    with pytest.raises(BackupError, match='function "number_or_null" already exists'):
        backups.restore(another, tmp_path / "now.backup", replace=True)
    assert rows(another, "SELECT number_or_null('1')") == [(3,)]


def test_moving_in_makes_its_backup_beside_what_may_not_be_read(
    another: str, tmp_path: Path
) -> None:
    run(another, OLD_DATABASE)
    run(another, "GRANT SELECT ON epochs TO authenticated")
    rights = supabase.rights(another)
    file = backups.before_migration(another, tmp_path)
    assert file is not None
    migrations.migrate(another)
    backups.restore(another, file, replace=True)
    assert supabase.rights(another) == rights
    assert migrations.pending(another)
    assert rows(another, "SELECT count(*) FROM pg_namespace WHERE nspname = 'dagster'") == [(0,)]


def test_a_backup_of_a_whole_database_of_earlier_versions_gives_back_what_is_ours(
    server: str, project: str, another: str, tmp_path: Path
) -> None:
    admin = psycopg.conninfo.make_conninfo(
        server, dbname=project.split("dbname=")[1].split(maxsplit=1)[0]
    )
    file = tmp_path / "old.dump"
    program = client_programs.newest("pg_dump")
    subprocess.run([program, "--format=custom", "--file", file, "--dbname", admin], check=True)
    run(another, STRANGERS)
    others = strangers(another)
    assert backups.restore(another, file).tables == 0
    assert told(another) == told(project)
    assert strangers(another) == others
    assert migrations.unprotected(another) == []


def test_a_backup_that_would_not_be_whole_is_not_made(server: str, tmp_path: Path) -> None:
    with supabase.project(server, bypasses_rls=False) as dsn:
        migrations.migrate(dsn)
        run(dsn, "ALTER TABLE epochs FORCE ROW LEVEL SECURITY")
        backups.backup(dsn, tmp_path / "forced.backup")
        run(dsn, "DROP POLICY operator_prices_write ON epochs")
        with pytest.raises(ForeignObjectError, match="hides rows of epochs"):
            backups.backup(dsn, tmp_path / "hidden.backup")
        assert not (tmp_path / "hidden.backup").exists()


def test_rows_that_are_not_as_they_were_backed_up_are_not_kept(
    project: str, another: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backups.backup(project, tmp_path / "now.backup")
    copied = scripts._copy  # noqa: SLF001

    def losing(connection: psycopg.Connection, statement: bytes, script: IO[bytes]) -> None:
        copied(connection, statement, script)
        if b"public.epochs " in statement:
            connection.execute("UPDATE public.epochs SET timestamp = 0 WHERE epoch = 7")

    monkeypatch.setattr(scripts, "_copy", losing)
    with pytest.raises(BackupError, match=r"differs from what was backed up in public\.epochs"):
        backups.restore(another, tmp_path / "now.backup")
    assert rows(another, "SELECT to_regclass('epochs')") == [(None,)]


def test_without_a_program_as_new_as_the_server_there_is_one_sentence() -> None:
    with pytest.raises(ClientProgramError, match="is Postgres 99 and no pg_dump here is as new"):
        client_programs.fitting("pg_dump", 99)


def test_a_backup_before_a_migration_that_cannot_be_made_names_the_way_round(
    another: str, tmp_path: Path
) -> None:
    run(another, OLD_DATABASE)
    (tmp_path / "backups").write_text("a file in the way")
    with pytest.raises(ExplainedError, match="--no-backup"):
        backups.before_migration(another, tmp_path)


def test_a_backup_whose_line_falls_silent_is_given_up_within_a_minute(
    project: str, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    with line(project) as way:
        trap = way.trap("COPY public.epochs", "mute")
        with ThreadPoolExecutor(1) as pool:
            backup = pool.submit(backups.backup, way.url, tmp_path / "now.backup")
            assert trap.sprung.wait(60)
            begun = time.monotonic()
            with pytest.raises(ClientProgramError, match="silent for"):
                backup.result(60)
            silent = time.monotonic() - begun
    record_property("seconds until it gives up", round(silent))
    assert list(tmp_path.iterdir()) == []


def test_a_backup_that_takes_long_is_not_stopped_by_limits_of_its_role(
    project: str, another: str, tmp_path: Path
) -> None:
    limits = ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout")
    for dsn in (project, another):
        for limit in limits:
            run(dsn, f"ALTER ROLE CURRENT_USER SET {limit} = '1s'")
    with line(project) as way:
        way.delay(0.02)  # of each message, in both directions
        begun = time.monotonic()
        backups.backup(way.url, tmp_path / "now.backup")
        assert time.monotonic() - begun > 2
    backups.restore(another, tmp_path / "now.backup")
    assert told(another) == told(project)
