"""Epoch boundaries: which blocks end an epoch, told by the ledger of domain blocks or searched."""

from bisect import bisect_left
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, replace

LEDGER_REACH = 14_400
"""`ConsensusBlockHash` keeps this many domain blocks."""

BEFORE_THE_DOMAIN = -1
"""The epoch index of a block at which the domain does not exist yet."""

FAN = 4
"""Blocks that a search looks at in one round, which costs one round trip: fewer blocks make more
rounds, more blocks make more requests in all."""

FEW = 2
"""Candidates that are not worth a look of their own before they are read and verified."""

Indices = Callable[[Sequence[int]], Sequence[int]]
"""Block numbers to the domain's epoch index at each; `BEFORE_THE_DOMAIN` where there is none."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A block whose domain block is a multiple of the epoch duration, so it likely ends one.

    `expected_index` is the epoch index this block should show if every later candidate ended
    exactly one epoch.
    """

    block: int
    block_hash: str
    expected_index: int


def candidates(
    ledger: Mapping[int, str], *, head_domain_number: int, epoch_index: int, duration: int
) -> list[Candidate]:
    """Read the ledger as of an anchor block: oldest candidate first.

    `ledger` maps consensus block numbers below the anchor to hashes, one per domain block and
    without a hole; `head_domain_number` and `epoch_index` are those of the anchor's parent, so the
    i-th newest entry (i from 0) is domain block `head_domain_number - i`.
    """
    found = []
    index = epoch_index
    for number, block in zip(
        range(head_domain_number, 0, -1), sorted(ledger, reverse=True), strict=False
    ):
        if number % duration == 0:
            found.append(Candidate(block, ledger[block], index))
            index -= 1
    return found[::-1]


def shifts(expected: Sequence[Candidate], indices: Indices) -> list[int]:
    """How far each candidate's index is off its expected one.

    Looks at both ends, and between them only where the ends disagree: a forced transition or a
    missed multiple moves all older candidates alike. Two exceptions that cancel out between
    candidates that agree are left to the verification of each epoch, and so are `FEW` candidates.
    """
    found: dict[int, int] = {}

    def look(positions: Sequence[int]) -> None:
        new = [position for position in positions if position not in found]
        for position, index in zip(
            new, indices([expected[position].block for position in new]), strict=True
        ):
            found[position] = index - expected[position].expected_index

    if len(expected) <= FEW:
        return [0] * len(expected)
    look([0, len(expected) - 1])
    spans = [(0, len(expected) - 1)]
    while spans := [
        (low, high) for low, high in spans if high - low > 1 and found[low] != found[high]
    ]:
        middles = [(low + high) // 2 for low, high in spans]
        look(sorted(set(middles)))
        spans = [
            half
            for (low, high), middle in zip(spans, middles, strict=True)
            for half in ((low, middle), (middle, high))
        ]
    known = sorted(found)
    return [found[known[bisect_left(known, position)]] for position in range(len(expected))]


def corrected(told: Sequence[Candidate], near: range, indices: Indices) -> list[Candidate]:
    """`told` with the indices to expect after a look at the ends of those that `near` has.

    `near` are positions in `told`; what is older or newer is off as far as the nearest of them.
    """
    found = shifts([told[position] for position in near], indices) if near else [0]
    return [
        replace(one, expected_index=one.expected_index + found[_clamp(i - near.start, len(found))])
        for i, one in enumerate(told)
    ]


def likely(
    told: Sequence[Candidate], index: int, known: "IndexMap", tried: Container[Candidate]
) -> Candidate | None:
    """The candidate that likely is the first block to show `index`, None where none can be.

    That is the one which expects it, unless it is known to show another index: that one tells how
    many candidates on to look. One that has been tried and shows it was not the first; an older one
    may be. `told` is in the order of its blocks.
    """
    position = bisect_left(told, index, key=lambda one: one.expected_index)
    visited: set[int] = set()
    while told and (position := _clamp(position, len(told))) not in visited:
        visited.add(position)
        shown = known.at(told[position].block)
        guess = replace(told[position], expected_index=index)
        if shown in {None, index} and guess not in tried:
            return guess
        position += index - shown if shown is not None and shown != index else -1
    return None


def _clamp(position: int, length: int) -> int:
    return max(0, min(position, length - 1))


class IndexMap:
    """What is known of the epoch index at blocks: it never falls from a block to a later one."""

    def __init__(self, known: Mapping[int, int] | None = None) -> None:
        self._index = dict(known or {0: BEFORE_THE_DOMAIN})

    @property
    def known(self) -> Mapping[int, int]:
        """Blocks and the index at each."""
        return self._index

    def learn(self, block: int, index: int) -> None:
        self._index[block] = index

    def learn_all(self, known: Mapping[int, int]) -> None:
        self._index |= known

    def at(self, block: int) -> int | None:
        """The index at `block`, None where it is not known."""
        return self._index.get(block)

    def below(self, index: int) -> int:
        """The highest block known to be under `index`."""
        return max(block for block, known in self._index.items() if known < index)

    def reaching(self, index: int) -> int | None:
        """The lowest block known to have reached `index`, or None."""
        return min((block for block, known in self._index.items() if known >= index), default=None)

    def estimate(self, index: float) -> int:
        """The block at which `index` is likely reached, in a straight line between neighbours."""
        low = self.below(int(index) + 1)
        high = self.reaching(int(index) + 1)
        if high is None:
            return low
        low_index, high_index = self._index[low], self._index[high]
        share = (index - low_index) / (high_index - low_index)
        return min(high, max(low + 1, round(low + (high - low) * share)))


def first_block_at(index: int, known: IndexMap, indices: Indices) -> int:
    """The first block whose epoch index is at least `index`; some known block must have reached it.

    Narrows down between known neighbours, `FAN` blocks a round.
    """
    high = known.reaching(index)
    if high is None:
        raise ValueError(f"no block is known to have reached epoch index {index}")
    low = known.below(index)
    while high - low > 1:
        step = max(1, -(-(high - low) // (FAN + 1)))
        blocks = list(range(low + step, high, step))
        for block, found in zip(blocks, indices(blocks), strict=True):
            known.learn(block, found)
        low, high = known.below(index), known.reaching(index) or high
    return high
