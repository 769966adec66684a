"""Backfills over three hosts, one of which dies, another freezes, while Postgres is restarted."""

import re
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from operator_prices.defs.partitions import windows_of_run
from operator_prices.defs.resources import WITHOUT_SLOT
from operator_prices.defs.signs_of_life import WORKER
from operator_prices.devchain.scenario import Scenario
from operator_prices.devchain.server import Call
from operator_prices.devchain.serving import Node, serving
from operator_prices.epochs.windows import SIZE, between, spans
from operator_prices_tests.support.hosts import Cluster, Host, cluster, needs_hosts, network
from operator_prices_tests.support.live import assert_exact, until, written

pytestmark = [pytest.mark.e2e, needs_hosts]

RUNS, WINDOWS = 4, 10
"""So many backfills of so many windows, each of which is a run."""

EPOCHS = RUNS * WINDOWS * SIZE

REQUESTS_PER_SECOND = 168

TAKEN_OVER_SECONDS = 60

ALL_TAKEN_OVER_SECONDS = 90
"""For as many runs as there are: Dagster asks for them one after the other."""

FROZEN_SECONDS = 120

READ_AHEAD_SECONDS = 120
"""Within that a run keeps its first windows, three at once: it reads them ahead of each other."""

TOLD_SECONDS = 15
"""After so long the sensor that keeps incidents has looked."""


@contextmanager
def counted_node(host: str) -> Iterator[tuple[Node, list[float]]]:
    """A node 25 ms away, and when it was asked each of its questions."""
    asked: list[float] = []

    async def note(call: Call) -> object:
        many = len(call.request) if isinstance(call.request, list) else 1
        asked.extend([time.monotonic()] * many)
        return call.answer()

    scenario = Scenario(epochs=EPOCHS, operators=6, seconds_per_block=0, late_reward_every=0)
    with serving(scenario, tamper=note, latency_ms=25, host=host) as node:
        yield node, asked


def busiest_second(asked: list[float]) -> int:
    """The most that was asked within any second, wherever it begins."""
    return max(bisect_left(asked, begun + 1) - at for at, begun in enumerate(asked))


def begin(hosts: Cluster) -> None:
    """Have backfills of all windows launched, and both workers at work on them."""
    hosts.start_code()
    hosts.switch("completed_epochs", on=False)
    for windows in spans(between(0, EPOCHS - 1), WINDOWS):
        hosts.backfill(hosts.begin_windows(window.key for window in windows))
    hosts.hosts["h1"].start("daemon")
    for name, runs in (("h3", 1), ("h2", RUNS)):  # one run is for the first, the others are left
        worker = hosts.hosts[name]
        worker.start("worker", WORKER_RUNS=str(runs))
        until(partial(hosts.at_work, name), 90, worker.log("worker"))
    until(lambda: len(hosts.at_work("h2")) == RUNS - 1, 60)
    hosts.switch("completed_epochs", on=True)


def lose(
    hosts: Cluster,
    name: str,
    how: Callable[[], None],
    *,
    to: str,
    within: float = TAKEN_OVER_SECONDS,
) -> list[str]:
    """Wait until another host has taken over what a lost one had; return those runs."""
    lost = hosts.at_work(name)
    assert lost
    how()
    until(lambda: hosts.successors_at_work(lost, to) == len(lost), within)
    return lost


def assert_given_up(hosts: Cluster, runs: list[str], host: str) -> None:
    """Each of the runs failed, and says for want of whom."""
    said = hosts.rows(
        "SELECT status, value FROM dagster.runs JOIN dagster.run_tags USING (run_id)"
        " WHERE key = %s AND run_id = ANY(%s)",
        [WORKER, runs],
    )
    assert len(said) == len(runs)
    for status, who in said:
        assert status == "FAILURE"
        assert who.startswith(f"host {host} (CeleryRunLauncher) has given no sign of life for ")


def done(hosts: Cluster) -> bool:
    """Whether all is served and no run is left."""
    ((served, left),) = hosts.rows(
        "SELECT (SELECT count(*) FROM comprehensive_analytics), count(*) FROM dagster.runs"
        " WHERE status NOT IN ('SUCCESS', 'FAILURE', 'CANCELED')"
    )
    return bool(served == EPOCHS and not left)


def assert_nothing_is_left(hosts: Cluster) -> None:
    """Every window was brought by one run alone, and whoever held a slot has given it back."""
    tags = hosts.rows(
        "SELECT jsonb_object_agg(key, value) FROM dagster.runs JOIN dagster.run_tags USING (run_id)"
        " WHERE status = 'SUCCESS' GROUP BY run_id"
    )
    known = list(between(0, EPOCHS - 1))
    brought = Counter(
        window
        for (told,) in tags
        if told.get("source") != "hourly_freshness"  # which brings nothing, at 41 past
        for window in windows_of_run(told, known)
    )
    assert brought == Counter(known)
    assert hosts.rows("SELECT 1 FROM run_signs WHERE given_up_at IS NULL") == []
    assert hosts.rows("SELECT 1 FROM dagster.concurrency_slots WHERE run_id IS NOT NULL") == []
    assert hosts.rows("SELECT 1 FROM dagster.pending_steps") == []


def thaw(hosts: Cluster, host: Host, runs: list[str]) -> None:
    """Let a frozen host go on with its runs until it has given up each of them, in vain."""
    told = "SELECT id, key FROM alert_incidents ORDER BY id"
    with hosts.database() as connection:
        before, incidents = written(connection), hosts.rows(told)
        host.thaw()
        until(lambda: host.log("worker").read_text().count("succeeded in") >= len(runs), 90)
        time.sleep(TOLD_SECONDS)
        assert written(connection) == before
    assert hosts.rows(told) == incidents
    said = host.log("worker").read_text()
    assert len(re.findall("RUN_FAILURE - Execution of run .* failed", said)) == len(runs)


def test_a_backfill_outlives_a_dead_host_a_frozen_host_and_a_restart_of_postgres(
    tmp_path: Path,
) -> None:
    with (
        network() as place,
        counted_node(f"{place[1]}.1") as (node, asked),
        cluster(
            place,
            3,
            tmp_path,
            runs=RUNS,
            ARCHIVE_NODE_URL=node.url,
            REQUESTS_PER_SECOND=str(REQUESTS_PER_SECOND),
        ) as hosts,
    ):
        h2, h3 = hosts.hosts["h2"], hosts.hosts["h3"]
        begin(hosts)
        until(lambda: hosts.rows("SELECT count(*) FROM epochs") >= [(300,)], READ_AHEAD_SECONDS)
        dead = lose(hosts, "h3", h3.die, to="h2")
        h3.boot()
        h3.start("worker", WORKER_RUNS=str(RUNS))

        frozen_at = time.monotonic()
        frozen = lose(hosts, "h2", h2.freeze, to="h3", within=ALL_TAKEN_OVER_SECONDS)
        time.sleep(3)
        hosts.centre.stop_postgres()
        time.sleep(3)
        hosts.centre.start_postgres()
        until(lambda: done(hosts), 180)
        time.sleep(TOLD_SECONDS)  # of what the last runs have found while others were at work
        time.sleep(max(0, frozen_at + FROZEN_SECONDS - time.monotonic()))
        thaw(hosts, h2, frozen)

        assert_exact(hosts, node.chain)
        assert_given_up(hosts, dead, "h3")
        assert_given_up(hosts, frozen, "h2")
        assert_nothing_is_left(hosts)
    of_all_runs = REQUESTS_PER_SECOND * RUNS / (RUNS + WITHOUT_SLOT)
    assert of_all_runs <= busiest_second(asked) <= 1.1 * REQUESTS_PER_SECOND
