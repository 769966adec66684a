"""Whether what is served is as new as the source: judged from epochs that are missing.

The pipeline notes down how far the source is each time it answers. Where it has not (an API over
imported snapshots alone), the time stamps of the epochs say how fast the next ones should come.
"""

from dataclasses import dataclass
from typing import Any, Literal

State = Literal["current", "past", "late", "stopped", "unknown", "empty"]

SILENT_SECONDS = 120
"""A source that has not answered for so long is not there: it is asked every 15 seconds."""

STILL_SECONDS = 300
"""A chain of six-second blocks whose best block has not moved for so long stands still."""

LATE_EPOCHS = 2
"""One completed epoch may be on its way to us; of two, one is late."""

STOPPED_EPOCHS = 6
"""Where only time stamps tell: so many epochs in a row do not take longer by chance."""

CONFIRMED = 2
"""Epochs after its own end at which the next one is here: it lasts one, and is confirmed by one."""


@dataclass(frozen=True, slots=True)
class Situation:
    """What is known of the newest epoch and of the source, in epochs, seconds and milliseconds."""

    epoch: int | None
    timestamp: int | None
    from_chain: bool | None
    now: float
    pace: int | None
    """How long an epoch usually lasts, by the chain's clock."""
    heard: float | None
    """For how long the source has not answered."""
    still: float | None
    """For how long its best block has not moved."""
    completed: int | None


@dataclass(frozen=True, slots=True)
class Verdict:
    """How fresh the data is, in a sentence for readers and one for whoever runs the site."""

    state: State
    sentence: str
    advice: str | None = None
    missing: int = 0


def judged(seen: Situation) -> Verdict:
    """What the newest stored epoch is worth."""
    if seen.epoch is None:
        return Verdict("empty", "No epoch is stored yet")
    if seen.heard is None:
        return _by_pace(seen)
    missing = max(0, -1 if seen.completed is None else seen.completed - seen.epoch)
    return _silent(seen, missing) or _following(seen, missing)


def _silent(seen: Situation, missing: int) -> Verdict | None:
    """What is said of a source that has stopped."""
    if seen.heard is not None and seen.heard > SILENT_SECONDS:
        return Verdict(
            "stopped",
            f"Stopped: the source has not answered for {duration(seen.heard)}",
            "See with `operator-prices status` whether the pipeline runs and its node answers.",
            missing,
        )
    if seen.still is not None and seen.still > STILL_SECONDS:
        return Verdict(
            "stopped",
            f"Stopped: the source has had no new block for {duration(seen.still)}",
            "The archive node stands still: see whether it has peers, or name another one in"
            " ARCHIVE_NODE_URL.",
            missing,
        )
    return None


def _following(seen: Situation, missing: int) -> Verdict:
    if missing >= LATE_EPOCHS:
        return Verdict(
            "late",
            f"Late: {missing} completed epochs are not here yet",
            "The pipeline is behind the chain: see its runs in the Dagster UI.",
            missing,
        )
    if _overdue(seen) >= STOPPED_EPOCHS:
        return Verdict(
            "past",
            f"Following a chain whose clock is {duration(_age(seen))} behind",
            "The node is synchronizing, or is a development chain: its blocks are of the past.",
        )
    return Verdict("current", "Up to date")


def _by_pace(seen: Situation) -> Verdict:
    if not seen.from_chain or not seen.pace:
        return Verdict(
            "unknown",
            "Stored data, no source is followed",
            "Only snapshots are stored: run `operator-prices up` with ARCHIVE_NODE_URL to follow a"
            " chain.",
        )
    missing = _overdue(seen)
    advice = "No pipeline has asked a node: run `operator-prices up`, which follows the chain."
    if missing >= STOPPED_EPOCHS:
        return Verdict("stopped", "Stopped: no epoch has come for long", advice, missing)
    if missing >= LATE_EPOCHS:
        return Verdict("late", f"Late: {missing} epochs should be here by now", advice, missing)
    return Verdict("current", "Up to date")


def _age(seen: Situation) -> float:
    """Seconds since the newest epoch ended; none where nobody knows when that was."""
    return 0.0 if seen.timestamp is None else max(0.0, seen.now - seen.timestamp / 1000)


def _overdue(seen: Situation) -> int:
    """How many epochs should have come since, by the clock and the chain's own pace."""
    if not seen.pace or not seen.from_chain:
        return 0
    return max(0, int(_age(seen) * 1000 // seen.pace) - CONFIRMED + 1)


def duration(seconds: float) -> str:
    """A span of time in its largest unit of which there are two or more.

    >>> duration(59), duration(600), duration(3 * 86400), duration(500 * 86400)
    ('59 seconds', '10 minutes', '3 days', '16 months')
    """
    for size, name in UNITS:
        if seconds >= 2 * size:
            return f"{int(seconds // size)} {name}"
    return f"{int(seconds)} seconds"


UNITS = (
    (31_556_952, "years"),
    (2_629_746, "months"),
    (86_400, "days"),
    (3_600, "hours"),
    (60, "minutes"),
)


def told(seen: Situation) -> dict[str, Any]:
    """The verdict as `/api/freshness` publishes it."""
    verdict = judged(seen)
    return {
        "state": verdict.state,
        "sentence": verdict.sentence,
        "missing": verdict.missing,
        "lastEpoch": seen.epoch,
        "lastTimestamp": seen.timestamp,
        "ageMilliseconds": None if seen.timestamp is None else round(_age(seen) * 1000),
        "epochMilliseconds": seen.pace,
        "completedEpoch": seen.completed,
    }
