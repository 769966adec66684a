"""What a check says of each window: who offends, and whether that can be borne."""

from collections.abc import Callable, Iterator, Mapping, Sequence

import dagster as dg
import psycopg

from operator_prices import store
from operator_prices.defs.partitions import known_windows, windows_of
from operator_prices.epochs.windows import EpochWindow

OFFENDERS_NAMED = 20
"""As many offenders are in the metadata of a check; all are counted."""

Offenders = Sequence[Mapping[str, object]]


WARNINGS = {
    *("quarantine_empty", "price_as_recomputed", "stake_per_share_never_falls"),
    *("nominators_understood", "nominators_as_listed"),
}
"""Checks of what is remarkable, and need not be wrong."""


Offending = Callable[[dg.AssetCheckSpec, EpochWindow], Offenders]


def verdicts(
    context: dg.AssetCheckExecutionContext,
    windows: Sequence[EpochWindow],
    specs: Sequence[dg.AssetCheckSpec],
    found: Offending,
    *,
    tolerated: int = 0,
) -> Iterator[dg.AssetCheckEvaluation | dg.Output[None]]:
    """Evaluate those of the checks that were asked for, in each of the `windows_asked`.

    Each evaluation names its window: an `AssetCheckResult` has none to name, and in a run of
    several windows it would leave all of them waiting for their verdict for ever. A run without
    partitions, as *Execute all* asks for, is about all windows, and says one thing more of them
    together.
    """
    run = context.op_execution_context
    for spec in specs:
        if spec.key not in run.selected_asset_check_keys:
            continue
        together: list[Mapping[str, object]] = []
        all_passed = True
        for window in windows:
            offenders = found(spec, window)
            bearable = all("fault" not in one for one in offenders)
            passed = not offenders or (bearable and len(offenders) <= tolerated)
            together += offenders
            all_passed = all_passed and passed
            yield evaluation(spec, window.key, offenders, passed=passed)
        if not run.has_partitions:
            yield evaluation(spec, None, together, passed=all_passed)
        yield dg.Output(None, output_name=spec.get_python_identifier())


def windows_asked(context: dg.AssetCheckExecutionContext) -> list[EpochWindow]:
    """The windows of a run, in ascending order; of one without partitions all there are."""
    partitioned = context.op_execution_context.has_partitions
    return windows_of(context) if partitioned else known_windows(context.instance)


def queried(database: psycopg.Connection) -> Offending:
    """Offenders are what the check's query finds."""
    return lambda spec, window: store.offenders(database, spec.name, window)


def evaluation(
    spec: dg.AssetCheckSpec,
    partition: str | None,
    offenders: Offenders,
    *,
    passed: bool,
) -> dg.AssetCheckEvaluation:
    """What was found in one window, or without a partition in all of them."""
    warning = spec.name in WARNINGS
    return dg.AssetCheckEvaluation(
        asset_key=spec.asset_key,
        check_name=spec.name,
        passed=passed,
        partition=partition,
        blocking=spec.blocking,
        severity=dg.AssetCheckSeverity.WARN if warning else dg.AssetCheckSeverity.ERROR,
        description=None if passed else in_words(offenders),
        metadata={
            "offenders": len(offenders),
            "first": dg.MetadataValue.json([dict(one) for one in offenders[:OFFENDERS_NAMED]]),
        },
    )


def in_words(offenders: Offenders) -> str:
    """The first offenders, as an alert says them.

    >>> in_words([{"epoch": 7, "operator_id": 3, "stored": "5", "expected": "4"}])
    'epoch 7, operator 3: 5 instead of 4'
    """
    said = []
    for one in offenders[:3]:
        text = f"epoch {one['epoch']}"
        if one.get("operator_id") is not None:
            text += f", operator {one['operator_id']}"
        if one.get("fault"):
            text += f", {one['fault']}"
        if one.get("stored") is not None or one.get("expected") is not None:
            text += (
                f": {one.get('stored') or 'nothing'} instead of {one.get('expected') or 'nothing'}"
            )
        said.append(text)
    rest = len(offenders) - len(said)
    return "; ".join(said) + (f"; and {rest} more" if rest > 0 else "")
