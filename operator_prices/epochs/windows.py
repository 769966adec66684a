"""Epoch windows: the unit in which the pipeline extracts, backfills and repairs."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Self

SIZE = 100


@dataclass(frozen=True, slots=True, order=True)
class EpochWindow:
    """`SIZE` consecutive epochs, aligned so that every epoch has exactly one window.

    >>> EpochWindow.containing(3_742).key
    '003700-003799'
    """

    first: int

    def __post_init__(self) -> None:
        if self.first < 0 or self.first % SIZE:
            raise ValueError(f"no window starts at epoch {self.first}")

    @classmethod
    def containing(cls, epoch: int) -> Self:
        return cls(epoch - epoch % SIZE)

    @classmethod
    def parse(cls, key: str) -> Self:
        digits = key.partition("-")[0]
        if not digits.isdecimal() or cls.containing(int(digits)).key != key:
            raise ValueError(f"{key!r} is not an epoch window")
        return cls(int(digits))

    @property
    def last(self) -> int:
        return self.first + SIZE - 1

    @property
    def key(self) -> str:
        """Zero-padded, so that sorting keys sorts epochs."""
        return f"{self.first:06}-{self.last:06}"


def between(first_epoch: int, last_epoch: int) -> Iterator[EpochWindow]:
    """Every window that holds an epoch of `first_epoch..last_epoch`."""
    start = EpochWindow.containing(first_epoch).first
    return (EpochWindow(first) for first in range(start, last_epoch + 1, SIZE))


def spans(
    windows: Iterable[EpochWindow], at_most: int | None = None
) -> Iterator[list[EpochWindow]]:
    """The same windows in the same order, those together that follow upon each other.

    >>> [[one.first for one in span] for span in spans([*between(0, 250), EpochWindow(500)])]
    [[0, 100, 200], [500]]
    >>> [len(span) for span in spans(between(0, 2499), 10)]
    [10, 10, 5]
    """
    span: list[EpochWindow] = []
    for window in windows:
        if span and (len(span) == at_most or span[-1].last + 1 != window.first):
            yield span
            span = []
        span.append(window)
    if span:
        yield span
