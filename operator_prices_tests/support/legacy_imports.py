"""What tests of imports ask the tables, and how they fill and empty them."""

import csv
from collections.abc import Callable, Sequence
from pathlib import Path

import polars as pl
import psycopg

from operator_prices import store
from operator_prices.epochs import normalized, tables
from operator_prices.epochs.windows import EpochWindow
from operator_prices.legacy.snapshots import Row
from operator_prices.runs.legacy import ImportedSource
from operator_prices.store.parity import findings
from operator_prices_tests.support.legacy_samples import (
    SHARED,
)

Rows = list[tuple[object, ...]]

Import = Callable[..., dict[str, int]]
Bring = Callable[[Path | str], ImportedSource]

PRICES = (
    "SELECT epoch, operator_id, share_price_perq, source FROM operator_share_prices"
    " ORDER BY epoch, operator_id"
)

SHARES = (
    "SELECT epoch, operator_id, shares_raw, stake_raw, active_stake_raw, reward_raw,"
    " storage_fee_deposit_raw, nomination_tax, status, source FROM operator_shares"
    " ORDER BY epoch, operator_id"
)

EPOCHS = (
    "SELECT epoch, end_block, end_hash, timestamp, data, source, complete FROM epochs ORDER BY 1"
)

ANALYTICS = "SELECT * FROM comprehensive_analytics ORDER BY epoch"

OPERATORS = (
    "SELECT operator_id, first_seen_epoch, last_seen_epoch, signing_key, nomination_tax, status"
    " FROM operators_metadata ORDER BY 1"
)

PUBLISHED = (PRICES, SHARES, ANALYTICS, OPERATORS)

OLD_TABLE = """
CREATE TABLE epochs (
  epoch INTEGER PRIMARY KEY,
  end_block INTEGER NOT NULL,
  end_hash TEXT NOT NULL,
  timestamp BIGINT NOT NULL,
  data JSONB NOT NULL,
  created_at TIMESTAMPTZ DEFAULT now()
);
CREATE VIEW comprehensive_analytics AS
  SELECT epoch, timestamp, (data ->> 'totalShares')::numeric AS total_shares_raw FROM epochs;
"""


def keep_old(connection: psycopg.Connection, snapshots: Sequence[Row]) -> None:
    with connection.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO epochs (epoch, end_block, end_hash, timestamp, data)"
            " VALUES (%s, %s, %s, %s, %s)",
            snapshots,
        )


def rows(place: psycopg.Connection | str, query: str) -> Rows:
    if isinstance(place, str):
        with psycopg.connect(place) as connection:
            return connection.execute(query).fetchall()
    return place.execute(query).fetchall()


def prices(place: psycopg.Connection | str, *epochs: int) -> Rows:
    """Price and source of each operator of the epochs."""
    return [told[2:] for told in rows(place, PRICES) if told[0] in epochs]


def published(place: psycopg.Connection | str) -> list[Rows]:
    return [rows(place, query) for query in PUBLISHED]


def expected(name: str) -> list[tuple[str, ...]]:
    with (SHARED / name).open(newline="") as lines:
        return sorted(map(tuple, csv.reader(lines)))[:-1]


def as_text(found: Rows) -> list[tuple[str, ...]]:
    return sorted(tuple(map(str, told)) for told in found)


def parse(connection: psycopg.Connection, window: EpochWindow) -> None:
    """From the raw epochs of the window to all tables, as the assets do."""
    told = normalized.decoded(store.read(connection, tables.EPOCHS, window))
    store.write(connection, tables.OPERATOR_SHARE_PRICES, normalized.operator_share_prices(told))
    store.write(connection, tables.OPERATOR_SHARES, normalized.operator_shares(told))
    store.merge_operators(connection, normalized.operators_metadata(told))
    store.refresh_analytics(connection, window)


def keep_as_read(connection: psycopg.Connection, epochs: pl.DataFrame) -> None:
    """Keep raw epochs as if the chain had just been read, with nothing for the quarantine."""
    nothing = epochs.clear()
    store.keep_epochs(
        connection,
        epochs,
        nothing.select("epoch").with_columns(operator_id=None),
        nothing.select("epoch"),
        genesis_hash="0x",
        domain_id=0,
    )


def forget_all(connection: psycopg.Connection) -> None:
    connection.execute(
        "TRUNCATE epochs, operator_share_prices, operator_shares, operators_metadata,"
        " epoch_analytics, normalized_epochs, legacy_prices, legacy_windows, legacy_hashes,"
        " legacy_foreign, quarantine, chain_identity"
    )


def failed(connection: psycopg.Connection) -> dict[str, Sequence[tuple[object, ...]]]:
    return {finding.name: finding.rows for finding in findings(connection) if not finding.passed}
