"""No command leaves a part of the database's password anywhere."""

import os
import re
import signal
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from operator_prices.devchain.scenario import Scenario
from operator_prices.devchain.serving import Node, serving
from operator_prices.local import dagster_home
from operator_prices.local.ports import answering, free_port
from operator_prices.settings import PROJECT
from operator_prices_tests.support.legacy_samples import history, write_sqlite
from operator_prices_tests.support.live import until
from operator_prices_tests.support.pgbouncer import needs_pgbouncer, pgbouncer

PASSWORD = "hushA@hushB/hushC#hushD?hushE%hushF"  # noqa: S105 - each part is looked for

PART = re.compile(rb"hush[A-F]")

pytestmark = [pytest.mark.e2e, needs_pgbouncer]


@pytest.fixture(scope="module")
def node() -> Iterator[Node]:
    scenario = Scenario(epochs=30, operators=3, seconds_per_block=0, late_reward_every=0)
    with serving(scenario, latency_ms=0) as node:
        yield node


@pytest.fixture
def pooled(dsn: str) -> Iterator[str]:
    """The address of a database through a session pooler that drops startup options."""
    with pgbouncer(dsn, "session", ignored=("extra_float_digits", "options")) as address:
        yield address


def written(address: str, password: str) -> str:
    known = conninfo_to_dict(address)
    place = f"{known['host']}:{known['port']}/{known['dbname']}"
    return f"postgresql+psycopg2://{known['user']}:{password}@{place}?pgbouncer=true"


def environment(url: str, data_dir: Path, **more: str) -> dict[str, str]:
    return {**os.environ, "DATABASE_URL": url, "DATA_DIR": str(data_dir), **more}


def run(env: dict[str, str], *arguments: str) -> tuple[int, bytes]:
    program = "from operator_prices.cli.main import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        env=env,
        capture_output=True,
        timeout=300,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def left_in(folder: Path) -> set[str]:
    """The files that hold a part of the password."""
    return {
        str(file) for file in folder.rglob("*") if file.is_file() and PART.search(file.read_bytes())
    }


def told_by(dsn: str) -> list[str]:
    """The tables of all schemas that hold a part of the password."""
    with psycopg.connect(dsn) as connection:
        tables = connection.execute(
            "SELECT format('%I.%I', schemaname, tablename) FROM pg_tables"
            " WHERE schemaname IN ('public', 'dagster')"
        ).fetchall()
        return [
            name
            for (name,) in tables
            if connection.execute(
                f"SELECT FROM {name} AS row WHERE row::text ~ 'hush[A-F]' LIMIT 1".encode()
            ).fetchone()
        ]


def test_a_password_with_signs_is_used_by_every_command_and_left_nowhere(
    pooled: str, dsn: str, node: Node, tmp_path: Path
) -> None:
    data_dir, url = tmp_path / "data", written(pooled, PASSWORD)
    env = environment(url, data_dir, ARCHIVE_NODE_URL=node.url)
    old = str(write_sqlite(tmp_path / "old.db", history(20)))
    for arguments in (
        ("migrate",),
        ("up", "--once"),
        ("backfill", "--from", "0", "--to", "29"),
        ("status",),
        ("settings",),
        ("import-legacy", old),
        ("import-legacy", url),
        ("backup", str(data_dir / "kept.dump")),
    ):
        code, said = run(env, *arguments)
        assert not PART.search(said), (arguments, said)
        assert code == 0 or arguments[0] == "import-legacy", (arguments, said)
    for source in (WRONG[0], WRONG[1], WRONG[3]):
        code, said = run(env, "import-legacy", source)
        assert code == 1, said
        assert not PART.search(said), said
    serve(env, data_dir)
    assert left_in(tmp_path) == set()
    assert told_by(dsn) == []
    with psycopg.connect(dsn) as connection:
        assert connection.execute("SELECT count(*) FROM epochs").fetchone() == (30,)


def serve(env: dict[str, str], data_dir: Path) -> None:
    port = free_port()
    program = "from operator_prices.cli.main import main; main()"
    with (
        (data_dir / "serve.log").open("wb") as log,
        subprocess.Popen(
            [sys.executable, "-c", program, "serve"],
            env={**env, "API_PORT": str(port)},
            stdout=log,
            stderr=log,
        ) as process,
    ):
        try:
            until(answering("127.0.0.1", port, "/readyz"), 60)
        finally:
            process.send_signal(signal.SIGTERM)


WRONG = [
    f"postgresql://me:{PASSWORD}@127.0.0.1:here/prices",
    f"mysql://me:{PASSWORD}@127.0.0.1/prices",
    f"postgresql://me:{quote(PASSWORD, safe='')}%zz@127.0.0.1:1/prices",
    f"postgresql://me:{PASSWORD}@127.0.0.1:1/prices",
    f"postgresql://me:{quote(PASSWORD, safe='')}@nowhere.invalid/prices",
    PASSWORD,
]


@pytest.mark.parametrize(
    "arguments",
    [
        ("up", "--once"),
        ("migrate",),
        ("status",),
        ("serve",),
        ("backup", "kept.dump"),
        ("backfill", "--from", "0", "--to", "1"),
    ],
    ids=lambda arguments: arguments[0],
)
def test_an_address_that_does_not_work_is_one_sentence_without_the_password(
    arguments: tuple[str, ...], tmp_path: Path
) -> None:
    for url in WRONG if arguments == ("status",) else (WRONG[0], WRONG[3]):
        code, said = run(environment(url, tmp_path / "data"), *arguments)
        assert code == 1, said
        assert not PART.search(said), said
        assert said.count(b"\n") == 1, said
        assert b"Traceback" not in said
    assert left_in(tmp_path) == set()


@pytest.mark.parametrize("variable", ["DATABASE_URL", "DAGSTER_PG_URL"])
def test_dagsters_own_commands_end_with_one_sentence_too(variable: str, tmp_path: Path) -> None:
    program = Path(sysconfig.get_path("scripts"), "dagster")
    for url in (WRONG[0], WRONG[3]):
        done = subprocess.run(
            [program, "run", "list"],
            env={
                **os.environ,
                "DAGSTER_HOME": str(dagster_home.home(tmp_path)),
                "DATA_DIR": str(tmp_path),
                variable: url,
            },
            capture_output=True,
            cwd=PROJECT,
            timeout=120,
            check=False,
        )
        said = done.stdout + done.stderr
        assert done.returncode == 1, said
        assert not PART.search(said), said
        assert said.count(b"\n") == 1, said
        assert variable.encode() in said
    assert left_in(tmp_path) == set()
