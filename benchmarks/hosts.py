"""Several hosts: what workers add, and how soon the runs of a dead host are taken over.

`benchmarks.orchestration` runs this. As root, since hosts are network namespaces of this machine.
"""

import time
from functools import partial
from pathlib import Path

from benchmarks.figures import Figures
from benchmarks.node import development_chain, until_done
from operator_prices.epochs.windows import SIZE, between, spans
from operator_prices_tests.support.hosts import Cluster, cluster, network

LATENCY_MS = 25

RUNS, WINDOWS = 4, 10
"""So many backfills of so many windows, each of which is a run."""

EPOCHS = RUNS * WINDOWS * SIZE

RETRIES = 3
"""A run is begun anew so many times at most, so no backfill outlives more deaths in a row."""

TAKEN_OVER_SECONDS = 60


def workers(figures: Figures, folder: Path, counts: list[int], operators: int) -> None:
    """Epochs a second, from the first run at work to the last epoch served."""
    for count in counts:
        here = folder / str(count)
        here.mkdir(parents=True)
        with (
            network() as place,
            development_chain(
                EPOCHS, operators, latency_ms=LATENCY_MS, host=f"{place[1]}.1"
            ) as node,
            cluster(place, 1 + count, here, runs=count, ARCHIVE_NODE_URL=node) as hosts,
        ):
            for name in list(hosts.hosts)[1:]:
                hosts.hosts[name].start("worker", WORKER_RUNS="1")
            launch(hosts)
            until_done(partial(at_work, hosts), time.monotonic())
            seconds = until_done(partial(all_served, hosts), time.monotonic())
            figures.say(
                f"{EPOCHS:,} x {operators}, {LATENCY_MS} ms: epochs a second, workers: {count}",
                EPOCHS / seconds,
            )


def takeover(figures: Figures, folder: Path, samples: int) -> None:
    """Seconds from the death of a host until another one works on all that it worked on."""
    times: list[float] = []
    while len(times) < samples:
        times += deaths(folder / str(len(times)), min(RETRIES, samples - len(times)))
    what = "a host dies -> another one works on what it had"
    figures.say_times(what, times, TAKEN_OVER_SECONDS)


def deaths(folder: Path, many: int) -> list[float]:
    """The seconds of so many deaths in a row."""
    folder.mkdir(parents=True)
    with (
        network() as place,
        development_chain(EPOCHS, 3, latency_ms=LATENCY_MS, host=f"{place[1]}.1") as node,
        cluster(
            place, 3, folder, runs=RUNS, ARCHIVE_NODE_URL=node, REQUESTS_PER_SECOND="70"
        ) as hosts,
    ):
        pair = [hosts.hosts[name] for name in ("h2", "h3")]
        for host in pair:
            host.start("worker", WORKER_RUNS=str(RUNS))
        launch(hosts)
        until_done(lambda: len(at_work(hosts)) == RUNS, time.monotonic())
        times = []
        for _ in range(many):
            dying, other = sorted(pair, key=lambda host: -len(hosts.at_work(host.name)))
            lost = hosts.at_work(dying.name)
            begun = time.monotonic()
            dying.die()
            times.append(until_done(partial(taken_over, hosts, lost, other.name), begun))
            print(f"{len(lost)} runs: {times[-1]:.1f} s", flush=True)
            dying.boot()
            dying.start("worker", WORKER_RUNS=str(RUNS))
        return times


def launch(hosts: Cluster) -> None:
    hosts.start_code()
    hosts.switch("completed_epochs", on=False)
    for windows in spans(between(0, EPOCHS - 1), WINDOWS):
        hosts.backfill(hosts.begin_windows(window.key for window in windows))
    hosts.hosts["h1"].start("daemon")


def at_work(hosts: Cluster) -> list[str]:
    return [run for name in hosts.hosts for run in hosts.at_work(name)]


def all_served(hosts: Cluster) -> bool:
    return hosts.rows("SELECT count(*) FROM epoch_analytics") == [(EPOCHS,)]


def taken_over(hosts: Cluster, lost: list[str], by: str) -> bool:
    return hosts.successors_at_work(lost, by) == len(lost)
