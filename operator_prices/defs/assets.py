"""The asset graph, in the order data flows through it; `ingest`, `frames` and `store` say how."""

from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict
from functools import partial

import dagster as dg
import polars as pl
import psycopg

from operator_prices import store
from operator_prices.chain import Chain
from operator_prices.defs.legacy_assets import legacy_epochs
from operator_prices.defs.partitions import windows_of
from operator_prices.defs.resources import NODE_POOL
from operator_prices.defs.window_assets import (
    WindowMetadata,
    materializing,
    row_counts,
    windowed,
)
from operator_prices.epochs import normalized
from operator_prices.epochs.tables import EPOCHS, OPERATOR_SHARE_PRICES, OPERATOR_SHARES, Table
from operator_prices.epochs.windows import EpochWindow
from operator_prices.ingest import Ingested, ingest, ingest_each
from operator_prices.settings import Settings

parsed = partial(windowed, "parsed", {"polars", "postgres"}, code_version="1")


class Reading(dg.Config):
    """How a run reads the chain."""

    verify: bool = False
    """Look first whether the chain still has the blocks of the stored epochs, and read anew those
    that it has not."""


@windowed(
    "raw",
    {"substrate", "postgres"},
    pool=NODE_POOL,
)
def raw_epochs(
    context: dg.AssetExecutionContext,
    config: Reading,
    chain: dg.ResourceParam[Chain],
    database: dg.ResourceParam[psycopg.Connection],
    options: dg.ResourceParam[Settings],
) -> None:
    """The chain's state at the close of each completed epoch of the window, in table `epochs`.

    Only what is missing or incomplete is read from the node; what is known once is never lost.
    """
    windows = windows_of(context)
    reading = ingest_each(
        chain, database, windows, verify=config.verify, nominators=options.nominators == "on"
    )
    with closing(reading) as ingested:
        for window in windows:
            with materializing(context, database, window, options) as metadata:
                sent, calls = chain.requests, chain.calls
                result = next(ingested)
                rows = store.count(database, "epochs", window)
                told = asdict(result) | {"left_the_chain": [*result.left_the_chain]}
                metadata.update(told | row_counts(rows, result.changed_rows))
                metadata["rpc_requests"] = chain.requests - sent
                metadata["rpc_calls"] = chain.calls - calls


@windowed("raw", {"substrate", "postgres"}, pool=NODE_POOL, deps=[raw_epochs])
def raw_nominators(
    context: dg.AssetExecutionContext,
    chain: dg.ResourceParam[Chain],
    database: dg.ResourceParam[psycopg.Connection],
    options: dg.ResourceParam[Settings],
) -> None:
    """What the chain stores of accounts that stake, from the epochs on at which it changes.

    It is read along with raw epochs that are missing; where these are there without it, as after an
    upgrade, this reads them once more.
    """
    for window in windows_of(context):
        with materializing(context, database, window, options) as metadata:
            sent, calls = chain.requests, chain.calls
            wanted = options.nominators == "on"
            result = ingest(chain, database, window, nominators=True) if wanted else Ingested()
            rows = store.count(database, "raw_nominators", window)
            metadata.update(row_counts(rows, result.changed_nominators))
            metadata["quarantined"] = result.quarantined_nominators
            metadata["rpc_requests"] = chain.requests - sent
            metadata["rpc_calls"] = chain.calls - calls


@parsed(deps=[raw_epochs, legacy_epochs])
def operator_share_prices(
    context: dg.AssetExecutionContext,
    database: dg.ResourceParam[psycopg.Connection],
    options: dg.ResourceParam[Settings],
) -> None:
    """Each operator's share price in perquintills at the close of each epoch, and its source."""
    parse = normalized.operator_share_prices
    for window in windows_of(context):
        with materializing(context, database, window, options) as metadata:
            write(database, OPERATOR_SHARE_PRICES, parse, window, metadata)


@parsed(deps=[raw_epochs, legacy_epochs], code_version="2")
def operator_shares(
    context: dg.AssetExecutionContext,
    database: dg.ResourceParam[psycopg.Connection],
    options: dg.ResourceParam[Settings],
) -> None:
    """Each operator's shares, stake, reward, tax, status and owner at the end of each epoch."""
    for window in windows_of(context):
        with materializing(context, database, window, options) as metadata:
            write(database, OPERATOR_SHARES, normalized.operator_shares, window, metadata)


@parsed(deps=[raw_epochs, legacy_epochs])
def operators_metadata(
    context: dg.AssetExecutionContext,
    database: dg.ResourceParam[psycopg.Connection],
    options: dg.ResourceParam[Settings],
) -> None:
    """One row per operator ever seen: when, by whom, on what terms; names are left to people."""
    for window in windows_of(context):
        with materializing(context, database, window, options) as metadata:
            operators = normalized.operators_metadata(store.read(database, EPOCHS, window))
            metadata.update(
                row_counts(operators.height, store.merge_operators(database, operators))
            )


@parsed(
    deps=[raw_nominators, operator_share_prices, operator_shares, operators_metadata],
    code_version="2",
)
def nominator_positions(
    context: dg.AssetExecutionContext,
    database: dg.ResourceParam[psycopg.Connection],
    options: dg.ResourceParam[Settings],
) -> None:
    """What each account has with each operator, from the epochs on at which that changes.

    View `nominator_positions_by_epoch` has every epoch, with its value by the epoch's price.
    """
    for window in windows_of(context):
        with materializing(context, database, window, options) as metadata:
            changed = store.refresh_positions(database, window)
            rows = store.count(database, "nominator_positions", window)
            metadata.update(row_counts(rows, changed))


@windowed("serving", {"postgres"}, deps=[raw_epochs, operator_share_prices, operator_shares])
def comprehensive_analytics(
    context: dg.AssetExecutionContext,
    database: dg.ResourceParam[psycopg.Connection],
    options: dg.ResourceParam[Settings],
) -> None:
    """One row per epoch with everything about it, refreshed for the epochs of the window alone."""
    for window in windows_of(context):
        with materializing(context, database, window, options) as metadata:
            changed = store.refresh_analytics(database, window)
            metadata.update(
                row_counts(store.count(database, "comprehensive_analytics", window), changed)
            )


def write(
    database: psycopg.Connection,
    table: Table,
    parse: Callable[[pl.DataFrame], pl.DataFrame],
    window: EpochWindow,
    metadata: WindowMetadata,
) -> None:
    """Write what the window's raw epochs say; what cannot be true is refused before it is there."""
    frame = parse(store.read(database, EPOCHS, window))
    if wrong := normalized.impossible(table, frame):
        raise dg.Failure(f"{table.name} was not written: {wrong}", allow_retries=False)
    metadata.update(row_counts(frame.height, store.write(database, table, frame)))
