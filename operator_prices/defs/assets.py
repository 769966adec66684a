"""The asset graph, in the order data flows through it; `ingest`, `frames` and `store` say how."""

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import asdict
from functools import partial

import dagster as dg
import polars as pl
import psycopg

from operator_prices import store
from operator_prices.chain import Chain
from operator_prices.defs.legacy_assets import legacy_epochs
from operator_prices.defs.partitions import WINDOWS_A_RUN, windows_of
from operator_prices.defs.resources import NODE_POOL
from operator_prices.defs.window_assets import (
    materializing,
    materializing_each,
    row_counts,
    windowed,
    windowed_spec,
)
from operator_prices.epochs import normalized
from operator_prices.epochs.normalized import Decoded
from operator_prices.epochs.tables import EPOCHS, OPERATOR_SHARE_PRICES, OPERATOR_SHARES, Table
from operator_prices.ingest import Ingested, ingest, ingest_each
from operator_prices.settings import Settings

PARSED = "parsed", {"polars", "postgres"}


class ImpossibleRowsError(ValueError):
    """Rows that cannot be true, of which none is written."""


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


operator_share_prices = windowed_spec(
    "operator_share_prices",
    "Each operator's share price in perquintills at the close of each epoch, and its source.",
    *PARSED,
    deps=[raw_epochs, legacy_epochs],
    code_version="1",
)

operator_shares = windowed_spec(
    "operator_shares",
    "Each operator's shares, stake, reward, tax, status and owner at the end of each epoch.",
    *PARSED,
    deps=[raw_epochs, legacy_epochs],
    code_version="2",
)

operators_metadata = windowed_spec(
    "operators_metadata",
    "One row per operator ever seen: when, by whom, on what terms; names are left to people.",
    *PARSED,
    deps=[raw_epochs, legacy_epochs],
    code_version="1",
)


@dg.multi_asset(
    specs=[operator_share_prices, operator_shares, operators_metadata],
    can_subset=True,
    backfill_policy=WINDOWS_A_RUN,
)
def operator_tables(
    context: dg.AssetExecutionContext,
    database: dg.ResourceParam[psycopg.Connection],
    options: dg.ResourceParam[Settings],
) -> Iterator[dg.MaterializeResult[None]]:
    """What raw epochs say of operators: they are read and decoded once for all these tables.

    Of a window that says of one what cannot be true the others are written all the same.
    """
    written: dict[str, Callable[[psycopg.Connection, Decoded], dict[str, object]]] = {
        "operator_share_prices": partial(
            write, OPERATOR_SHARE_PRICES, normalized.operator_share_prices
        ),
        "operator_shares": partial(write, OPERATOR_SHARES, normalized.operator_shares),
        "operators_metadata": merge,
    }
    for window in windows_of(context):
        with materializing_each(context, database, window, options) as said:
            told = normalized.decoded(store.read(database, EPOCHS, window))
            refused = []
            for name, metadata in said.items():
                try:
                    metadata.update(written[name](database, told))
                except ImpossibleRowsError as error:
                    refused.append(str(error))
            if refused:
                raise dg.Failure("; ".join(refused), allow_retries=False)
    for key in context.selected_asset_keys:
        yield dg.MaterializeResult(asset_key=key)


@windowed(
    *PARSED,
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
    table: Table,
    parse: Callable[[Decoded], pl.DataFrame],
    database: psycopg.Connection,
    told: Decoded,
) -> dict[str, object]:
    """Write what raw epochs say; what cannot be true is refused before it is there."""
    frame = parse(told)
    if wrong := normalized.impossible(table, frame):
        raise ImpossibleRowsError(f"{table.name} was not written: {wrong}")
    return row_counts(frame.height, store.write(database, table, frame))


def merge(database: psycopg.Connection, told: Decoded) -> dict[str, object]:
    """Learn of operators what raw epochs say of them."""
    operators = normalized.operators_metadata(told)
    return row_counts(operators.height, store.merge_operators(database, operators))
