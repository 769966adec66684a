"""Find out where entries have changed, by halves: at each position everything is asked for once."""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import NamedTuple

from operator_prices.chain.entries import Entry, Pair
from operator_prices.chain.substrate.histories import BEFORE, Histories

MayChange = Callable[[Entry, Entry, int], bool]
"""Whether an entry can have become another one, which it is by a position, in between."""


def always(_before: Entry, _after: Entry, _until: int) -> bool:
    """Any entry can have become another one by any position."""
    return True


class End(NamedTuple):
    """An end block: the newest block of the domain by then, and the runtime."""

    head: int
    spec_version: int


class _Span(NamedTuple):
    """Two positions between which a pair has changed, and the one that divides them."""

    pair: Pair
    low: int
    middle: int
    high: int


class Halving:
    """What is to be read next of pairs that have changed between two of the candidates.

    Of what lies between, that is read first by which most can be divided; so all pairs are read at
    the same positions, and at each position once. With `ends`, the end blocks by position, what
    entries say themselves is believed.
    """

    def __init__(
        self,
        histories: Histories,
        candidates: Sequence[int],
        may_change: MayChange = always,
        ends: Sequence[End] | None = None,
    ) -> None:
        self._histories = histories
        self._candidates = candidates
        self._may_change = may_change
        self._ends = ends
        positions = range(BEFORE, len(histories.epochs) + 1)
        self._below = {at: bisect_left(candidates, at) for at in positions}
        """How many candidates are below a position."""
        self._waiting: defaultdict[int, list[_Span]] = defaultdict(list)
        """The spans by the power of two that divides the number of their middle."""
        self._asked: list[_Span] = []

    def look_at(self, pairs: Iterable[Pair]) -> None:
        """Divide whatever lies between two positions at which these were read."""
        for pair in pairs:
            seen = self._histories.seen(pair)
            if len(seen) > 1:
                for low, high in pairwise(sorted(seen)):
                    self._divide(pair, low, high)

    def wanted(self) -> dict[int, list[Pair]]:
        """Whom to read where next, once what was wanted before has been read; none in the end."""
        for pair, low, middle, high in self._asked:
            if middle in self._histories.seen(pair):  # else it is in quarantine there
                self._divide(pair, low, middle)
                self._divide(pair, middle, high)
        self._asked = self._waiting.pop(max(self._waiting)) if self._waiting else []
        found: defaultdict[int, list[Pair]] = defaultdict(list)
        for span in self._asked:
            found[span.middle].append(span.pair)
        return found

    def _divide(self, pair: Pair, low: int, high: int) -> None:
        first, last = self._below[low + 1], self._below[high]
        if first == last:
            return
        seen = self._histories.seen(pair)
        if seen[low] == seen[high] or not self._may_change(seen[low], seen[high], high):
            return
        if self._ends is not None and self._told(pair, low, high, self._ends):
            return
        nth = _roundest(first + 1, last)
        middle = self._candidates[nth - 1]
        if not self._histories.was_read(middle, pair):
            self._waiting[nth & -nth].append(_Span(pair, low, middle, high))

    def _told(self, pair: Pair, low: int, high: int, ends: Sequence[End]) -> bool:
        """Whether entries say themselves where a pair has changed.

        Nothing is unlocked before its block: where that has just come, it was now. What another
        runtime has made of an entry says nothing.
        """
        if ends[max(0, low)].spec_version != ends[high].spec_version:
            return False
        seen = self._histories.seen(pair)
        before, after = seen[low], seen[high]
        if not (before.is_due(ends[high].head) and after.has_unlocked(before)):
            return self._histories.believe(pair, low, high)
        return after.is_as(before) and not before.is_due(ends[high - 1].head)


def _roundest(first: int, last: int) -> int:
    """Which of two numbers and those between is divisible by the highest power of two.

    >>> _roundest(3, 6), _roundest(5, 5), _roundest(9, 15)
    (4, 5, 12)
    """
    shift = ((first - 1) ^ last).bit_length() - 1
    return last >> shift << shift
