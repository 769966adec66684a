"""Backfills from the command line: which windows a range of epochs means, run one by one."""

from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

from operator_prices import store
from operator_prices.chain import ArchiveNeededError, Reach
from operator_prices.epochs.counts import COUNTED
from operator_prices.epochs.windows import SIZE, EpochWindow, between, spans
from operator_prices.errors import ExplainedError
from operator_prices.ingest import recheck
from operator_prices.legacy import end_hashes
from operator_prices.local import dagster_home
from operator_prices.runs.chain import chain_extent, connected_chain
from operator_prices.runs.windows import WindowRun, run_windows
from operator_prices.settings import Settings

RAW = "raw_epochs"
"""The asset that reads the chain."""

RAW_NOMINATORS = "raw_nominators"
"""The asset that reads nominators of epochs that are stored without them."""


class NothingToBackfillError(ExplainedError):
    """A range of epochs of which none is completed."""


@dataclass(slots=True)
class Backfilled:
    """What a backfill came to."""

    epochs_read: int = 0
    rpc_calls: int = 0
    """Requests to the node, of a batch each, as rate limits count them."""
    changed_rows: Counter[str] = field(default_factory=Counter)
    incomplete: Sequence[int] = ()
    """Epochs of the range of which something is in quarantine."""
    differing: Sequence[int] = ()
    """Imported epochs of the range that ended in another block than their snapshot says."""
    never_had: str = ""
    """Which epochs were left out since the node never will have them; empty for none."""

    def add(self, run: WindowRun) -> None:
        self.epochs_read += run.epochs_read
        self.rpc_calls += run.rpc_calls
        self.changed_rows.update(run.changed_rows)


Progress = Callable[[Sequence[EpochWindow]], AbstractContextManager[Callable[[WindowRun], None]]]
"""Told the windows that will run; lasts as long as they do, and is told of each that is done."""


def backfill_range(
    settings: Settings,
    first: int,
    last: int | None,
    assets: Sequence[str] | None = None,
    *,
    progress: Progress,
) -> Backfilled:
    """Run every window that holds a completed epoch of `first..last`; None is the last completed.

    Only `assets` are materialized, if they are named; without `raw_epochs` the node is not asked
    how far the chain is, and every window that holds a stored epoch is run.

    Raises `NothingToBackfillError`, `RunFailedError`, `ChainError`.
    """
    reading = assets is None or RAW in assets
    known, reach = _known(settings) if reading else (_last_stored(settings), None)
    if known is None or first > known:
        state = "completed" if reading else "stored"
        latest = f"the last {state} one is {known}" if known is not None else "none is"
        raise NothingToBackfillError(f"Epoch {first} is not {state} yet; {latest}.")
    final = known if last is None else min(last, known)
    windows = list(between(first, final))
    follows = settings.nominators == "on" and (assets is None or RAW_NOMINATORS in assets)
    _, why = _never_had(settings, windows, reach, nominators=follows)
    if why and reach:
        begin = EpochWindow.containing(reach.first_epoch + SIZE - 1).first
        raise ArchiveNeededError(f"{why}, or backfill --from {begin}.")
    return _run(settings, windows, (first, final), progress, assets)


def _known(settings: Settings) -> tuple[int | None, Reach]:
    """The last completed epoch, and how far back the node goes."""
    head, reach = chain_extent(settings)
    return head.last_completed_epoch, reach


def _never_had(
    settings: Settings, windows: Sequence[EpochWindow], reach: Reach | None, *, nominators: bool
) -> tuple[list[EpochWindow], str]:
    """The windows that lack what the node never will have, and why; nothing for none.

    With `nominators` those, too, whose epochs are stored without them. What was read in part while
    the node had it is in quarantine, and lacks nothing more.
    """
    if reach is None or reach.first_epoch == 0:
        return [], ""
    with store.connect(str(settings.database_url)) as connection:
        lacking = store.all_lacking(connection, reach.first_epoch - 1)
        without = store.all_lacking_nominators(connection, reach.first_epoch - 1)
        in_part = {*store.read_in_part(connection, 0, reach.first_epoch - 1)}
    asked = {*windows}

    def of_those_asked(epochs: Sequence[int]) -> list[int]:
        read = [epoch for epoch in epochs if epoch not in in_part]
        return [epoch for epoch in read if EpochWindow.containing(epoch) in asked]

    lacking, without = of_those_asked(lacking), of_those_asked(without)
    without = sorted({*without} - {*lacking}) if nominators else []
    if not lacking and not without:
        return [], ""
    what = [f"{len(lacking)} epochs from {lacking[0]} on are lacking"] if lacking else []
    what += [f"{len(without)} from {without[0]} on lack their nominators"] if without else []
    return sorted({EpochWindow.containing(epoch) for epoch in (*lacking, *without)}), (
        f"The node has nothing before block {reach.first_block}, so no epoch before"
        f" {reach.first_epoch}, and {' and '.join(what)}: use an"
        " archive node, one that was synced from the first block and runs with --state-pruning"
        " archive --blocks-pruning archive"
    )


def _in_words(windows: Sequence[EpochWindow]) -> str:
    """Windows in order, those that follow upon each other as one span.

    >>> _in_words([EpochWindow(0)])
    'window 000000-000099 is'
    >>> _in_words([EpochWindow(0), EpochWindow(100), EpochWindow(300)])
    'windows 000000-000099 to 000100-000199, 000300-000399 are'
    """
    said = ", ".join(
        one[0].key + (f" to {one[-1].key}" if one[1:] else "") for one in spans(windows)
    )
    return f"windows {said} are" if windows[1:] else f"window {said} is"


def _last_stored(settings: Settings) -> int | None:
    with store.connect(str(settings.database_url)) as connection:
        stored = store.last_epoch(connection)
    return None if stored < 0 else stored


def backfill_missing(settings: Settings, *, progress: Progress) -> Backfilled:
    """Run the windows that are behind the chain, and no others.

    Those with epochs that the node never will have are left out, unless there would be nothing.
    """
    completed, reach = _known(settings)
    if completed is None:
        return Backfilled()
    follows = settings.nominators == "on"
    with store.connect(str(settings.database_url)) as connection:
        in_part = store.read_in_part(connection, 0, reach.first_epoch - 1)
        behind = store.windows_behind(connection, completed, nominators=follows, lost=in_part)
    lost, why = _never_had(settings, behind, reach, nominators=follows)
    left = [window for window in behind if window not in lost]
    if why and not left and _last_stored(settings) is None:
        raise ArchiveNeededError(f"{why}.")
    done = _run(settings, left, (0, completed), progress)
    if why:
        done.never_had = f"{why}; {_in_words(lost)} left out until then."
    return done


def recheck_range(
    settings: Settings, first: int, last: int | None, *, progress: Progress
) -> tuple[list[int], Backfilled]:
    """The stored epochs of `first..last` that left the chain, and what re-reading them did."""
    with (
        connected_chain(settings) as chain,
        store.connect(str(settings.database_url)) as connection,
    ):
        final = store.last_epoch(connection) if last is None else last
        left = recheck(chain, connection, first, final, all_of_them=True)
    windows = sorted({EpochWindow.containing(epoch) for epoch in left})
    return left, _run(settings, windows, (first, final), progress)


def count_entries(settings: Settings, first: int, last: int | None) -> int:
    """Count the map entries of the epochs of `first..last` that lack it; return how many."""
    with (
        connected_chain(settings) as chain,
        store.connect(str(settings.database_url)) as connection,
    ):
        final = store.last_epoch(connection) if last is None else last
        uncounted = store.uncounted(connection, first, final)
        for epoch, end_hash in uncounted:
            store.keep_counts(connection, epoch, chain.count(end_hash, COUNTED))
    return len(uncounted)


def _run(
    settings: Settings,
    windows: Sequence[EpochWindow],
    span: tuple[int, int],
    progress: Progress,
    assets: Sequence[str] | None = None,
) -> Backfilled:
    done = Backfilled()
    with dagster_home.opened_instance(settings) as dagster, progress(windows) as tell:
        for run in run_windows(dagster, windows, assets):
            done.add(run)
            tell(run)
    with store.connect(str(settings.database_url)) as connection:
        done.incomplete = store.incomplete(connection, *span)
        done.differing = end_hashes.differing(connection, *span)
    return done
