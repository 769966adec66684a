"""Reading the chain: requests, speed, memory, and where the time goes.

`python -m benchmarks.chain` starts a development chain of 5,000 epochs and 64 operators in another
process, with 25 ms before each answer, and an embedded Postgres; it reads everything from chain to
normalized rows and prints figures, each beside the target or the baseline of the same run. The
baseline is a bare client that sends the same requests over one connection, too, and does nothing
with the answers. `--wall` measures that alone, at each of `--latency`.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from queue import Queue
from statistics import median
from tempfile import TemporaryDirectory
from threading import Thread

import polars as pl
from psycopg import Connection

from benchmarks.figures import Figures
from benchmarks.node import development_chain
from operator_prices import store
from operator_prices.chain import Chain, connect
from operator_prices.chain.rpc.blocking import Rpc
from operator_prices.chain.rpc.endpoints import Endpoint
from operator_prices.chain.substrate import keys
from operator_prices.chain.substrate.decode import FITS, decode
from operator_prices.chain.substrate.runtimes import Runtime
from operator_prices.epochs import normalized
from operator_prices.epochs.tables import EPOCHS, OPERATOR_SHARE_PRICES, OPERATOR_SHARES
from operator_prices.epochs.windows import EpochWindow, between
from operator_prices.ingest import ingest_each
from operator_prices.local.postgres import embedded
from operator_prices.store import migrations

MANY, FEW = 320_000, 2_000
"""Values that Polars decodes, and that `scalecodec` does for comparison."""

SHORT = (51, 100)
"""Epochs of short chains, on top of which a new epoch must cost as much: a run takes the window of
the epoch, so the one that has as many in its window is the one to compare with."""

SLOWER = 1.5
"""How many times as long as a bare client the whole way from chain to rows may take."""

figures = Figures("chain")


@dataclass(slots=True)
class Clock:
    """Wall seconds by what they went to."""

    spent: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def on(self, what: str) -> Iterator[None]:
        begun = time.perf_counter()
        yield
        self.spent[what] = self.spent.get(what, 0.0) + time.perf_counter() - begun


def main() -> None:
    options = _options()
    for latency in options.latency:
        one = argparse.Namespace(**{**vars(options), "latency": latency})
        with _stored_chain(one) as (url, cache, connection, last):
            if not options.wall:
                _requests(url, cache, last)
            _everything(one, url, cache, connection, last)
            if not options.wall:
                _decoding(url)
                _flattening(connection)
                _one_more_epoch(url, cache, connection, last)
    for epochs in () if options.wall else SHORT:
        short = {"epochs": epochs, "latency": options.latency[0]}
        with _stored_chain(argparse.Namespace(**{**vars(options), **short})) as stored:
            url, cache, connection, last = stored
            with connect(url, domain_id=0, cache=cache) as chain:
                for window in between(0, last):
                    _normalized(chain, connection, window, Clock())
            _one_more_epoch(url, cache, connection, last)
    if options.keep:
        figures.keep()
    raise SystemExit(not all(figures.met))


@contextmanager
def _stored_chain(options: argparse.Namespace) -> Iterator[tuple[str, Path, Connection, int]]:
    """A development chain, the cache of its runtimes, an empty database, and the last epoch."""
    with TemporaryDirectory(prefix="benchmark-", ignore_cleanup_errors=True) as folder:
        place = Path(folder)
        cache = place / "runtimes"
        with (
            development_chain(options.epochs, options.operators, latency_ms=options.latency) as url,
            embedded.server(place) as dsn,
        ):
            migrations.migrate(dsn)
            with connect(url, domain_id=0, cache=cache) as chain:
                last = chain.head().last_completed_epoch
            if last is None:
                raise SystemExit("the development chain has no completed epoch")
            with store.connect(dsn) as connection:
                yield url, cache, connection, last
        embedded.remove(place)


def _requests(url: str, cache: Path, last: int) -> None:
    with connect(url, domain_id=0, cache=cache) as chain:
        span = range(min(1000, last))
        for window in between(span[0], span[-1]):
            chain.read(epoch for epoch in range(window.first, window.last + 1) if epoch in span)
        figures.say("requests per epoch, contiguous", chain.requests / len(span), at_most=2.2)
    with connect(url, domain_id=0, cache=cache) as chain:
        chain.read([last * 2 // 3])
        figures.say("requests for one random epoch", chain.requests, at_most=8)


def _everything(
    options: argparse.Namespace, url: str, cache: Path, connection: Connection, last: int
) -> None:
    """From the chain to normalized rows; what is kept is normalized by another thread meanwhile."""
    clock = Clock()
    windows = list(between(0, last))
    ready: Queue[EpochWindow | None] = Queue(2)
    cpu, begun = time.process_time(), time.perf_counter()
    with connect(url, domain_id=0, cache=cache) as chain, store.connect(dsn_of(connection)) as own:

        def normalize() -> None:
            while (window := ready.get()) is not None:
                _rows(own, window, clock)

        thread = Thread(target=normalize)
        thread.start()
        halfway = 0.0
        for window, _ in zip(windows, ingest_each(chain, connection, windows), strict=True):
            ready.put(window)
            halfway = _peak_mb() if window.first <= last // 2 else halfway
        ready.put(None)
        reading = time.perf_counter() - begun
        thread.join()
        requests, waited = chain.requests, chain.waited
    wall, cpu = time.perf_counter() - begun, time.process_time() - cpu
    told = _bare(url, cache)
    summary = store.summary(connection)
    size = f"{options.epochs:,} x {options.operators}, {options.latency:g} ms"
    beside = f"{told['bare']:.1f} s: a bare client"
    figures.say(f"{size}: chain to rows", wall, "s", baseline=beside)
    figures.say(f"{size}: times a bare client's", wall / told["bare"], at_most=SLOWER)
    figures.say(f"{size}: reading alone", told["reading"], "s", baseline=beside)
    figures.say(f"{size}: requests per epoch", requests / (last + 1), at_most=2.2)
    figures.say(f"{size}: own CPU", cpu, "s", at_most=40)
    figures.say(f"{size}: peak memory", _peak_mb(), "MB", at_most=300)
    figures.say(f"{size}: peak memory at half the epochs", halfway, "MB")
    figures.say(f"{size}: operator rows", summary.rows["operator_shares"])
    for name, seconds in (
        ("until all was kept", reading),
        ("waiting for what is read", waited),
        ("flattening, beside that", clock.spent["flatten"]),
        ("the database, beside that", clock.spent["database"]),
    ):
        figures.say(f"{size}: {name}", seconds, "s")


def dsn_of(connection: Connection) -> str:
    return f"{connection.info.dsn} password={connection.info.password}"


def _bare(url: str, cache: Path) -> dict[str, float]:
    """The same requests by a bare client, in a process of its own."""
    program = [sys.executable, "-m", "benchmarks.bare", url, str(cache)]
    done = subprocess.run(program, check=True, capture_output=True, text=True)  # noqa: S603
    told: dict[str, float] = json.loads(done.stdout)
    return told


def _normalized(chain: Chain, connection: Connection, window: EpochWindow, clock: Clock) -> None:
    """What the pipeline's runs do for a window."""
    with clock.on("ingest"):
        next(ingest_each(chain, connection, [window]))
    _rows(connection, window, clock)


def _rows(connection: Connection, window: EpochWindow, clock: Clock) -> None:
    with clock.on("database"):
        raw = store.read(connection, EPOCHS, window)
    with clock.on("flatten"):
        told = normalized.decoded(raw)
        prices, shares = normalized.operator_share_prices(told), normalized.operator_shares(told)
        operators = normalized.operators_metadata(told)
    with clock.on("database"):
        store.write(connection, OPERATOR_SHARE_PRICES, prices)
        store.write(connection, OPERATOR_SHARES, shares)
        store.merge_operators(connection, operators)
        store.refresh_analytics(connection, window)


def _decoding(url: str) -> None:
    """Operator values through Polars, against `scalecodec` on the same bytes."""
    with Rpc([Endpoint.parse(url)]) as rpc:
        runtime = Runtime.compile(0, bytes.fromhex(rpc.call("state_getMetadata")[2:]))
        answer = rpc.call("state_queryStorageAt", keys.of_operators("Operators", range(64)))
    raw = [bytes.fromhex(value[2:]) for _, value in answer[0]["changes"] if value]
    many = pl.Series(raw * (MANY // len(raw)))
    begun = time.perf_counter()
    if not decode(runtime.items["Operators"].layout, many)[FITS].all():
        raise SystemExit("a value does not fit its layout")
    fast = len(many) / (time.perf_counter() - begun)
    few = raw * (FEW // len(raw))
    runtime.decode_slowly("Operators", few[0])
    begun = time.perf_counter()
    for value in few:
        runtime.decode_slowly("Operators", value)
    slow = len(few) / (time.perf_counter() - begun)
    figures.say(
        "operator values decoded per second",
        fast,
        at_least=300_000,
        baseline=f"{slow:,.0f}: scalecodec",
    )


def _flattening(connection: Connection) -> None:
    raw = pl.concat([store.read(connection, EPOCHS, window) for window in between(0, 399)])
    begun = time.perf_counter()
    shares = normalized.operator_shares(normalized.decoded(raw))
    seconds = time.perf_counter() - begun
    begun = time.perf_counter()
    rows = sum(
        len(json.loads(document)["operators"]["entries"]) for document in raw["data"].to_list()
    )
    parsed = rows / (time.perf_counter() - begun)
    figures.say(
        "operator rows flattened per second",
        shares.height / seconds,
        at_least=400_000,
        baseline=f"{parsed:,.0f}: json.loads alone",
    )


def _one_more_epoch(url: str, cache: Path, connection: Connection, last: int) -> None:
    """What the newest epoch costs on top of those before it, from the chain to normalized rows."""
    times, waits = [], []
    for _ in range(20):
        for table in ("epochs", "operator_share_prices", "operator_shares", "epoch_analytics"):
            connection.execute(f"DELETE FROM {table} WHERE epoch = {last}")  # noqa: S608
        with connect(url, domain_id=0, cache=cache) as chain:
            begun = time.perf_counter()
            _normalized(chain, connection, EpochWindow.containing(last), Clock())
            times.append(time.perf_counter() - begun)
            waits.append(chain.waited)
    figures.say(
        f"one epoch on top of {last:,}",
        1000 * median(times),
        "ms",
        baseline=f"{1000 * median(waits):.0f} ms of it waiting for the node",
    )


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=5000)
    parser.add_argument("--operators", type=int, default=64)
    parser.add_argument(
        "--latency", type=float, nargs="+", default=[25], help="milliseconds before an answer"
    )
    parser.add_argument("--wall", action="store_true", help="the whole way, and nothing else")
    parser.add_argument("--keep", action="store_true", help="put the figures into the README")
    return parser.parse_args()


if __name__ == "__main__":
    main()
