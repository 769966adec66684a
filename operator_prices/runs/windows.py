"""Runs of the ingestion job in this very process, window by window, without a daemon."""

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import dagster as dg

from operator_prices import store
from operator_prices.definitions import defs
from operator_prices.defs.failures import failed_for_the_node, failed_step_cause, lost_database
from operator_prices.defs.jobs import import_legacy, ingest_epochs
from operator_prices.defs.partitions import (
    begin_windows,
    epoch_windows,
    tags_of_windows,
)
from operator_prices.defs.signs_of_life import COMMAND_LINE, close_orphans, command_tags
from operator_prices.epochs.windows import EpochWindow, spans
from operator_prices.errors import ExplainedError
from operator_prices.runs.persistence import until_back

BELIEVED = 1_000_000
"""Epochs of twenty years: a row of an old system may say anything."""

QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
"""The run's own log keeps everything; the terminal shows progress instead."""

WINDOWS_A_COMMAND_RUN = 10
"""As many windows share a run: its start takes as long as some windows do, and what it did is told
when it is over."""


class RunFailedError(ExplainedError):
    """A run did not succeed; the sentence says why, and where its log is."""


@dataclass(frozen=True, slots=True)
class WindowRun:
    """What the run of one window did."""

    window: EpochWindow
    epochs_read: int
    rpc_calls: int
    """Requests to the node, of a batch each, as rate limits count them."""
    changed_rows: Counter[str]
    """By asset."""


def run_windows(
    instance: dg.DagsterInstance,
    windows: Iterable[EpochWindow],
    assets: Sequence[str] | None = None,
) -> Iterator[WindowRun]:
    """Run the ingestion of each window, in the order given; raise at the first that fails.

    Only `assets` are materialized, if they are named. Runs that a killed process left behind are
    closed first. Windows that follow upon each other share a run; if it fails for another reason
    than the node's, each of them gets one of its own, so that those before the one to blame are
    done.
    """
    for together in spans(windows, WINDOWS_A_COMMAND_RUN):
        for run, results in _executed(instance, ingest_epochs.name, together, QUIET, assets):
            yield from (_window_run(window, results) for window in run)


def import_windows(
    instance: dg.DagsterInstance, windows: Iterable[EpochWindow], config: Mapping[str, object]
) -> Iterator[tuple[EpochWindow, dict[str, Any]]]:
    """Run the import of each window, in the order given, with what asset `legacy_epochs` says.

    A run keeps its log in memory and `instance` is told what came of it: writing all of the log
    to Postgres takes longer than the import itself. Only a run that fails is made once more with
    its log kept; that one raises as `run_windows` does.
    """
    run_config = QUIET | {"ops": {"legacy_epochs": {"config": dict(config)}}}
    job = defs.resolve_job_def(import_legacy.name)
    with dg.DagsterInstance.ephemeral() as memory:
        for window in windows:
            _begin(instance, [window])
            memory.add_dynamic_partitions(str(epoch_windows.name), [window.key])
            result = job.execute_in_process(
                instance=memory,
                partition_key=window.key,
                run_config=run_config,
                tags={"source": COMMAND_LINE},
                raise_on_error=False,
            )
            if result.success:
                for event in result.get_asset_materialization_events():
                    instance.report_runless_asset_event(event.materialization)
            else:
                ((_, (*_, result)),) = _executed(instance, job.name, [window], run_config)
            metadata = _metadata_by_asset(result, window)["legacy_epochs"]
            yield window, {name: told.value for name, told in metadata.items()}


def _begin(instance: dg.DagsterInstance, windows: Sequence[EpochWindow]) -> None:
    """Add the windows to the partitions, and all before them unless they are too many to be true.

    They follow upon each other.
    """
    believed = [window for window in windows if window.first < BELIEVED]
    if believed:
        begin_windows(instance, believed[-1].last)
    if beyond := [window.key for window in windows[len(believed) :]]:
        instance.add_dynamic_partitions(str(epoch_windows.name), beyond)


def _executed(
    instance: dg.DagsterInstance,
    job_name: str,
    windows: Sequence[EpochWindow],
    run_config: Mapping[str, object],
    assets: Sequence[str] | None = None,
) -> Iterator[tuple[Sequence[EpochWindow], Sequence[dg.ExecuteInProcessResult]]]:
    """Run windows that follow upon each other, in one run if it succeeds, else one by one.

    With windows that are done come the results of all runs so far, the last one theirs: what an
    earlier one has done before it failed is not done again.
    """
    job = defs.resolve_job_def(job_name)
    results: list[dg.ExecuteInProcessResult] = []

    def run(windows: Sequence[EpochWindow]) -> dg.ExecuteInProcessResult:
        with store.connect(os.environ["DATABASE_URL"]) as database:
            close_orphans(instance, database, ours=True)
        result = job.execute_in_process(
            instance=instance,
            run_config=run_config,
            tags=command_tags() | tags_of_windows(windows),
            asset_selection=None if assets is None else [dg.AssetKey(name) for name in assets],
            raise_on_error=False,
        )
        results.append(result)
        if not result.success and (lost := lost_database(result.all_events)):
            raise lost
        return result

    until_back(partial(_begin, instance, windows), _named(windows))
    if until_back(partial(_is_range, instance, windows), _named(windows)):
        result = until_back(partial(run, windows), _named(windows))
        if result.success:
            yield windows, results
            return
        if not windows[1:] or failed_for_the_node(result.all_events):
            raise _failed(windows, result)
    for window in windows:
        result = until_back(partial(run, [window]), _named([window]))
        if not result.success:
            raise _failed([window], result)
        yield [window], results


def _is_range(instance: dg.DagsterInstance, windows: Sequence[EpochWindow]) -> bool:
    """Whether Dagster takes the range for just these windows: it goes by when they were added."""
    if not windows[1:]:
        return True
    keys = [window.key for window in windows]
    known = list(instance.get_dynamic_partitions(str(epoch_windows.name)))
    first = known.index(keys[0]) if keys[0] in known else len(known)
    return known[first : first + len(keys)] == keys


def _named(windows: Sequence[EpochWindow]) -> str:
    """Windows that follow upon each other, at the begin of a sentence.

    >>> _named([EpochWindow(0)])
    'Window 000000-000099'
    >>> _named([EpochWindow(0), EpochWindow(100)])
    'Windows 000000-000099 to 000100-000199'
    """
    first, last = windows[0].key, windows[-1].key
    return f"Window {first}" if first == last else f"Windows {first} to {last}"


def _failed(windows: Sequence[EpochWindow], result: dg.ExecuteInProcessResult) -> RunFailedError:
    said = _named(windows)
    return RunFailedError(
        f"The run of {said[0].lower()}{said[1:]} failed: {_cause(result)} (the Dagster UI has the"
        f" log of run {result.run_id})."
    )


def _metadata_by_asset(
    result: dg.ExecuteInProcessResult, window: EpochWindow
) -> dict[str, Mapping[str, dg.MetadataValue[Any]]]:
    """By asset, what its materialization says of a window."""
    return {
        event.asset_key.path[-1]: event.materialization.metadata
        for event in result.get_asset_materialization_events()
        if event.asset_key is not None and event.partition == window.key
    }


def _window_run(window: EpochWindow, results: Sequence[dg.ExecuteInProcessResult]) -> WindowRun:
    """What was done for a window, in one run or in several."""
    read, calls, changed = 0, 0, Counter[str]()
    for result in results:
        for asset, told in _metadata_by_asset(result, window).items():
            changed[asset] += int(str(told["changed_rows"].value))
            if asset == "raw_epochs":
                read += int(str(told["epochs_read"].value))
                calls += int(str(told["rpc_calls"].value))
    return WindowRun(window, epochs_read=read, rpc_calls=calls, changed_rows=changed)


def _cause(result: dg.ExecuteInProcessResult) -> str:
    """Why the run failed, as the first failed step or else the run itself says."""
    cause = failed_step_cause(result.all_events)
    ends = [str(event.message) for event in result.all_events if event.is_run_failure]
    return (cause or next(iter(ends), "no step says why")).rstrip(".")
