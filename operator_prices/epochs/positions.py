"""What each nominator's position is at the epochs at which it changes, from entries and prices.

The chain converts lazily: here everything is converted at the epoch at which the chain would.
"""

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import NamedTuple

import orjson
import polars as pl

from operator_prices.amounts import ONE
from operator_prices.chain import NOTHING, Entry, Pair, Prices, Unlocking
from operator_prices.epochs import flows
from operator_prices.epochs.flows import NOTHING_MOVED, UNKNOWN, Flows
from operator_prices.epochs.shares import stake_to_shares
from operator_prices.epochs.tables import NOMINATOR_POSITIONS

UNTIL = "until_epoch"
"""The column that says until when a row holds, which depends on the next one."""

BEFORE_ALL = -1
"""The epoch before the first one, at which nobody has anything."""


class Position(NamedTuple):
    """The columns of the table from `ended` to `on_hold_raw`."""

    ended: bool = True
    shares: int = 0
    pending: int = 0
    withdrawing_shares: int = 0
    unlocking: tuple[Unlocking, ...] = ()
    storage_fee_deposit: int = 0
    on_hold: int | None = None


ENDED = Position()


@dataclass(frozen=True, slots=True)
class Told:
    """What must be known beside the entries."""

    epochs: Mapping[int, str]
    """The epochs to tell of, in ascending order, and where they are from."""
    previous: int | None
    """The known epoch before them, `BEFORE_ALL` at the first of all; None where there is none."""
    unconnected: frozenset[int]
    """Those of them whose epoch before is not known."""
    prices: Prices
    """Of ended epochs, as stored."""
    first_epochs: Mapping[int, int]
    """At which each operator is there first."""
    registered: AbstractSet[tuple[int, int]]
    """Operators with the epoch of their registration, whose price is there from then on."""
    deregistered: Mapping[int, int]
    """The epoch from which on an operator is."""
    taxed_owners: frozenset[Pair]


def positions(entries: Mapping[Pair, Sequence[tuple[int, Entry]]], told: Told) -> pl.DataFrame:
    """One row per change at `told.epochs` with the columns of `nominator_positions` but `UNTIL`.

    `entries` are those of each pair by the epoch from which on they hold, of the epochs that are
    told of and the last one before.
    """
    rows = [row for pair, of_pair in entries.items() for row in _Pair(pair, of_pair, told).rows()]
    told_of = {name: kind for name, kind in NOMINATOR_POSITIONS.columns.items() if name != UNTIL}
    return pl.DataFrame(rows, schema=told_of, orient="row")


class _Pair:
    def __init__(self, pair: Pair, entries: Sequence[tuple[int, Entry]], told: Told) -> None:
        self._pair = pair
        self._told = told
        self._from = [epoch for epoch, _ in entries]
        self._entries = [entry for _, entry in entries]

    def rows(self) -> Iterator[tuple[object, ...]]:
        told = self._told
        before = NOTHING if told.previous is None else self._entry(told.previous)
        position = ENDED if told.previous is None else self._position(before, told.previous)
        for epoch in self._candidates():
            entry = self._entry(epoch)
            after = self._position(entry, epoch)
            moved = self._moved(before, entry, epoch)
            if after != position or moved != NOTHING_MOVED:
                yield (*self._pair, epoch, *_columns(after), *moved, told.epochs[epoch])
            before, position = entry, after

    def _candidates(self) -> list[int]:
        """The epochs at which something may change: entries, and what the chain converts."""
        epochs = self._told.epochs
        found = set(self._from)
        left = self._told.deregistered.get(self._pair[0])
        for entry, begins in zip(self._entries, self._from, strict=True):
            for moved in (entry.pending_epoch, entry.withdrawing_epoch):
                if moved is not None:
                    found.add(self._first_after(max(moved, begins - 1)))
            if entry.withdrawing_epoch is not None and left is not None:
                found.add(self._first_after(max(left - 1, begins - 1)))
        return sorted(found & epochs.keys())

    def _first_after(self, epoch: int) -> int:
        """The first epoch after one; `BEFORE_ALL` where that is none of those that are told of."""
        previous = self._told.previous
        if previous is not None and previous > epoch:
            return BEFORE_ALL
        return next((one for one in self._told.epochs if one > epoch), BEFORE_ALL)

    def _entry(self, epoch: int) -> Entry:
        at = bisect_right(self._from, epoch)
        return self._entries[at - 1] if at else NOTHING

    def _moved(self, before: Entry, after: Entry, epoch: int) -> Flows:
        if before == after:
            return NOTHING_MOVED
        if epoch in self._told.unconnected:
            return UNKNOWN
        first = self._told.first_epochs.get(self._pair[0])
        taxed = self._pair in self._told.taxed_owners and epoch != first
        return flows.between(
            before, after, lambda of: self._price(of, epoch), epoch=epoch, taxed=taxed
        )

    def _position(self, entry: Entry, epoch: int) -> Position:
        if entry == NOTHING:
            return ENDED
        shares, pending = entry.shares or 0, entry.pending or 0
        leaving = entry.withdrawing_shares or 0
        price = self._price(entry.pending_epoch, epoch)
        if price is not None:
            shares, pending = shares + stake_to_shares(pending, price), 0

        def of_past(of: int | None) -> int | None:
            return None if of is None or of >= epoch else self._price(of, epoch)

        unlocking = flows.unlocking_of(entry, of_past)
        if of_past(entry.withdrawing_epoch) is not None:
            leaving = 0
        elif entry.withdrawing_epoch is not None and self._counts_again(entry, epoch):
            shares, leaving = shares + leaving, 0
        return Position(
            ended=False,
            shares=shares,
            pending=pending,
            withdrawing_shares=leaving,
            unlocking=tuple(unlocking),
            storage_fee_deposit=(entry.storage_fee_deposit or 0) + (entry.pending_storage_fee or 0),
            on_hold=entry.on_hold,
        )

    def _counts_again(self, entry: Entry, epoch: int) -> bool:
        """Shares taken out in an epoch that got no price count again once the operator has left."""
        left = self._told.deregistered.get(self._pair[0])
        return (
            left is not None
            and left <= epoch
            and entry.withdrawing_epoch is not None
            and entry.withdrawing_epoch < epoch
        )

    def _price(self, of: int | None, epoch: int) -> int | None:
        """The price of an epoch that the chain has stored by the end of another one.

        That of the epoch of an operator's registration is there from then on. If that was at the
        very close of an epoch, nobody has seen it there; the next one has a price of its own.
        """
        if of is None or of > epoch:
            return None
        operator = self._pair[0]
        first = self._told.first_epochs.get(operator)
        if of + 1 == first or (operator, of) in self._told.registered:
            return ONE
        return self._told.prices.get((operator, of)) if of < epoch else None


def _columns(position: Position) -> Iterator[object]:
    unlocking = [
        {
            "block": one.block,
            "amount": str(one.amount),
            "storage_fee_refund": str(one.storage_fee_refund),
        }
        for one in position.unlocking
    ]
    yield from (position.ended, position.shares, position.pending, position.withdrawing_shares)
    yield sum(one.amount for one in position.unlocking)
    yield orjson.dumps(unlocking).decode()
    yield from (position.storage_fee_deposit, position.on_hold)
