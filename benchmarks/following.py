"""Following nominators: time, requests, rows and bytes, beside the same chain without them.

`python -m benchmarks.following` starts a development chain of 10,000 accounts, 64 operators and
5,000 epochs, in each of which one account of a hundred acts, in another process, and an embedded
Postgres. The chain is read twice into two databases, without nominators and with them.
"""

import argparse
import resource
import sys
import time
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from psycopg import Connection, sql
from psycopg.conninfo import make_conninfo

from benchmarks.node import development_chain
from operator_prices import store
from operator_prices.chain import Chain, Listing, Nominators, connect
from operator_prices.epochs import normalized
from operator_prices.epochs.tables import EPOCHS, OPERATOR_SHARE_PRICES, OPERATOR_SHARES
from operator_prices.epochs.windows import EpochWindow, between
from operator_prices.ingest import ingest_each
from operator_prices.local.postgres import embedded
from operator_prices.store import migrations

TABLES = ("raw_nominators", "nominator_positions", "nominator_epochs", "nominator_accounts")
CHECKS = ("shares_add_up", "storage_fees_add_up", "values_within_stake", "pending_has_no_price")
TAIL = 3
"""Newest epochs that are read one by one in the end, as who follows the head does."""


def main() -> None:
    options = _options()
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
                name = "with_nominators" if nominators else "without"
                with store.connect(dsn) as admin:
                    admin.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
                own = make_conninfo(dsn, dbname=name)
                migrations.migrate(own)
                with (
                    store.connect(own) as connection,
                    connect(url, domain_id=0, cache=place / "runtimes") as chain,
                ):
                    _say(f"--- {name}", "")
                    _read(chain, connection, nominators=nominators)
        embedded.remove(place)


def _read(chain: Chain, connection: Connection, *, nominators: bool) -> None:
    """From the chain to all tables, window by window, as the pipeline's runs do."""
    last = chain.head().last_completed_epoch
    if last is None:
        raise SystemExit("the development chain has no completed epoch")
    windows = list(between(0, last))
    begun, requests = time.perf_counter(), chain.requests
    positions = 0.0
    reading = ingest_each(chain, connection, windows, nominators=nominators)
    for window, done in zip(windows, reading, strict=True):
        if done.quarantined or done.quarantined_nominators:
            raise SystemExit(f"something of {window.key} is in quarantine")
        _parsed(connection, window)
        since = time.perf_counter()
        store.refresh_positions(connection, window)
        positions += time.perf_counter() - since
    wall = time.perf_counter() - begun
    _say("epochs", last + 1)
    _say("wall, chain to all tables (s)", wall)
    _say("of it: positions (s)", positions)
    _say("requests per epoch", (chain.requests - requests) / (last + 1))
    _say("peak memory (MB)", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    if nominators:
        _sizes(connection, last)
        _checked(connection, windows[-1])
        _one_by_one(chain, connection, last)


def _parsed(connection: Connection, window: EpochWindow) -> None:
    raw = store.read(connection, EPOCHS, window)
    store.write(connection, OPERATOR_SHARE_PRICES, normalized.operator_share_prices(raw))
    store.write(connection, OPERATOR_SHARES, normalized.operator_shares(raw))
    store.merge_operators(connection, normalized.operators_metadata(raw))
    store.refresh_analytics(connection, window)


def _sizes(connection: Connection, last: int) -> None:
    for table in TABLES:
        row = connection.execute(
            sql.SQL("SELECT count(*), pg_total_relation_size({}) FROM {}").format(
                sql.Literal(table), sql.Identifier(table)
            )
        ).fetchone()
        rows, size = row or (0, 0)
        _say(f"rows of {table}", rows)
        _say(f"megabytes of {table}, indexes included", size / 1e6)
    counted = connection.execute(
        "SELECT count(*) FROM nominator_positions WHERE until_epoch IS NULL AND NOT ended"
    ).fetchone()
    accounts = int(counted[0]) if counted else 0
    _say("positions at the end", accounts)
    _say("positions times epochs, which are not stored", accounts * (last + 1))


def _checked(connection: Connection, window: EpochWindow) -> None:
    for check in CHECKS:
        begun = time.perf_counter()
        if store.offenders(connection, check, window):
            raise SystemExit(f"{check} fails in {window.key}")
        _say(f"check {check} of the last window (s)", time.perf_counter() - begun)


def _one_by_one(chain: Chain, connection: Connection, last: int) -> None:
    """The newest epochs, each on top of those before it."""
    for epoch in range(last - TAIL + 1, last + 1):
        requests = []
        begun = time.perf_counter()
        for known in (None, partial(_known, connection)):
            sent, begun = chain.requests, time.perf_counter()
            for states in chain.read_each([[epoch]], known):
                del states
            requests.append(chain.requests - sent)
        _say(f"epoch {epoch} alone: requests more", requests[1] - requests[0])
        _say(f"epoch {epoch} alone: seconds", time.perf_counter() - begun)


def _known(connection: Connection, epoch: int) -> Nominators | Listing:
    return store.nominators_before(connection, epoch) or Listing()


def _say(what: str, figure: float | str) -> None:
    if not isinstance(figure, str):
        figure = f"{figure:,.0f}" if figure >= 100 else f"{figure:,.2f}"  # noqa: PLR2004
    sys.stdout.write(f"{what:<56}{figure:>14}\n")
    sys.stdout.flush()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=5000)
    parser.add_argument("--operators", type=int, default=64)
    parser.add_argument("--nominators", type=int, default=10_000)
    parser.add_argument("--latency", type=float, default=0, help="milliseconds before an answer")
    return parser.parse_args()


if __name__ == "__main__":
    main()
