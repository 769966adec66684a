"""Dagster: how soon an epoch is served, what a run costs that finds nothing, and a long backfill.

`python -m benchmarks.orchestration` starts everything as `operator-prices up` does, with Dagster's
webserver, daemon and code server as processes of their own, and prints each figure beside its
target. The backfill goes through the daemon with two concurrent runs; the same work without Dagster
is done by one process, window by window, in the same run of this program. `--only workers takeover`
measures on several hosts.
"""

import argparse
import time
from pathlib import Path
from tempfile import mkdtemp

from benchmarks import hosts
from benchmarks.figures import Figures
from benchmarks.node import development_chain, until_done
from operator_prices import store
from operator_prices.chain import Chain, connect
from operator_prices.epochs import normalized
from operator_prices.epochs.tables import EPOCHS, OPERATOR_SHARE_PRICES, OPERATOR_SHARES
from operator_prices.epochs.windows import EpochWindow, between
from operator_prices.ingest import ingest_each
from operator_prices.local.postgres import embedded
from operator_prices.store import migrations
from operator_prices_tests.support.live import Live, up

SLOWDOWN = 1.6
SECONDS_TO_SERVE = 10
figures = Figures("orchestration")


def main() -> None:
    options = _options()
    place = Path(mkdtemp(prefix="orchestration-"))
    if "latency" in options.only:
        latency(place / "growing", options.samples)
    if "backfill" in options.only:
        backfill(place / "long", options.epochs, options.operators, options.latency)
    if "workers" in options.only:
        hosts.workers(figures, place / "workers", options.workers, options.operators)
    if "takeover" in options.only:
        hosts.takeover(figures, place / "takeover", options.samples)
    if options.keep:
        figures.keep()


def latency(place: Path, samples: int) -> None:
    """From the block that completes an epoch to the answer of the API that tells of it."""
    with (
        development_chain(60, 8, seconds_per_block=0.15) as node,
        up(place, node) as live,
        connect(node, domain_id=0, cache=place / "runtimes") as chain,
    ):
        waited: list[float] = []
        completed = head_of(chain)
        while len(waited) < samples:
            now = head_of(chain)
            if now > completed:
                completed, begun = now, time.monotonic()
                while live.last_served() < completed:
                    time.sleep(0.1)
                waited.append(time.monotonic() - begun)
            time.sleep(0.1)
        figures.say_times(
            "an epoch is completed -> the API serves its row", waited, SECONDS_TO_SERVE
        )
        idle = []
        for _ in range(2):  # the backfill daemon looks every 30 s
            launched = live.backfill([EpochWindow(0).key])
            finished(live, launched)
            (run,) = live.runs(**{"dagster/backfill": launched})
            idle.append(run["endTime"] - run["startTime"])
        figures.say_times("a run that finds nothing to do, all checks included", idle)


def backfill(place: Path, epochs: int, operators: int, latency: float) -> None:
    """All windows through the daemon, against the same work in a loop; neither reads nominators."""
    last = epochs - 1
    with development_chain(epochs, operators, latency_ms=latency) as node:
        bare = without_dagster(place / "bare", node, last)
        size = f"{epochs:,} x {operators}, {latency:g} ms"
        figures.say(f"{size}: without Dagster", bare, "s")
        with up(place / "dagster", node, patience=3_600, NOMINATORS="off") as live:
            live.switch("completed_epochs", on=False)
            live.forget_everything()
            begun = time.monotonic()
            launched = live.backfill([window.key for window in between(0, last)])
            seconds = until_done(lambda: served(live) > last, begun)
            finished(live, launched)
            baseline = f"{bare:.1f} s without"
            what = f"{size}: by a backfill of Dagster, 2 runs at once"
            figures.say(what, seconds, "s", baseline=baseline)
            figures.say(f"{size}: times the work without Dagster", seconds / bare, at_most=SLOWDOWN)
            figures.say(f"{size}: until told to be complete", time.monotonic() - begun, "s")
            figures.say(f"{size}: runs", len(live.runs()))


def without_dagster(place: Path, node: str, last: int) -> float:
    """Every window from the chain to the view, in this process; wall seconds."""
    place.mkdir(parents=True)
    with embedded.server(place) as dsn:
        migrations.migrate(dsn)
        with (
            store.connect(dsn) as connection,
            connect(node, domain_id=0, cache=place / "runtimes") as chain,
        ):
            begun = time.monotonic()
            windows = list(between(0, last))
            for window, _ in zip(windows, ingest_each(chain, connection, windows), strict=True):
                told = normalized.decoded(store.read(connection, EPOCHS, window))
                store.write(
                    connection, OPERATOR_SHARE_PRICES, normalized.operator_share_prices(told)
                )
                store.write(connection, OPERATOR_SHARES, normalized.operator_shares(told))
                store.merge_operators(connection, normalized.operators_metadata(told))
                store.refresh_analytics(connection, window)
            return time.monotonic() - begun


def head_of(chain: Chain) -> int:
    last = chain.head().last_completed_epoch
    return -1 if last is None else last


def served(live: Live) -> int:
    with live.database() as connection:
        row = connection.execute("SELECT count(*) FROM epoch_analytics").fetchone()
        return int(row[0]) if row else 0


def finished(live: Live, backfill: str) -> None:
    until_done(
        lambda: live.backfill_status(backfill).startswith(("COMPLETED", "FAILED")), time.monotonic()
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.orchestration")
    parser.add_argument("--only", nargs="*", default=["latency", "backfill"])
    parser.add_argument("--keep", action="store_true", help="put the figures into the README")
    parser.add_argument("--samples", type=int, default=10)
    parser.add_argument("--epochs", type=int, default=5_000)
    parser.add_argument("--operators", type=int, default=64)
    parser.add_argument(
        "--latency", type=float, default=25, help="milliseconds before an answer, of the backfill"
    )
    parser.add_argument("--workers", type=int, nargs="*", default=[1, 2, 4])
    return parser.parse_args()


if __name__ == "__main__":
    main()
