"""The command line as a person meets it: exit codes, and one sentence for each error."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import psycopg
import pytest

from operator_prices import store
from operator_prices.devchain.chain import DevChain
from operator_prices.devchain.scenario import Scenario
from operator_prices.devchain.serving import Node, serving
from operator_prices.local.leftovers import lock, reap_leftovers
from operator_prices.local.ports import free_port
from operator_prices.local.postgres import embedded
from operator_prices.store import migrations
from operator_prices_tests.support.commands import PROGRAM, run, sentence
from operator_prices_tests.support.samples import truth_of

pytestmark = pytest.mark.e2e

SMALL = Scenario(seconds_per_block=0, epochs=120, operators=3, locking_epochs=20)


@pytest.fixture(scope="module")
def node() -> Iterator[Node]:
    with serving(DevChain(SMALL)) as served:
        yield served


@pytest.fixture
def data_dir() -> Iterator[Path]:
    with TemporaryDirectory(prefix="data-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)
        embedded.remove(Path(folder))


def test_help_tells_the_exit_codes(tmp_path: Path) -> None:
    done = run("--help", data_dir=tmp_path)
    assert done.returncode == 0
    assert "Exit codes" in done.stdout


def test_a_backfill_from_a_node_and_the_same_once_more(
    dsn: str, node: Node, tmp_path: Path
) -> None:
    settings = {"DATABASE_URL": dsn, "ARCHIVE_NODE_URL": node.url}
    first = run("backfill", "--from", "0", "--to", "latest", data_dir=tmp_path, **settings)
    assert first.returncode == 0, first.stderr
    assert "Epochs read: 120" in first.stdout
    again = run("backfill", "--from", "0", "--to", "latest", data_dir=tmp_path, **settings)
    assert "Epochs read: 0" in again.stdout
    assert "Changed rows: 0 " in again.stdout
    with store.connect(dsn) as connection:
        assert store.summary(connection).rows["operator_shares"] == sum(
            len(epoch.operators) for epoch in truth_of(node.chain)
        )
    told = run("status", data_dir=tmp_path, **settings)
    assert "Last completed epoch: 119" in told.stdout
    assert "Gaps: none" in told.stdout
    verified = run("verify-chain", data_dir=tmp_path, **settings)
    assert "left the chain: none" in verified.stdout


def test_a_node_that_is_not_there(dsn: str, tmp_path: Path) -> None:
    migrations.migrate(dsn)
    settings = {"DATABASE_URL": dsn, "ARCHIVE_NODE_URL": "ws://127.0.0.1:1"}
    assert "ARCHIVE_NODE_URL" in sentence(run("status", data_dir=tmp_path, **settings))


def test_an_address_that_is_none(dsn: str, tmp_path: Path) -> None:
    migrations.migrate(dsn)
    settings = {"DATABASE_URL": dsn, "ARCHIVE_NODE_URL": "node.example"}
    assert "is no node address" in sentence(run("status", data_dir=tmp_path, **settings))


def test_a_database_that_is_not_there(tmp_path: Path) -> None:
    url = "postgresql://me:secret@127.0.0.1:1/prices"
    told = sentence(run("status", data_dir=tmp_path, DATABASE_URL=url))
    assert "DATABASE_URL" in told
    assert "secret" not in told


def test_a_database_of_others_is_not_migrated_by_looking_at_it(
    dsn: str, node: Node, tmp_path: Path
) -> None:
    settings = {"DATABASE_URL": dsn, "ARCHIVE_NODE_URL": node.url}
    assert "migrate" in sentence(run("status", data_dir=tmp_path, **settings))
    assert migrations.pending(dsn)


def test_migrations_go_both_ways(dsn: str, tmp_path: Path) -> None:
    for command in ("migrate", "rollback", "migrate"):
        done = run(command, data_dir=tmp_path, DATABASE_URL=dsn)
        assert done.returncode == 0, done.stderr
    assert migrations.pending(dsn) == []


def test_a_chain_that_the_data_is_not_of(dsn: str, node: Node, tmp_path: Path) -> None:
    migrations.migrate(dsn)
    with psycopg.connect(dsn) as connection:
        connection.execute("INSERT INTO chain_identity VALUES ('0xother', 0)")
    settings = {"DATABASE_URL": dsn, "ARCHIVE_NODE_URL": node.url}
    told = sentence(run("backfill", "--from", "0", "--to", "3", data_dir=tmp_path, **settings))
    assert "0xother" in told
    assert node.chain.genesis_hash in told


def test_an_epoch_that_is_not_completed(dsn: str, node: Node, tmp_path: Path) -> None:
    settings = {"DATABASE_URL": dsn, "ARCHIVE_NODE_URL": node.url}
    done = run("backfill", "--from", "9000", "--to", "latest", data_dir=tmp_path, **settings)
    assert "last completed one is 119" in sentence(done)


@pytest.mark.parametrize("wrong", [["--from", "x", "--to", "3"], ["--from", "3", "--to", "1"]])
def test_a_wrong_option_ends_with_two(wrong: list[str], tmp_path: Path) -> None:
    assert run("backfill", *wrong, data_dir=tmp_path).returncode == 2


def test_an_operator_is_named_and_an_unknown_one_is_not(
    dsn: str, node: Node, tmp_path: Path
) -> None:
    settings = {"DATABASE_URL": dsn, "ARCHIVE_NODE_URL": node.url}
    run("backfill", "--from", "0", "--to", "0", data_dir=tmp_path, **settings)
    done = run("operators", "set", "0", "--name", "Alice", data_dir=tmp_path, **settings)
    assert done.returncode == 0, done.stderr
    unknown = run("operators", "set", "99", "--name", "Bob", data_dir=tmp_path, **settings)
    assert "99" in sentence(unknown)
    with psycopg.connect(dsn) as connection:
        row = connection.execute("SELECT name FROM operators_metadata WHERE operator_id = 0")
        assert row.fetchone() == ("Alice",)


def test_up_is_killed_in_the_middle_and_completes_when_run_again(data_dir: Path) -> None:
    environment = {**os.environ, "DATA_DIR": str(data_dir)}
    with subprocess.Popen(
        [*PROGRAM, "up", "--once"],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as first:
        assert first.stderr is not None
        for line in first.stderr:
            if line.startswith("window"):
                break
        time.sleep(0.5)
        first.send_signal(signal.SIGKILL)
    again = run("up", "--once", data_dir=data_dir)
    assert again.returncode == 0, again.stderr
    assert "Gaps: none" in again.stdout
    chain = DevChain(Scenario(seconds_per_block=0))
    truth = {epoch.epoch: epoch for epoch in truth_of(chain)}
    with embedded.server(data_dir) as url, store.connect(url) as connection:
        stored = connection.execute(
            "SELECT epoch, operator_id, share_price_perq, shares_raw FROM operator_shares"
            " LEFT JOIN operator_share_prices USING (epoch, operator_id) ORDER BY 1, 2"
        ).fetchall()
        unfinished = connection.execute(
            "SELECT status FROM dagster.runs WHERE status NOT IN ('SUCCESS', 'FAILURE')"
        ).fetchall()
    assert unfinished == []
    assert {(epoch, operator) for epoch, operator, _, _ in stored} >= {
        (epoch, operator) for epoch, told in truth.items() for operator in told.operators
    }
    assert len(stored) == len({row[:2] for row in stored})
    for epoch, operator, price, shares in stored:
        if epoch in truth:
            told = truth[epoch].operators[operator]
            assert shares == told.shares
            assert told.price in (None, price)


def test_a_busy_port_and_a_busy_data_directory_are_told(data_dir: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as busy:
        port = busy.getsockname()[1]
        assert "UI_PORT" in sentence(run("up", data_dir=data_dir, UI_PORT=str(port)))
    with lock(data_dir):
        assert "DATA_DIR" in sentence(run("up", "--once", data_dir=data_dir))


def test_up_follows_the_chain_by_itself_and_ends_with_nothing_left(data_dir: Path) -> None:
    with serving(DevChain(SMALL)) as node:
        environment = {
            **os.environ,
            "DATA_DIR": str(data_dir),
            "ARCHIVE_NODE_URL": node.url,
            "UI_PORT": str(free_port()),
            "API_PORT": str(free_port()),
        }
        with subprocess.Popen(
            [*PROGRAM, "up"], env=environment, stdout=subprocess.PIPE, text=True
        ) as up:
            assert up.stdout is not None
            for line in up.stdout:
                if line.startswith("Dagster UI"):
                    break
            with embedded.server(data_dir) as url, store.connect(url) as connection:
                stored = store.last_epoch(connection)
                node.produce(250)
                for _ in range(240):
                    if store.windows_behind(connection, stored + 1) == []:
                        break
                    time.sleep(0.5)
                assert store.last_epoch(connection) > stored
            up.send_signal(signal.SIGINT)
            assert up.stdout.read().strip().endswith("Stopped.")
    assert up.returncode == 0
    assert reap_leftovers(data_dir) == []
