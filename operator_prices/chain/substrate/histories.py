"""What is believed of nominators over some epochs, and where their operators' totals contradict."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import polars as pl

from operator_prices.chain.entries import NOTHING, Entry, Pair, frame
from operator_prices.chain.port import AMOUNT, TOTALS, Nominators

BEFORE = -1
"""The position of the end block before the first epoch."""


PAIRS_OF_ONE, PAIRS_OF_MANY = 15_000, 4_000
"""Accounts whose three keys are asked for in one message, whose answer has 15 MB at most: of one
epoch by itself, and of many, where memory matters more than some messages."""

ToRead = list[tuple[int, list[Pair]]]
"""Positions, and the pairs that are read there by one request."""


class Totals(NamedTuple):
    """What an operator's entry says of all its nominators; None where its layout does not tell."""

    storage_fees: int | None
    deposited: int | None
    """In this epoch, net of the storage fee."""
    withdrawn: int | None
    """In this epoch, in shares."""
    status: str | None
    is_new: bool = False
    """In the epoch of its registration what is paid in is shares at once, and in the sum all the
    same."""


Rest = tuple[int | None, ...]
"""What is left of totals when what is believed of all nominators is taken from it."""

EXPLAINED: Rest = (0, 0, 0)

REGISTERED = "Registered"
"""The status of an operator whose epochs end."""


class Histories:
    """The entries of pairs where they were read, by the position of an epoch.

    In between nothing is believed to have changed but what was said to have; `acting` tells where
    that cannot be.
    """

    def __init__(self, epochs: Sequence[int], before: Mapping[Pair, Entry], since: int) -> None:
        self.epochs = epochs
        self._since = since
        """The epoch of the block before."""
        self._position = {epoch: position for position, epoch in enumerate(epochs)}
        self._seen: dict[Pair, dict[int, Entry]] = {}
        self._of_operator: defaultdict[int, set[Pair]] = defaultdict(set)
        self._read: set[tuple[int, Pair]] = set()
        self._absent: defaultdict[Pair, list[int]] = defaultdict(list)
        """Where there was nothing of pairs of which nothing is known yet."""
        self._believed: defaultdict[int, dict[Pair, set[int]]] = defaultdict(dict)
        """Where pairs of operators are believed to have what was read of them later."""
        self._settled: set[tuple[int, int]] = set()
        self.touched: set[int] = set()
        """Operators of whose accounts something has been read since somebody looked here."""
        for pair, entry in before.items():
            self._begin(pair, entry)

    def _begin(self, pair: Pair, entry: Entry) -> None:
        self._seen[pair] = {BEFORE: entry}
        self._of_operator[pair[0]].add(pair)

    def note(self, position: int, pair: Pair, entry: Entry | None) -> None:
        """What was read of a pair; what could not be understood, None, is believed as before."""
        self._read.add((position, pair))
        self.touched.add(pair[0])
        believed = self._believed[pair[0]].get(pair, set())
        if position in believed:
            believed.remove(position)
            del self._seen[pair][position]
        if entry is None:
            return
        if pair not in self._seen:
            if entry == NOTHING:
                self._absent[pair].append(position)
                return
            self._begin(pair, NOTHING)
            self._seen[pair] |= dict.fromkeys(self._absent.pop(pair, ()), NOTHING)
        self._seen[pair][position] = entry

    def believe(self, pair: Pair, low: int, high: int) -> bool:
        """Take it that a pair has changed once between two positions, if its entry says where."""
        seen = self._seen[pair]
        before, after = seen[low], seen[high]
        since = self._since if low == BEFORE else self.epochs[low]
        epoch = after.action_since(before, since)
        if epoch is None:
            return False
        at = low + 1 if epoch == since else self._position.get(epoch, BEFORE)
        if at == high:
            return True
        if not low < at < high or self.was_read(at, pair):
            return False
        seen[at] = after
        self._believed[pair[0]].setdefault(pair, set()).add(at)
        self.touched.add(pair[0])
        return True

    def doubtful(self, acting: Mapping[int, Sequence[int]]) -> dict[int, list[Pair]]:
        """Whom to read where, since operators' totals contradict what is believed there."""
        found: defaultdict[int, list[Pair]] = defaultdict(list)
        for operator, positions in acting.items():
            for pair, believed in self._believed[operator].items():
                for position in believed.intersection(positions):
                    found[position].append(pair)
        return found

    def settle(self, operator: int, position: int) -> None:
        """All that an operator's accounts have at a position has been read: it is as it is."""
        self._settled.add((operator, position))
        self.touched.add(operator)

    def was_read(self, position: int, pair: Pair) -> bool:
        return (position, pair) in self._read

    def unread(self, position: int, pairs: Iterable[Pair]) -> list[Pair]:
        """Those of pairs that have not been read at a position, each once."""
        return [pair for pair in dict.fromkeys(pairs) if not self.was_read(position, pair)]

    @property
    def at_once(self) -> int:
        """Accounts that are asked for in one message."""
        return PAIRS_OF_ONE if len(self.epochs) == 1 else PAIRS_OF_MANY

    @property
    def keys_at_once(self) -> int:
        return 3 * self.at_once

    def to_read(self, wanted: Mapping[int, Iterable[Pair]]) -> ToRead:
        """What is to be read of pairs at some positions, a request each."""
        found: ToRead = []
        for position, pairs in wanted.items():
            new = self.unread(position, pairs)
            found += [
                (position, new[at : at + self.at_once]) for at in range(0, len(new), self.at_once)
            ]
        return found

    def knows(self, pair: Pair) -> bool:
        return pair in self._seen

    @property
    def pairs(self) -> list[Pair]:
        return list(self._seen)

    def of_operator(self, operator: int) -> set[Pair]:
        return self._of_operator[operator]

    @property
    def by_operator(self) -> Mapping[int, set[Pair]]:
        return self._of_operator

    def at(self, pair: Pair, position: int) -> Entry:
        """What a pair is believed to have."""
        seen = self._seen.get(pair)
        return NOTHING if seen is None else seen[max(at for at in seen if at <= position)]

    def changed_at(self, position: int) -> list[Pair]:
        """Who is believed to have something else at a position than before."""
        return [one for one in self._seen if self.at(one, position) != self.at(one, position - 1)]

    def last(self) -> dict[Pair, Entry]:
        """What is there at the last epoch."""
        return {pair: entry for pair, entry in self.newest() if entry != NOTHING}

    def newest(self) -> Iterator[tuple[Pair, Entry]]:
        """What everybody has had last, nothing included."""
        return ((pair, seen[max(seen)]) for pair, seen in self._seen.items())

    def changes(self) -> Iterator[tuple[int, Pair, Entry]]:
        """The entries that are others than before, with the position at which they are."""
        for pair, seen in self._seen.items():
            for before, at in pairwise(sorted(seen)):
                if seen[before] != seen[at]:
                    yield at, pair, seen[at]

    def seen(self, pair: Pair) -> Mapping[int, Entry]:
        """What was read of a pair, by position."""
        return self._seen.get(pair, {})

    # --- what operators say of all their nominators ---

    def acting(
        self, operator: int, totals: Sequence[Totals | None], before: tuple[Rest, Totals | None]
    ) -> list[int]:
        """The positions at which somebody has acted of whom that is not known.

        `totals` by position, None where the operator is not there; `before` is what was left of
        them before the first, and those totals. What was left once and stays so is of the past.
        """
        found = []
        left, told_before = before
        for position, rest in enumerate(self._rests(operator, totals, told_before)):
            if (operator, position) not in self._settled and _tells(rest, left):
                found.append(position)
            left = rest
        return found

    def rest_before(self, operator: int, totals: Totals | None) -> Rest:
        """What was left of an operator's totals at the block before the first epoch."""
        entries = [self._seen[pair][BEFORE] for pair in self._of_operator[operator]]
        if totals is None:
            return (sum(entry != NOTHING for entry in entries),)
        rest = _rest(
            totals,
            sum(entry.storage_fees for entry in entries),
            sum(entry.deposited_in(self._since) for entry in entries),
            sum(entry.withdrawn_in(self._since) for entry in entries),
        )
        return rest if totals.status == REGISTERED else (rest[0], 0, 0)

    def _rests(
        self, operator: int, totals: Sequence[Totals | None], before: Totals | None
    ) -> Iterator[Rest]:
        size = len(self.epochs)
        fees, there = [0] * (size + 1), [0] * (size + 1)
        deposited, withdrawn = [0] * size, [0] * size
        for pair in self._of_operator[operator]:
            seen = self._seen[pair]
            for start, end in pairwise([*sorted(seen), size]):
                entry, first = seen[start], max(0, start)
                fees[first] += entry.storage_fees
                fees[end] -= entry.storage_fees
                there[first] += entry != NOTHING
                there[end] -= entry != NOTHING
                for amounts, epoch, amount in (
                    (deposited, entry.pending_epoch, entry.pending),
                    (withdrawn, entry.withdrawing_epoch, entry.withdrawing_shares),
                ):
                    at = self._position.get(BEFORE if epoch is None else epoch, BEFORE)
                    if first <= at < end:
                        amounts[at] += amount or 0
        fee = count = 0
        for position, told in enumerate(totals):
            fee += fees[position]
            count += there[position]
            if told is None:
                yield (count,)
            else:
                rest = _rest(told, fee, deposited[position], withdrawn[position])
                yield (rest[0], 0, 0) if _stands_still(before, told) else rest
            before = told


def _stands_still(before: Totals | None, now: Totals) -> bool:
    """Whether an operator's epochs do not end: what was moved then stays in the sums of the next.

    The storage fees tell of whatever is moved meanwhile. What was left is dated anew when the
    operator comes back, and then counts as what was moved there.
    """
    return before is not None and REGISTERED not in (before.status, now.status)


def _rest(totals: Totals, *believed: int) -> Rest:
    told = (totals.storage_fees, totals.deposited, totals.withdrawn)
    if totals.is_new:
        told = (totals.storage_fees, believed[1], totals.withdrawn)
    return tuple(
        None if amount is None else amount - known
        for amount, known in zip(told, believed, strict=True)
    )


def _tells(rest: Rest, before: Rest) -> bool:
    """Whether what is left of totals, and what was left before, tell that somebody has acted."""
    if None in rest:
        return True
    if len(rest) != len(EXPLAINED):
        return rest not in (before, (0,))
    if len(before) != len(EXPLAINED):
        before = EXPLAINED
    fees, *of_epoch = rest
    fees_before, *of_epoch_before = before
    return fees != fees_before or any(
        now not in (0, then) for now, then in zip(of_epoch, of_epoch_before, strict=True)
    )


def totals_of(operators: pl.DataFrame, epochs: Sequence[int]) -> dict[int, list[Totals | None]]:
    """What each operator says of its nominators, by the position of an epoch."""
    positions = {epoch: position for position, epoch in enumerate(epochs)}
    found: dict[int, list[Totals | None]] = {}
    new = (pl.col("shares") == pl.lit(0, AMOUNT)) & (pl.col("stake") == pl.lit(0, AMOUNT))
    for epoch, operator, *told in operators.select(
        *("epoch", "operator_id"),
        *("storage_fee_deposit", "deposits_in_epoch", "withdrawals_in_epoch", "status"),
        is_new=new.fill_null(value=False),
    ).iter_rows():
        of_operator = found.setdefault(operator, [None] * len(epochs))
        of_operator[positions[epoch]] = Totals(*told)
    return found


def nominators_at(
    epoch: int,
    version: int,
    entries: Mapping[Pair, Entry],
    totals: Mapping[int, Sequence[Totals | None]],
) -> Nominators:
    """What there is at the last of some epochs, for who reads the next ones."""
    there = [
        (operator, last.deposited, last.withdrawn, last.storage_fees, last.status)
        for operator, told in totals.items()
        if (last := told[-1]) is not None
    ]
    left = [(epoch, pair, entry) for pair, entry in entries.items()]
    told = pl.DataFrame(there, schema=TOTALS, orient="row")
    return Nominators(epoch, version, frame(left, {}), told)


@dataclass(frozen=True, slots=True)
class Followed:
    """What has changed, and what all nominators have at the last epoch."""

    nominators: pl.DataFrame
    epochs: pl.DataFrame
    after: Nominators
