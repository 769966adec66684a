"""Following nominators: time, requests, rows and bytes, beside the same chain without them.

`python -m benchmarks.following` starts a development chain of 10,000 accounts, 64 operators and
5,000 epochs, in each of which one account of a hundred acts, in another process, and an embedded
Postgres. The chain is read twice into two databases, without nominators and with them, which is
the baseline. With `--keep` the figures go into the README.
"""

import argparse
import resource
import statistics
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from psycopg import Connection, sql
from psycopg.conninfo import make_conninfo

from benchmarks.figures import Figures, shown
from benchmarks.node import development_chain
from operator_prices import store
from operator_prices.chain import Chain, Listing, Nominators, connect
from operator_prices.epochs import normalized
from operator_prices.epochs.tables import EPOCHS, OPERATOR_SHARE_PRICES, OPERATOR_SHARES
from operator_prices.epochs.windows import EpochWindow, between
from operator_prices.ingest import ingest_each
from operator_prices.local.postgres import embedded
from operator_prices.store import migrations

TABLES = ("raw_nominators", "nominator_positions")
CHECKS = ("shares_add_up", "storage_fees_add_up", "values_within_stake", "pending_has_no_price")
TAIL = 10
"""Newest epochs that are read one by one in the end, as who follows the head does."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What it took to read a chain."""

    epochs: int
    seconds: float
    positions: float
    """Seconds of them that went into positions."""
    messages: int
    """To the node: several requests that go together are one."""
    requests: int
    """In these messages, each counted as rate limits count."""
    cpu: float
    """Seconds of our own process, of all its threads."""
    megabytes: float
    """The most memory that the process has had by then."""


def main() -> None:
    options = _options()
    figures = Figures("following")
    size = f"{options.nominators:,} accounts, {options.operators} operators, {options.epochs:,}"
    found: list[Reading] = []
    with TemporaryDirectory(prefix="benchmark-", ignore_cleanup_errors=True) as folder:
        place = Path(folder)
        with (
            development_chain(
                options.epochs,
                options.operators,
                nominators=options.nominators,
                latency_ms=options.latency,
            ) as url,
            embedded.server(place) as dsn,
        ):
            for nominators in (False, True):
                own = _database(dsn, "with_nominators" if nominators else "without")
                with (
                    store.connect(own) as connection,
                    connect(url, domain_id=0, cache=place / "runtimes") as chain,
                ):
                    found.append(_read(chain, connection, nominators=nominators))
                    if nominators:
                        _told(figures, f"following, {size} epochs", *found)
                        _stored(figures, connection, found[-1])
                        _checked(figures, connection, found[-1])
                        _one_by_one(figures, chain, connection, found[-1].epochs - 1)
        embedded.remove(place)
    if options.keep:
        figures.keep()


def _database(dsn: str, name: str) -> str:
    with store.connect(dsn) as admin:
        admin.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    own = make_conninfo(dsn, dbname=name)
    migrations.migrate(own)
    return own


def _read(chain: Chain, connection: Connection, *, nominators: bool) -> Reading:
    """From the chain to all tables, window by window, as the pipeline's runs do."""
    last = chain.head().last_completed_epoch
    if last is None:
        raise SystemExit("the development chain has no completed epoch")
    windows = list(between(0, last))
    begun, messages, requests = time.perf_counter(), chain.requests, chain.calls
    positions, cpu = 0.0, time.process_time()
    reading = ingest_each(chain, connection, windows, nominators=nominators)
    for window, done in zip(windows, reading, strict=True):
        if done.quarantined or done.quarantined_nominators:
            raise SystemExit(f"something of {window.key} is in quarantine")
        _parsed(connection, window)
        since = time.perf_counter()
        store.refresh_positions(connection, window)
        positions += time.perf_counter() - since
    return Reading(
        last + 1,
        time.perf_counter() - begun,
        positions,
        chain.requests - messages,
        chain.calls - requests,
        time.process_time() - cpu,
        resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    )


def _told(figures: Figures, size: str, without: Reading, read: Reading) -> None:
    figures.say(f"{size}: s", read.seconds, baseline=f"without {shown(without.seconds)}")
    figures.say("following: of it positions, s", read.positions)
    figures.say(
        "following: of it our own process, s of CPU",
        read.cpu,
        baseline=f"without {shown(without.cpu)}",
    )
    figures.say(
        "following: messages an epoch",
        read.messages / read.epochs,
        baseline=f"without {shown(without.messages / without.epochs)}",
    )
    figures.say(
        "following: requests in them an epoch",
        read.requests / read.epochs,
        baseline=f"without {shown(without.requests / without.epochs)}",
    )
    figures.say(
        "following: peak memory, MB", read.megabytes, baseline=f"without {shown(without.megabytes)}"
    )


def _parsed(connection: Connection, window: EpochWindow) -> None:
    told = normalized.decoded(store.read(connection, EPOCHS, window))
    store.write(connection, OPERATOR_SHARE_PRICES, normalized.operator_share_prices(told))
    store.write(connection, OPERATOR_SHARES, normalized.operator_shares(told))
    store.merge_operators(connection, normalized.operators_metadata(told))
    store.refresh_analytics(connection, window)


def _stored(figures: Figures, connection: Connection, read: Reading) -> None:
    row = connection.execute(
        "SELECT count(*) FROM nominator_positions WHERE until_epoch IS NULL AND NOT ended"
    ).fetchone()
    times = (int(row[0]) if row else 0) * read.epochs
    for table in TABLES:
        row = connection.execute(
            sql.SQL("SELECT count(*), pg_total_relation_size({}) FROM {}").format(
                sql.Literal(table), sql.Identifier(table)
            )
        ).fetchone()
        rows, size = row or (0, 0)
        figures.say(
            f"following: rows of {table}", rows, baseline=f"accounts times epochs {shown(times)}"
        )
        figures.say(f"following: {table} with indexes, MB", size / 1e6)


def _checked(figures: Figures, connection: Connection, read: Reading) -> None:
    window = list(between(0, read.epochs - 1))[-1]
    for check in CHECKS:
        begun = time.perf_counter()
        if store.offenders(connection, check, window):
            raise SystemExit(f"{check} fails in {window.key}")
        figures.say(f"following: check {check} of the last window, s", time.perf_counter() - begun)


def _one_by_one(figures: Figures, chain: Chain, connection: Connection, last: int) -> None:
    """The newest epochs, each on top of those before it."""
    more: dict[str, list[int]] = {"messages": [], "requests in them": []}
    seconds = []
    for epoch in range(last - TAIL + 1, last + 1):
        sent = []
        begun = time.perf_counter()
        for known in (None, None, partial(_known, connection)):  # at first blocks are looked for
            before, begun = (chain.requests, chain.calls), time.perf_counter()
            for states in chain.read_each([[epoch]], known):
                del states
            sent.append((chain.requests - before[0], chain.calls - before[1]))
        for counted, plain, followed in zip(more.values(), sent[1], sent[2], strict=True):
            counted.append(followed - plain)
        seconds.append(time.perf_counter() - begun)
    for what, counted in more.items():
        figures.tell(f"following: {what} more of each of {TAIL} epochs alone", str(counted))
    figures.say("following: an epoch alone, s", statistics.median(seconds))


def _known(connection: Connection, epoch: int) -> Nominators | Listing:
    return store.nominators_before(connection, epoch) or Listing()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=5000)
    parser.add_argument("--operators", type=int, default=64)
    parser.add_argument("--nominators", type=int, default=10_000)
    parser.add_argument("--latency", type=float, default=0, help="milliseconds before an answer")
    parser.add_argument("--keep", action="store_true", help="put the figures into the README")
    return parser.parse_args()


if __name__ == "__main__":
    main()
