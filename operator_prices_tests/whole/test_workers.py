"""Workers of Celery that are told to stop, have another version, or lose their broker."""

import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import psutil
import pytest

from operator_prices import VERSION
from operator_prices.defs.signs_of_life import WORKER
from operator_prices.devchain.scenario import Scenario
from operator_prices.devchain.serving import Node, serving
from operator_prices_tests.support.hosts import Cluster, cluster, needs_hosts, network
from operator_prices_tests.support.live import assert_exact, until

pytestmark = needs_hosts

EPOCHS = 150

OTHER = "0.0.9"

STATUSES = "SELECT status FROM dagster.runs WHERE run_id = ANY(%s)"


@pytest.fixture(scope="module")
def place() -> Iterator[tuple[str, str]]:
    with network() as place:
        yield place


@pytest.fixture(scope="module")
def node(place: tuple[str, str]) -> Iterator[Node]:
    scenario = Scenario(epochs=EPOCHS, operators=3, seconds_per_block=0, late_reward_every=0)
    with serving(scenario, latency_ms=25, host=f"{place[1]}.1") as node:
        yield node


@pytest.fixture(scope="module")
def hosts(
    place: tuple[str, str], node: Node, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Cluster]:
    """Two hosts, the second without a worker; a window takes some ten seconds to read."""
    folder = tmp_path_factory.mktemp("hosts")
    with cluster(place, 2, folder, ARCHIVE_NODE_URL=node.url, REQUESTS_PER_SECOND="100") as hosts:
        hosts.start_code()
        hosts.hosts["h1"].start("daemon")
        yield hosts


@contextmanager
def working(hosts: Cluster, **settings: str) -> Iterator[subprocess.Popen[bytes]]:
    """A worker on the second host, which is told to stop in the end."""
    part = hosts.hosts["h2"].start("worker", **settings)
    try:
        yield part
    finally:
        if part.poll() is None:
            inside(part).terminate()
            part.wait(timeout=60)


@pytest.fixture
def another_version(hosts: Cluster) -> str:
    """Where a package is that says it is of another version."""
    folder = hosts.hosts["h2"].folder / f"operator_prices-{OTHER}.dist-info"
    folder.mkdir(exist_ok=True)
    (folder / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: operator-prices\nVersion: {OTHER}\n"
    )
    return str(folder.parent)


def inside(part: subprocess.Popen[bytes]) -> psutil.Process:
    """What the entry point has become, on its host."""
    (process,) = psutil.Process(part.pid).children()
    return process


def begun(hosts: Cluster) -> list[str]:
    """Forget everything, and wait for runs that read it anew; return their ids."""
    hosts.forget_everything()
    until(lambda: hosts.at_work("h2"), 60, hosts.hosts["h2"].log("worker"))
    return hosts.at_work("h2")


def whole(hosts: Cluster) -> bool:
    return hosts.rows("SELECT count(*) FROM comprehensive_analytics") == [(EPOCHS,)]


def tag(hosts: Cluster, run: str) -> str:
    known = "SELECT value FROM dagster.run_tags WHERE run_id = %s AND key = %s"
    ((told,),) = hosts.rows(known, [run, WORKER])
    return str(told)


@pytest.mark.e2e
def test_a_worker_that_is_told_to_stop_ends_its_runs_and_says_its_version(
    hosts: Cluster, node: Node, another_version: str
) -> None:
    with working(hosts, PYTHONPATH=another_version) as worker:
        runs = begun(hosts)
        assert tag(hosts, runs[0]).startswith(f"h2, CeleryRunLauncher, version {OTHER}, a sign of")
        told = f"host h2 works with version {OTHER} of operator-prices, and the code server has"
        until(lambda: f"{told} {VERSION}: install" in tag(hosts, runs[0]), 20)

        inside(worker).send_signal(signal.SIGTERM)
        assert worker.wait(timeout=60) == 0
    assert hosts.rows(STATUSES, [runs]) == [("SUCCESS",)] * len(runs)
    assert hosts.at_work("h2") == []
    with working(hosts):
        until(lambda: whole(hosts), 90)
    assert_exact(hosts, node.chain)


@pytest.mark.soak
def test_a_worker_whose_every_process_is_told_to_stop_gives_its_runs_back(
    hosts: Cluster, node: Node
) -> None:
    with working(hosts) as worker:
        runs = begun(hosts)
        for process in psutil.Process(worker.pid).children(recursive=True):
            process.send_signal(signal.SIGTERM)
        worker.wait(timeout=60)
    with working(hosts):
        until(lambda: whole(hosts), 120)
    assert {status for (status,) in hosts.rows(STATUSES, [runs])} <= {"FAILURE", "SUCCESS"}
    assert hosts.at_work("h2") == []
    assert_exact(hosts, node.chain)


@pytest.mark.soak
def test_a_run_waits_in_the_queue_while_the_broker_is_away(hosts: Cluster, node: Node) -> None:
    said = "SELECT run_id FROM dagster.event_logs WHERE event LIKE %s"
    lost = [f"%The broker redis://%{hosts.centre.address}:6379/0 cannot be reached%"]
    with working(hosts):
        hosts.centre.stop_broker()
        hosts.forget_everything()
        until(lambda: hosts.rows(said, lost), 90)
        ((waiting,), *_) = hosts.rows(said, lost)
        until(lambda: hosts.rows(STATUSES, [[waiting]]) == [("QUEUED",)], 20)
        hosts.centre.start_broker()
        until(lambda: whole(hosts), 120)
        assert hosts.rows(STATUSES, [[waiting]]) == [("SUCCESS",)]
    assert_exact(hosts, node.chain)
