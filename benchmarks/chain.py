"""Reading the chain: requests, speed, memory, and where the time goes.

`python -m benchmarks.chain` starts a development chain of 5,000 epochs and 64 operators in another
process, with 25 ms before each answer, and an embedded Postgres; it reads everything from chain to
normalized rows and prints figures, each beside the target or the baseline of the same run.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from unittest.mock import patch

import polars as pl
from psycopg import Connection

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
from operator_prices.ingest import ingest
from operator_prices.local.ports import free_port
from operator_prices.local.postgres import embedded
from operator_prices.store import migrations

MANY, FEW = 320_000, 2_000
"""Values that Polars decodes, and that `scalecodec` does for comparison."""

SHORT = (51, 100)
"""Epochs of short chains, on top of which a new epoch must cost as much: a run takes the window of
the epoch, so the one that has as many in its window is the one to compare with."""


@dataclass(slots=True)
class Clock:
    """Wall seconds by what they went to."""

    spent: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def on(self, what: str) -> Iterator[None]:
        begun = time.perf_counter()
        yield
        self.spent[what] = self.spent.get(what, 0.0) + time.perf_counter() - begun

    def timed(self, what: str, work: Callable[..., object]) -> Callable[..., object]:
        """`work`, whose time counts as `what`."""

        def run(*arguments: object, **options: object) -> object:
            with self.on(what):
                return work(*arguments, **options)

        return run


def main() -> None:
    options = _options()
    with _stored_chain(options) as (url, cache, connection, last):
        _requests(url, cache, last)
        _everything(url, cache, connection, last)
        _decoding(url)
        _flattening(connection)
        _one_more_epoch(url, cache, connection, last)
    for epochs in SHORT:
        short = argparse.Namespace(**{**vars(options), "epochs": epochs})
        with _stored_chain(short) as (url, cache, connection, last):
            with connect(url, domain_id=0, cache=cache) as chain:
                for window in between(0, last):
                    _normalized(chain, connection, window, Clock())
            _one_more_epoch(url, cache, connection, last)


@contextmanager
def _stored_chain(options: argparse.Namespace) -> Iterator[tuple[str, Path, Connection, int]]:
    """A development chain, the cache of its runtimes, an empty database, and the last epoch."""
    with TemporaryDirectory(prefix="benchmark-", ignore_cleanup_errors=True) as folder:
        place = Path(folder)
        cache = place / "runtimes"
        with _development_chain(options) as url, embedded.server(place) as dsn:
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
        _say("requests per epoch, contiguous", chain.requests / len(span), "<= 2.2")
    with connect(url, domain_id=0, cache=cache) as chain:
        chain.read([last * 2 // 3])
        _say("requests for one random epoch", chain.requests, "<= 8")


def _everything(url: str, cache: Path, connection: Connection, last: int) -> None:
    """From the chain to normalized rows, window by window, as the pipeline's runs do."""
    clock, halfway = Clock(), 0.0
    cpu, begun = time.process_time(), time.perf_counter()
    with connect(url, domain_id=0, cache=cache) as chain:
        for window in between(0, last):
            _normalized(chain, connection, window, clock)
            if window.first <= last // 2:
                halfway = _peak_mb()
        requests, network = chain.requests, chain.waited
    wall, cpu = time.perf_counter() - begun, time.process_time() - cpu
    summary = store.summary(connection)
    values = 2 * summary.rows["operator_shares"]
    _say("epochs", summary.epochs, "")
    _say("operator rows", summary.rows["operator_shares"], "")
    _say("wall, chain to normalized rows (s)", wall, "<= 60")
    _say("own CPU (s)", cpu, "<= 40")
    _say("requests", requests, "")
    _say("epochs/s", summary.epochs / wall, "")
    _say("operator values/s", values / wall, "")
    _say("peak memory (MB)", _peak_mb(), "< 400")
    _say("peak memory at half the epochs (MB)", halfway, "the same")
    for name, seconds in (
        ("waiting for the network", network),
        ("decoding", clock.spent["ingest"] - clock.spent["keep"] - network),
        ("flattening", clock.spent["flatten"]),
        ("the database", clock.spent["keep"] + clock.spent["database"]),
    ):
        _say(f"share of time: {name} (%)", 100 * seconds / wall, "")


def _normalized(chain: Chain, connection: Connection, window: EpochWindow, clock: Clock) -> None:
    """What the pipeline's runs do for a window."""
    with (
        clock.on("ingest"),
        patch.object(store, "keep_epochs", clock.timed("keep", store.keep_epochs)),
    ):
        ingest(chain, connection, window)
    with clock.on("database"):
        raw = store.read(connection, EPOCHS, window)
    with clock.on("flatten"):
        prices, shares = normalized.operator_share_prices(raw), normalized.operator_shares(raw)
        operators = normalized.operators_metadata(raw)
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
    _say("operator values decoded per second", fast, ">= 300,000")
    _say("the same by scalecodec", slow, f"{fast / slow:,.0f} times slower")


def _flattening(connection: Connection) -> None:
    raw = pl.concat([store.read(connection, EPOCHS, window) for window in between(4000, 4399)])
    begun = time.perf_counter()
    shares = normalized.operator_shares(raw)
    seconds = time.perf_counter() - begun
    _say("operator rows flattened per second", shares.height / seconds, ">= 400,000")
    begun = time.perf_counter()
    rows = sum(
        len(json.loads(document)["operators"]["entries"]) for document in raw["data"].to_list()
    )
    _say("the same documents by json.loads alone", rows / (time.perf_counter() - begun), "")


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
    _say(f"one epoch on top of {last:,} (ms, median)", 1000 * median(times), "the same")
    _say("of them waiting for the network", 1000 * median(waits), "")


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _say(what: str, figure: float, beside: str) -> None:
    shown = f"{figure:,.0f}" if figure >= 1000 else f"{figure:,.2f}".rstrip("0").rstrip(".")  # noqa: PLR2004
    sys.stdout.write(f"{what:<46}{shown:>12}   {beside}\n")
    sys.stdout.flush()


@contextmanager
def _development_chain(options: argparse.Namespace) -> Iterator[str]:
    port = free_port()
    chosen = {
        "--port": port,
        "--epochs": options.epochs,
        "--operators": options.operators,
        "--latency": options.latency,
        "--seconds-per-block": 0,
    }
    command = [sys.executable, "-m", "operator_prices.devchain"]
    command += [str(part) for pair in chosen.items() for part in pair]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603
        if process.stdout is None or not process.stdout.readline():
            raise SystemExit("the development chain did not start")
        try:
            yield f"ws://127.0.0.1:{port}"
        finally:
            process.terminate()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=5000)
    parser.add_argument("--operators", type=int, default=64)
    parser.add_argument("--latency", type=float, default=25, help="milliseconds before an answer")
    return parser.parse_args()


if __name__ == "__main__":
    main()
