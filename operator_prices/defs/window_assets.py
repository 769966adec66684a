"""What assets that come in windows have in common: how they are declared, and what they say."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from time import monotonic
from typing import Any

import dagster as dg
import psycopg

from operator_prices import store
from operator_prices.chain import (
    ChainError,
    NodeBehindError,
    NodeUnreachableError,
    RateLimitedError,
)
from operator_prices.defs import catalog
from operator_prices.defs.partitions import WINDOWS_A_RUN, epoch_windows
from operator_prices.defs.signs_of_life import COMMAND_LINE
from operator_prices.epochs.windows import EpochWindow
from operator_prices.postgres import troubles
from operator_prices.settings import Settings

PASSING = (NodeUnreachableError, NodeBehindError, RateLimitedError)
"""What may be over when the node is asked again."""

RETRIES, FIRST_PAUSE = 3, 10
"""How often a step is tried again, and the seconds before the first time."""

WindowMetadata = dict[str, object]
"""What a materialization says of one window."""


def windowed(
    group: str,
    kinds: set[str],
    **more: Any,  # noqa: ANN401 - whatever `dg.asset` takes
) -> Callable[[Callable[..., None]], dg.AssetsDefinition]:
    """An asset that is kept, window by window, in the table of its name."""

    def declare(compute: Callable[..., None]) -> dg.AssetsDefinition:
        asset: dg.AssetsDefinition = dg.asset(
            backfill_policy=WINDOWS_A_RUN, **_declared(compute.__name__, group, kinds), **more
        )(compute)
        return asset

    return declare


def windowed_spec(
    name: str,
    description: str,
    group: str,
    kinds: set[str],
    *,
    deps: Sequence[dg.AssetsDefinition],
    code_version: str,
) -> dg.AssetSpec:
    """Such an asset where one step makes several of them."""
    return dg.AssetSpec(
        name,
        deps=deps,
        description=description,
        code_version=code_version,
        **_declared(name, group, kinds),
    )


def _declared(name: str, group: str, kinds: set[str]) -> dict[str, Any]:
    return {
        "partitions_def": epoch_windows,
        "group_name": group,
        "kinds": kinds,
        "owners": ["team:operator-prices"],
        "metadata": catalog.table_metadata(name),
    }


@contextmanager
def materializing(
    context: dg.AssetExecutionContext,
    database: psycopg.Connection,
    window: EpochWindow,
    options: Settings,
) -> Iterator[WindowMetadata]:
    """Say of the window's materialization what is put into the dictionary, and how long it took.

    The step is tried again where `retried_if_it_may_pass` says so.
    """
    with materializing_each(context, database, window, options) as said:
        (metadata,) = said.values()
        yield metadata


@contextmanager
def materializing_each(
    context: dg.AssetExecutionContext,
    database: psycopg.Connection,
    window: EpochWindow,
    options: Settings,
) -> Iterator[dict[str, WindowMetadata]]:
    """Do so of each asset that the step is to make, by its name."""
    said: dict[str, WindowMetadata] = {
        key.to_user_string(): {} for key in sorted(context.selected_asset_keys)
    }
    begun = monotonic()
    with retried_if_it_may_pass(context.retry_number, database, context.run.tags):
        yield said
    seconds = round(monotonic() - begun, 3)
    for name, metadata in said.items():
        metadata["seconds"] = seconds
        metadata["dashboard"] = dg.MetadataValue.url(options.api_url)
        context.add_asset_metadata(metadata, asset_key=name, partition_key=window.key)


def row_counts(rows: int, changed: int) -> dict[str, object]:
    """What every materialization says of its rows."""
    return {"dagster/partition_row_count": rows, "changed_rows": changed}


@contextmanager
def retried_if_it_may_pass(
    tries: int, database: psycopg.Connection, tags: Mapping[str, str]
) -> Iterator[None]:
    """Have a step tried again when the node's failure may pass, after 10, 20 and 40 seconds.

    So is one that has lost the database, on a new connection: a run has one for all its steps. But
    whoever works on a run in a command does the window again as a whole, and says so.
    Not a `RetryPolicy`: Dagster applies one to a cancelled step, too, which then cannot be stopped.
    """
    try:
        store.revive(database)
        yield
    except PASSING as error:
        raise dg.RetryRequested(RETRIES, FIRST_PAUSE * 2**tries) from error
    except troubles.PASSING as error:
        if tags.get("source") == COMMAND_LINE:
            raise
        raise dg.RetryRequested(RETRIES, FIRST_PAUSE * 2**tries) from error
    except ChainError as error:
        raise dg.Failure(str(error), allow_retries=False) from error
