"""What must hold of stored data. A check is a query for offenders: the files of `sql/checks`."""

from collections.abc import Iterable, Iterator, Sequence
from functools import cache

import dagster as dg
import psycopg

from operator_prices import store
from operator_prices.chain import Chain, ChainError
from operator_prices.defs import assets
from operator_prices.defs.partitions import epoch_windows
from operator_prices.defs.resources import NODE_POOL
from operator_prices.defs.verdicts import Offenders, queried, verdicts, windows_asked
from operator_prices.defs.window_assets import retried_if_it_may_pass
from operator_prices.epochs.windows import EpochWindow, spans
from operator_prices.ingest import Gone, left_the_chain
from operator_prices.settings import Settings


def check(
    name: str,
    description: str,
    asset: dg.AssetsDefinition | dg.AssetSpec,
    *,
    blocking: bool = False,
    additional_deps: Iterable[dg.AssetsDefinition | dg.AssetSpec] = (),
) -> dg.AssetCheckSpec:
    """A check of each window. What fails a blocking one does not flow on."""
    return dg.AssetCheckSpec(
        name,
        asset=asset.key,
        description=description,
        blocking=blocking,
        additional_deps=list(additional_deps),
        partitions_def=epoch_windows,
    )


RAW = [
    check(
        "no_gaps",
        "Every epoch of the window is stored, up to the last one stored, or known to be skipped.",
        assets.raw_epochs,
        blocking=True,
    ),
    check(
        "blocks_in_order",
        "An epoch's transition block follows its end block, and both are above the epoch before.",
        assets.raw_epochs,
        blocking=True,
    ),
    check(
        "operators_once",
        "No raw epoch lists or prices an operator twice.",
        assets.raw_epochs,
        blocking=True,
    ),
    check(
        "active_stakes_add_up",
        "The stakes of the current operators add up to the total stake of the staking summary.",
        assets.raw_epochs,
        blocking=True,
    ),
    check(
        "quarantine_empty",
        "Nothing of the window could not be understood.",
        assets.raw_epochs,
    ),
]

PRICES = [
    check(
        "price_is_a_price",
        "A price is above zero, and at most 1: the chain never mints more shares than stake.",
        assets.operator_share_prices,
        blocking=True,
    ),
    check(
        "price_not_above_recomputed",
        "No price is above the one that shares, stake, reward and tax imply: rewards that the"
        " transition block adds can only lower it.",
        assets.operator_share_prices,
        blocking=True,
        additional_deps=[assets.operator_shares],
    ),
    check(
        "price_as_recomputed",
        "No price is 10^9, which is a Perbill's rounding, or more from what shares and stake"
        " after the epoch was closed imply; where they are not known, below the one that shares,"
        " stake, reward and tax at its end imply.",
        assets.operator_share_prices,
        additional_deps=[assets.operator_shares],
    ),
    check(
        "prices_as_in_raw",
        "The prices read from the chain are those of the raw JSON, read independently in SQL.",
        assets.operator_share_prices,
        blocking=True,
        additional_deps=[assets.raw_epochs],
    ),
]

SHARES = [
    check(
        "shares_at_most_stake",
        "No operator has more shares than stake.",
        assets.operator_shares,
        blocking=True,
    ),
    check(
        "shares_as_in_raw",
        "The table says of every operator what the raw JSON says, read independently in SQL.",
        assets.operator_shares,
        blocking=True,
        additional_deps=[assets.raw_epochs],
    ),
    check(
        "stake_per_share_never_falls",
        "What a share is worth falls by a slash alone.",
        assets.operator_shares,
    ),
]

METADATA = [
    check(
        "metadata_complete",
        "The list of operators knows every operator of the window, and all about it.",
        assets.operators_metadata,
        additional_deps=[assets.operator_shares],
    ),
]

ON_THE_CHAIN = check(
    "on_the_chain",
    "The chain has the end block of every epoch, followed by its transition block: the hashes are"
    " what the node says now. Of blocks before the first one that it has, it says nothing.",
    assets.raw_epochs,
    blocking=True,
)

UP_TO_DATE = check(
    "up_to_date",
    "Of the epochs that the chain has completed, no more than LAG_LIMIT wait to be served.",
    assets.comprehensive_analytics,
)

ANALYTICS = [
    check(
        "rows_as_epochs",
        "The view has one row for each raw epoch, and it says what the tables say.",
        assets.comprehensive_analytics,
    ),
]


NOMINATORS = [
    check(
        "nominators_understood",
        "Every entry of an account was understood: nothing of them is in quarantine.",
        assets.raw_nominators,
    ),
    check(
        "nominators_as_listed",
        "Where all keys were listed again, the listing has what was followed from epoch to epoch;"
        " what it has holds.",
        assets.raw_nominators,
    ),
    check(
        "shares_add_up",
        "The shares of all positions, those that leave included, are what the operator has, less"
        " what each conversion rounds down.",
        assets.nominator_positions,
        blocking=True,
    ),
    check(
        "storage_fees_add_up",
        "The storage fee deposits of all positions are what the operator has.",
        assets.nominator_positions,
        blocking=True,
    ),
    check(
        "values_within_stake",
        "All positions together are worth no more than the operator's stake.",
        assets.nominator_positions,
        blocking=True,
    ),
    check(
        "pending_has_no_price",
        "What is pending still is of this epoch, or of one that got no price because its operator"
        " was not registered any more.",
        assets.nominator_positions,
        blocking=True,
    ),
]


@dg.multi_asset_check(specs=[*RAW, ON_THE_CHAIN], can_subset=True, pool=NODE_POOL)
def raw_epochs_checks(
    context: dg.AssetCheckExecutionContext,
    chain: dg.ResourceParam[Chain],
    database: dg.ResourceParam[psycopg.Connection],
) -> Iterator[dg.AssetCheckEvaluation | dg.Output[None]]:
    """Look at the raw epochs, and ask the node for the hashes of all their blocks."""
    op = context.op_execution_context

    @cache
    def gone_of(first: int, last: int) -> Sequence[Gone]:
        return left_the_chain(chain, database, first, last)

    def off_the_chain(_: dg.AssetCheckSpec, window: EpochWindow) -> Offenders:
        """Those of the window; the node is asked once for all windows that follow upon another."""
        span = next(span for span in spans(windows) if window in span)
        return [
            {"epoch": one.epoch, "fault": f"block {one.block}", "stored": one.stored}
            | {"expected": one.on_chain}
            for one in gone_of(span[0].first, span[-1].last)
            if window.first <= one.epoch <= window.last
        ]

    with retried_if_it_may_pass(op.retry_number, database, op.run.tags):
        windows = windows_asked(context)
        yield from verdicts(context, windows, RAW, queried(database))
        yield from verdicts(context, windows, [ON_THE_CHAIN], off_the_chain)


@dg.multi_asset_check(specs=[*PRICES, *SHARES, *METADATA], can_subset=True)
def parsed_checks(
    context: dg.AssetCheckExecutionContext, database: dg.ResourceParam[psycopg.Connection]
) -> Iterator[dg.AssetCheckEvaluation | dg.Output[None]]:
    """Look at what was parsed of the raw epochs."""
    op = context.op_execution_context
    with retried_if_it_may_pass(op.retry_number, database, op.run.tags):
        windows = windows_asked(context)
        yield from verdicts(context, windows, [*PRICES, *SHARES, *METADATA], queried(database))


@dg.multi_asset_check(specs=NOMINATORS, can_subset=True)
def nominators_checks(
    context: dg.AssetCheckExecutionContext, database: dg.ResourceParam[psycopg.Connection]
) -> Iterator[dg.AssetCheckEvaluation | dg.Output[None]]:
    """Look at what accounts have, against what their operators say of all of them together."""
    op = context.op_execution_context
    with retried_if_it_may_pass(op.retry_number, database, op.run.tags):
        yield from verdicts(context, windows_asked(context), NOMINATORS, queried(database))


@dg.multi_asset_check(specs=[*ANALYTICS, UP_TO_DATE], can_subset=True, pool=NODE_POOL)
def analytics_checks(
    context: dg.AssetCheckExecutionContext,
    chain: dg.ResourceParam[Chain],
    database: dg.ResourceParam[psycopg.Connection],
    options: dg.ResourceParam[Settings],
) -> Iterator[dg.AssetCheckEvaluation | dg.Output[None]]:
    """Look at what is served, and how far it is behind the head of the chain."""

    @cache
    def head() -> int | str | None:
        """The last completed epoch, or why it is not known."""
        try:
            return chain.head().last_completed_epoch
        except ChainError as error:
            return str(error)

    def waiting(_: dg.AssetCheckSpec, window: EpochWindow) -> Offenders:
        """The completed epochs that are not served: in the newest window all, else the window's.

        What needs no node must not fail for want of one: then it is not known to be up to date.
        """
        completed = head()
        if isinstance(completed, str):
            return [{"epoch": window.last, "fault": completed}]
        if completed is None:
            return []
        first = 0 if window.first <= completed <= window.last else window.first
        unserved = store.unserved(database, completed)
        return [{"epoch": one} for one in unserved if first <= one <= window.last]

    op = context.op_execution_context
    with retried_if_it_may_pass(op.retry_number, database, op.run.tags):
        windows = windows_asked(context)
        yield from verdicts(context, windows, ANALYTICS, queried(database))
        yield from verdicts(context, windows, [UP_TO_DATE], waiting, tolerated=options.lag_limit)
