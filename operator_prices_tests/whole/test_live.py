"""Whole processes: webserver, daemon, code server and run workers, some of which are killed."""

from collections.abc import Iterator

import pytest

from operator_prices.devchain.scenario import Scenario
from operator_prices.devchain.serving import Node, serving
from operator_prices.epochs.windows import between
from operator_prices_tests.support.live import FAILED, Live, assert_exact, until, up

EPOCHS = 250

WINDOWS = [window.key for window in between(0, EPOCHS - 1)]

WORKER = "spawn_main"
"""What is in the command line of the process that works on a run."""


@pytest.fixture(scope="module")
def node() -> Iterator[Node]:
    scenario = Scenario(epochs=EPOCHS, operators=3, seconds_per_block=0, late_reward_every=0)
    with serving(scenario, latency_ms=20) as node:
        yield node


@pytest.fixture(scope="module")
def live(node: Node, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    with up(tmp_path_factory.mktemp("live"), node.url, REQUESTS_PER_SECOND="60") as live:
        yield live


def workers(live: Live) -> int:
    return sum(run["status"] == "STARTED" for run in live.runs())


def stored(live: Live) -> int:
    with live.database() as connection:
        (count,) = connection.execute("SELECT count(*) FROM epochs").fetchone() or (0,)
        return int(count)


@pytest.mark.soak
def test_a_backfill_is_cancelled_half_way_resumed_and_exact(live: Live, node: Node) -> None:
    live.switch("completed_epochs", on=False)
    live.forget_everything()
    first = live.backfill(WINDOWS)
    until(lambda: stored(live) > 0, 90)
    live.cancel(first)
    until(lambda: live.backfill_status(first) == "CANCELED", 90)
    assert served(live) < EPOCHS

    second = live.resume(first)
    until(lambda: live.backfill_status(second) == "COMPLETED_SUCCESS", 180)

    assert_exact(live, node.chain)
    assert all("dagster/backfill" in run["tags"] for run in live.runs()[:2])


@pytest.mark.e2e
def test_killed_workers_and_a_killed_daemon_do_not_need_a_person(live: Live, node: Node) -> None:
    live.switch("completed_epochs", on=True)
    live.forget_everything()
    until(lambda: workers(live) > 0, 60)
    live.kill(WORKER)
    live.kill("dagster-daemon")
    until(lambda: stored(live) == EPOCHS, 180)
    until(lambda: not workers(live), 120)

    assert "dagster-daemon was ended by SIGKILL" in live.said
    assert any(run["status"] in FAILED for run in live.runs())
    until(lambda: served(live) == EPOCHS, 60)
    assert_exact(live, node.chain)


@pytest.mark.soak
def test_a_killed_code_server_takes_no_work_with_it_for_good(live: Live, node: Node) -> None:
    live.forget_everything()
    until(lambda: workers(live) > 0, 60)
    live.kill("api grpc")
    until(lambda: served(live) == EPOCHS, 180)

    assert "code-server was ended by SIGKILL" in live.said
    until(lambda: not workers(live), 120)
    assert_exact(live, node.chain)


def served(live: Live) -> int:
    with live.database() as connection:
        (count,) = connection.execute(
            "SELECT count(*) FROM comprehensive_analytics"
        ).fetchone() or (0,)
        return int(count)
