"""How the history of a domain is cut up for Dagster."""

import warnings
from collections.abc import Mapping

import dagster as dg

from operator_prices.epochs.windows import SIZE, EpochWindow, between

warnings.simplefilter("ignore", dg.PreviewWarning)
warnings.simplefilter("ignore", dg.BetaWarning)
"""Checks by partition are in preview, backfill policies in beta; tests pin how we use them."""

epoch_windows = dg.DynamicPartitionsDefinition(name="epoch_windows")
"""One partition per `EpochWindow` that has begun. Dynamic, since the chain has no last epoch."""

WINDOWS_A_RUN = dg.BackfillPolicy.multi_run(max_partitions_per_run=5)
"""A run of five windows costs little more than a run of one; a sixth would be lost with them."""

PROCESS_TAG = "operator-prices/process"
"""The tag of a run that a command works on: by which process, so that a later one can tell that it
is gone."""

UNFINISHED = [
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]
"""Of runs that have left the queue."""


def begin_windows(instance: dg.DagsterInstance, until: int) -> None:
    """Add every window from epoch 0 to epoch `until` that is not there yet.

    In ascending order and without a hole: Dagster resolves a range of partitions by the order in
    which they were added.
    """
    wanted = [window.key for window in between(0, until)]
    there = set(instance.get_dynamic_partitions(str(epoch_windows.name)))
    if new := [key for key in wanted if key not in there]:
        instance.add_dynamic_partitions(str(epoch_windows.name), new)


def windows_of(
    context: dg.AssetExecutionContext | dg.AssetCheckExecutionContext,
) -> list[EpochWindow]:
    """The windows that a run is about, in ascending order and without a hole.

    Raises `dg.Failure` for a run without any: Dagster resolves a reversed range to no partition at
    all and would call the run a success.
    """
    if isinstance(context, dg.AssetCheckExecutionContext):
        keys = context.op_execution_context.partition_keys
    else:
        keys = context.partition_keys
    windows = _windows(*keys)
    if not windows or windows != list(between(windows[0].first, windows[-1].last)):
        raise dg.Failure(
            f"The run is about no range of windows ({', '.join(keys) or 'none'}): say the first"
            f" and the last window in ascending order, {SIZE} epochs each.",
            allow_retries=False,
        )
    return windows


def busy_windows(
    instance: dg.DagsterInstance, tags: Mapping[str, str] | None = None
) -> frozenset[EpochWindow]:
    """The windows that some run is queued or at work for, of all runs or of those with `tags`."""
    runs = instance.get_runs(
        filters=dg.RunsFilter(statuses=[dg.DagsterRunStatus.QUEUED, *UNFINISHED], tags=tags)
    )
    return frozenset(window for run in runs for window in windows_of_run(run.tags))


def windows_of_run(tags: Mapping[str, str]) -> list[EpochWindow]:
    """The windows that a run is about, told by its tags; none for a run about something else.

    Anybody can add a partition of any name in the UI: one that is no window is something else.

    >>> [window.first for window in windows_of_run({"dagster/partition": "000200-000299"})]
    [200]
    """
    first = tags.get("dagster/asset_partition_range_start", tags.get("dagster/partition"))
    last = tags.get("dagster/asset_partition_range_end", first)
    ends = _windows(first, last)
    return list(between(ends[0].first, ends[1].last)) if ends else []


def _windows(*keys: str | None) -> list[EpochWindow]:
    """The windows of these keys, or none at all if one of them is no window."""
    try:
        return [EpochWindow.parse(key or "") for key in keys]
    except ValueError:
        return []
