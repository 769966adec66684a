"""Each version of Postgres from 14 to 18, by TLS, by an owner who is no superuser."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from operator_prices.devchain.scenario import Scenario
from operator_prices.devchain.serving import Node, serving
from operator_prices_tests.support.postgres_versions import (
    BUILDS,
    Server,
    needs_builds,
    postgres,
)

pytestmark = needs_builds

EPOCHS = 30

USUAL = 17
"""The one that is tried each time, by TLS; the others before a release."""

VERSIONS = [
    pytest.param(one, marks=pytest.mark.e2e if one == USUAL else pytest.mark.soak) for one in BUILDS
]


@pytest.fixture(scope="module")
def node() -> Iterator[Node]:
    scenario = Scenario(epochs=EPOCHS, operators=3, seconds_per_block=0, late_reward_every=0)
    with serving(scenario, latency_ms=0) as node:
        yield node


@pytest.fixture(scope="module", params=VERSIONS)
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    with postgres(request.param) as server:
        with psycopg.connect(server.url("verify-full")) as connection:
            assert connection.info.server_version // 10_000 == request.param
        yield server


def run(url: str, node: Node, data_dir: Path, *arguments: str) -> tuple[int, str]:
    program = "from operator_prices.cli.main import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        env={
            **os.environ,
            "DATABASE_URL": url,
            "ARCHIVE_NODE_URL": node.url,
            "DATA_DIR": str(data_dir),
        },
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def test_everything_from_migrate_to_rollback_works(
    server: Server, node: Node, tmp_path: Path
) -> None:
    verified, required = server.url("verify-full"), server.url("require", "127.0.0.1")
    dump = str(tmp_path / "kept.dump")
    for url, arguments in (
        (required, ("migrate",)),
        (verified, ("up", "--once")),
        (verified, ("backfill", "--from", "0", "--to", "29")),
        (required, ("status",)),
        (verified, ("backup", dump)),
        (verified, ("restore", dump, "--replace")),
        (verified, ("verify-chain",)),
        (verified, ("rollback",)),
    ):
        code, said = run(url, node, tmp_path / "data", *arguments)
        assert code == 0, (arguments, said)
        if arguments == ("status",):
            with psycopg.connect(verified) as connection:
                stored = connection.execute("SELECT count(*) FROM epochs").fetchone()
                inside = connection.execute(
                    "SELECT count(*) FROM pg_tables WHERE schemaname = 'dagster'"
                ).fetchone()
            assert (stored, inside) == ((EPOCHS,), (22,))
    with psycopg.connect(verified) as connection:
        left = connection.execute(
            "SELECT tablename FROM pg_tables WHERE schemaname IN ('public', 'dagster')"
        )
        assert left.fetchall() == []


def test_a_certificate_for_another_name_is_refused_in_one_sentence(
    server: Server, node: Node, tmp_path: Path
) -> None:
    code, said = run(server.url("verify-full", "127.0.0.1"), node, tmp_path / "data", "migrate")
    assert code == 1
    assert "certificate" in said
    assert said.count("\n") == 1
