"""Hosts that are lost, as far as one machine can have them: workers frozen, killed, cut off."""

import signal
import socket
import time
from collections.abc import Iterator
from contextlib import suppress

import psutil
import pytest

from operator_prices.defs.signs_of_life import GIVEN_UP, WORKER
from operator_prices.devchain.scenario import Scenario
from operator_prices.devchain.serving import Node, serving
from operator_prices.local.postgres import owners
from operator_prices_tests.support.live import Live, assert_exact, until, up, written

pytestmark = pytest.mark.soak

EPOCHS = 250

RUN_WORKER = "spawn_main"
"""What is in the command line of the process that works on a run."""

STILL_SECONDS = 60
"""For so long the database does."""

LIMIT = 60
"""Seconds within which a lost host must be noticed."""

MESSAGE = """
query ($id: ID!) { logsForRun(runId: $id, limit: 1000) { ... on EventConnection { events {
  ... on RunFailureEvent { message } } } } }
"""


@pytest.fixture(scope="module")
def node() -> Iterator[Node]:
    scenario = Scenario(epochs=EPOCHS, operators=3, seconds_per_block=0, late_reward_every=0)
    with serving(scenario, latency_ms=20) as node:
        yield node


@pytest.fixture(scope="module")
def live(node: Node, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    with up(tmp_path_factory.mktemp("live"), node.url, REQUESTS_PER_SECOND="60") as live:
        yield live


def at_work(live: Live) -> list[str]:
    """The runs that give signs of life."""
    with live.database() as connection:
        rows = connection.execute("SELECT run_id FROM run_signs WHERE given_up_at IS NULL")
        return [run for (run,) in rows]


def begun(live: Live) -> list[str]:
    """Forget everything, and wait for runs that read it anew; return their ids."""
    until(lambda: not at_work(live), 60)
    live.forget_everything()
    until(lambda: bool(at_work(live)), 60)
    return at_work(live)


def statuses(live: Live, runs: list[str]) -> set[str]:
    return {run["status"] for run in live.runs() if run["runId"] in runs}


def why(live: Live, run: str) -> str:
    events = live.ask(MESSAGE, id=run)["logsForRun"]["events"]
    return " ".join(event["message"] for event in events if event)


def whole(live: Live) -> bool:
    with live.database() as connection:
        (served,) = connection.execute(
            "SELECT count(*) FROM comprehensive_analytics"
        ).fetchone() or (0,)
        return int(served) == EPOCHS


def test_frozen_workers_are_given_up_others_take_over_and_the_thawed_change_nothing(
    live: Live, node: Node
) -> None:
    runs = begun(live)
    frozen = live.processes(RUN_WORKER)
    for process in frozen:
        process.send_signal(signal.SIGSTOP)
    until(lambda: statuses(live, runs) == {"FAILURE"}, LIMIT)
    for run in runs:
        assert f"Host {socket.gethostname()} (DefaultRunLauncher) has given no" in why(live, run)
        assert GIVEN_UP in why(live, run)
    until(lambda: whole(live), 180)
    assert_exact(live, node.chain)

    with live.database() as connection:
        before = written(connection)
        for process in frozen:
            process.send_signal(signal.SIGCONT)
        until(lambda: not any(map(is_alive, frozen)), 90)
        assert written(connection) == before
        told = connection.execute("SELECT what FROM alert_incidents").fetchall()
    assert not [what for (what,) in told if "gave no sign" in what]
    tags = [one["tags"][WORKER] for one in live.runs() if one["runId"] in runs]
    assert all("has given no sign of life for" in tag for tag in tags)


def test_workers_that_die_with_their_code_server_are_noticed(live: Live, node: Node) -> None:
    runs = begun(live)
    live.kill("api grpc")
    for process in live.processes(RUN_WORKER):
        process.kill()
    until(lambda: statuses(live, runs) == {"FAILURE"}, LIMIT)
    until(lambda: whole(live), 180)
    assert_exact(live, node.chain)


def test_a_database_that_stands_still_kills_no_run(live: Live, node: Node) -> None:
    runs = begun(live)
    servers = [one for one in psutil.process_iter() if is_server(one, live)]
    assert servers
    send(servers, signal.SIGSTOP)
    time.sleep(STILL_SECONDS)
    send(servers, signal.SIGCONT)
    until(lambda: whole(live), 180)
    until(lambda: statuses(live, runs) == {"SUCCESS"}, 60)
    assert_exact(live, node.chain)


def send(processes: list[psutil.Process], number: signal.Signals) -> None:
    """Sessions come and go: one that is gone needs no signal."""
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(number)


def is_alive(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def is_server(process: psutil.Process, live: Live) -> bool:
    """Whether a process is the embedded Postgres of `live`, or one of its sessions."""
    try:
        return "postgres" in process.name() and owners.location(live.data_dir).samefile(
            process.cwd()
        )
    except (psutil.Error, OSError):
        return False
