"""Imports as people run them: whole processes, killed and run again."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from operator_prices.settings import PROJECT
from operator_prices_tests.support.legacy_samples import history, price_of, row, write_sqlite

pytestmark = pytest.mark.e2e

COMMAND = [sys.executable, "-c", "from operator_prices.cli.main import main; main()"]


@pytest.fixture
def environment(dsn: str, tmp_path: Path) -> dict[str, str]:
    return os.environ | {
        "DATABASE_URL": dsn,
        "DATA_DIR": str(tmp_path / "data"),
        "PYTHONPATH": str(PROJECT),
    }


def run(environment: dict[str, str], *arguments: str, code: int = 0) -> str:
    done = subprocess.run(
        [*COMMAND, *arguments], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout


def test_an_import_that_is_killed_goes_on_where_it_was(
    database: psycopg.Connection, environment: dict[str, str], tmp_path: Path
) -> None:
    file = write_sqlite(tmp_path / "old.db", history(620))
    with subprocess.Popen(
        [*COMMAND, "import-legacy", str(file)],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("window 000200"):
                process.send_signal(signal.SIGKILL)
                break
    assert process.returncode == -signal.SIGKILL
    done = database.execute("SELECT count(*) FROM legacy_windows").fetchone()
    assert done is not None
    assert 3 <= done[0] < 7
    assert database.execute(
        "SELECT count(*) FROM epochs WHERE epoch / 100 NOT IN"
        " (SELECT first_epoch / 100 FROM legacy_windows)"
    ).fetchone() == (0,)

    said = run(environment, "import-legacy", str(file))

    assert f"of which {done[0]} were imported before" in said
    assert database.execute(
        "SELECT epoch, operator_id, share_price_perq FROM operator_share_prices"
        " WHERE source = 'epochs_json' ORDER BY 1, 2"
    ).fetchall() == [
        (epoch, operator, price_of(epoch, operator)) for epoch in range(619) for operator in (0, 1)
    ]
    assert "FAILED" not in run(environment, "verify")
    assert "Differences: 0" in run(environment, "compare-paths", "--from", "0", "--to", "619")


def test_strict_ends_with_3_and_otherwise_the_summary_says_how_many(
    database: psycopg.Connection, environment: dict[str, str], tmp_path: Path
) -> None:
    snapshots = [*history(5), row(5, "{")]
    file = write_sqlite(tmp_path / "old.db", snapshots)
    said = run(environment, "import-legacy", str(file))
    assert "In quarantine: 1" in said
    assert "1 x epochs is broken JSON" in said
    assert "In quarantine: 1" in run(environment, "import-legacy", str(file), "--strict", code=3)
    assert database.execute("SELECT epoch, path FROM quarantine").fetchall() == [(5, "data")]


def test_migrate_takes_a_backup_first_which_restores_the_old_database(
    dsn: str, environment: dict[str, str], tmp_path: Path
) -> None:
    with psycopg.connect(dsn) as connection:
        connection.execute(
            "CREATE TABLE epochs (epoch INTEGER PRIMARY KEY, end_block INTEGER NOT NULL,"
            " end_hash TEXT NOT NULL, timestamp BIGINT NOT NULL, data JSONB NOT NULL)"
        )
        with connection.cursor() as cursor:
            cursor.executemany("INSERT INTO epochs VALUES (%s, %s, %s, %s, %s)", history(120))
        before = connection.execute("SELECT * FROM epochs ORDER BY 1").fetchall()
    assert "Backup before the migrations: " in run(environment, "migrate")
    (backup,) = (tmp_path / "data" / "backups").iterdir()
    assert "120 understood" in run(environment, "import-legacy")
    assert "FAILED" not in run(environment, "verify")
    run(environment, "import-legacy", "--reduce")
    run(environment, "export-sqlite", str(tmp_path / "out.db"))
    run(environment, "backup", str(tmp_path / "now.dump"))
    run(environment, "restore", str(backup), code=1)
    run(environment, "restore", str(backup), "--replace")
    with psycopg.connect(dsn) as connection:
        assert connection.execute("SELECT * FROM epochs ORDER BY 1").fetchall() == before
    assert "Backup" not in run(environment, "migrate", "--no-backup")
    run(environment, "import-legacy", "--reduce")
    run(environment, "rollback")
    with psycopg.connect(dsn) as connection:
        assert connection.execute("SELECT * FROM epochs ORDER BY 1").fetchall() == before
