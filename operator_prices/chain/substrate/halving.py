"""Find out where entries have changed, by halves: at each position everything is asked for once."""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

from operator_prices.chain.entries import Entry, Pair
from operator_prices.chain.substrate.asking import Asked
from operator_prices.chain.substrate.histories import BEFORE, Histories
from operator_prices.chain.substrate.storage import State

MayChange = Callable[[Entry, Entry, int], bool]
"""Whether an entry can have become another one, which it is by a position, in between."""


def always(_before: Entry, _after: Entry, _until: int) -> bool:
    """Any entry can have become another one by any position."""
    return True


@dataclass(frozen=True, slots=True)
class Ends:
    """What is known of the end blocks of some epochs, by position."""

    heads: Sequence[int]
    """The newest block of the domain by then."""
    versions: Sequence[int]
    """The runtime by which the chain has made what is there."""
    version_before: int | None
    """That of what there was before the first; None where nobody knows."""

    @classmethod
    def of(cls, ends: Sequence[State], asked: Asked) -> "Ends":
        """End blocks of which the first tells what there was before, too."""
        versions = [end.spec_version for end in ends]
        return cls([asked.head_of(end) for end in ends], versions, versions[0])

    def is_upgraded(self, low: int, high: int) -> bool:
        """Whether another runtime may have come between two positions."""
        before = self.version_before if low == BEFORE else self.versions[low]
        return before != self.versions[high]

    @property
    def upgrades(self) -> list[int]:
        """The positions whose runtime is another one than at the end block before."""
        return [at for at in range(len(self.versions)) if self.is_upgraded(at - 1, at)]


class _Span(NamedTuple):
    """Two positions between which a pair has changed, and the one that divides them."""

    pair: Pair
    low: int
    middle: int
    high: int


class Halving:
    """What is to be read next of pairs that have changed between two of the candidates.

    Of what lies between, that is read first by which most can be divided; so all pairs are read at
    the same positions, and at each position once. With `ends` what entries say themselves is
    believed.
    """

    def __init__(
        self,
        histories: Histories,
        candidates: Sequence[int],
        may_change: MayChange = always,
        ends: Ends | None = None,
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

    def _told(self, pair: Pair, low: int, high: int, ends: Ends) -> bool:
        """Whether entries say themselves where a pair has changed.

        Nothing is unlocked before its block: where that has just come, it was now. What another
        runtime has made of an entry says nothing.
        """
        if ends.is_upgraded(low, high):
            return False
        seen = self._histories.seen(pair)
        before, after = seen[low], seen[high]
        if not (before.is_due(ends.heads[high]) and after.has_unlocked(before)):
            return self._histories.believe(pair, low, high)
        return after.is_as(before) and not before.is_due(ends.heads[high - 1])


def _roundest(first: int, last: int) -> int:
    """Which of two numbers and those between is divisible by the highest power of two.

    >>> _roundest(3, 6), _roundest(5, 5), _roundest(9, 15)
    (4, 5, 12)
    """
    shift = ((first - 1) ^ last).bit_length() - 1
    return last >> shift << shift
