"""How the history of a domain is cut up for Dagster."""

import warnings
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta

import dagster as dg

from operator_prices.epochs.windows import SIZE, EpochWindow, between

warnings.simplefilter("ignore", dg.PreviewWarning)
warnings.simplefilter("ignore", dg.BetaWarning)
"""Checks by partition are in preview, backfill policies in beta; tests pin how we use them."""

epoch_windows = dg.DynamicPartitionsDefinition(name="epoch_windows")
"""One partition per `EpochWindow` that has begun. Dynamic, since the chain has no last epoch."""

WINDOWS_A_BACKFILL_RUN = 25
"""As many windows share a run: its process takes as long to start as the work of some windows."""

WINDOWS_A_RUN = dg.BackfillPolicy.multi_run(max_partitions_per_run=WINDOWS_A_BACKFILL_RUN)

UNFINISHED = [
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]
"""Of runs that have left the queue."""


PARTITION = "dagster/partition"
RANGE_START, RANGE_END = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"
"""The tags by which Dagster says which partitions a run is about."""

WILL_RETRY = "dagster/will_retry"
"""The tag by which Dagster says of a run that failed whether it is run again."""

RETRIED_WITHIN = timedelta(minutes=5)
"""After so long nobody waits for it any more."""


BACKFILLING = {"REQUESTED", "CANCELING", "FAILING"}
"""Of backfills that are under way."""


def begin_windows(instance: dg.DagsterInstance, until: int) -> None:
    """Add every window from epoch 0 to epoch `until` that is not there yet.

    In ascending order and without a hole: Dagster resolves a range of partitions by the order in
    which they were added.
    """
    wanted = [window.key for window in between(0, until)]
    there = set(instance.get_dynamic_partitions(str(epoch_windows.name)))
    if new := [key for key in wanted if key not in there]:
        instance.add_dynamic_partitions(str(epoch_windows.name), new)


def known_windows(instance: dg.DagsterInstance) -> list[EpochWindow]:
    """The windows that are partitions, in ascending order."""
    return sorted(_told(instance.get_dynamic_partitions(str(epoch_windows.name)))[0])


def remove_strangers(instance: dg.DagsterInstance) -> list[str]:
    """Take the partitions away that are no windows, and return them.

    Anybody can add a partition of any name in the UI, which asks nobody whether it is right. While
    a backfill is under way nothing is taken away: it would fail if it has the partition. That is
    asked last, so that a backfill counts which was launched meanwhile.
    """
    _, strangers = _told(instance.get_dynamic_partitions(str(epoch_windows.name)))
    if not strangers:
        return []
    newest = instance.get_backfills(limit=50)
    if any(one.status.value in BACKFILLING for one in newest):
        return []
    for key in strangers:
        instance.delete_dynamic_partition(str(epoch_windows.name), key)
    return strangers


def windows_of(
    context: dg.AssetExecutionContext | dg.AssetCheckExecutionContext,
) -> list[EpochWindow]:
    """The windows that a run is about, in ascending order; other partitions are passed over.

    Raises `dg.Failure` for a run without any partition: Dagster resolves a reversed range to none
    at all and would call the run a success.
    """
    run = context.op_execution_context
    keys = run.partition_keys if run.has_partitions else []
    if not keys:
        raise dg.Failure(
            "The run is about no window: choose partitions, and of a range the first window first.",
            allow_retries=False,
        )
    windows, strangers = _told(keys)
    if strangers:
        context.log.warning(
            "Passed over %s: a window is %s epochs, named like %s.",
            ", ".join(map(repr, strangers)),
            SIZE,
            EpochWindow(2 * SIZE).key,
        )
    return sorted(windows)


def busy_windows(
    instance: dg.DagsterInstance, tags: Mapping[str, str] | None = None
) -> frozenset[EpochWindow]:
    """The windows that some run is queued or at work for, of all runs or of those with `tags`.

    Among them are those of a run that failed and that Dagster is about to run again.
    """
    runs = instance.get_runs(
        filters=dg.RunsFilter(statuses=[dg.DagsterRunStatus.QUEUED, *UNFINISHED], tags=tags)
    )
    failed = instance.get_runs(
        filters=dg.RunsFilter(
            statuses=[dg.DagsterRunStatus.FAILURE],
            tags={**(tags or {}), WILL_RETRY: "true"},
            updated_after=datetime.now(UTC) - RETRIED_WITHIN,
        )
    )
    runs = [*runs, *(run for run in failed if run.is_complete_and_waiting_to_retry)]
    known = known_windows(instance) if runs else []
    return frozenset(window for run in runs for window in windows_of_run(run.tags, known))


def tags_of_windows(windows: Sequence[EpochWindow]) -> dict[str, str]:
    """The tags of a run that is about windows which follow upon each other.

    >>> tags_of_windows([EpochWindow(200)])
    {'dagster/partition': '000200-000299'}
    """
    first, last = windows[0].key, windows[-1].key
    return {PARTITION: first} if first == last else {RANGE_START: first, RANGE_END: last}


def windows_of_run(tags: Mapping[str, str], known: Sequence[EpochWindow]) -> list[EpochWindow]:
    """The windows that a run is about, told by its tags; none for a run about something else.

    Of a range those that are `known` as partitions: its ends may be far apart.

    >>> alone = windows_of_run({"dagster/partition": "000200-000299"}, [])
    >>> [window.first for window in alone]
    [200]
    """
    first = tags.get(RANGE_START, tags.get(PARTITION))
    last = tags.get(RANGE_END, first)
    if first is None or last is None:
        return []
    ends, strangers = _told([first, last])
    if first == last:
        return ends[:1]
    low = ends[0] if first not in strangers else EpochWindow(0)
    return [one for one in known if one >= low and (last in strangers or one <= ends[-1])]


def _told(keys: Iterable[str]) -> tuple[list[EpochWindow], list[str]]:
    """The windows among the keys, and the keys that are none."""
    windows, strangers = [], []
    for key in keys:
        try:
            windows.append(EpochWindow.parse(key))
        except ValueError:
            strangers.append(key)
    return windows, strangers
