"""What the chain stores of an account with an operator, one value each, as it crosses the port."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

import polars as pl

from operator_prices.amounts import PERBILL
from operator_prices.chain.port import NOMINATORS

Pair = tuple[int, str]
"""An operator, and the account as `0x` and 64 digits."""


class Unlocking(NamedTuple):
    block: int
    amount: int
    storage_fee_refund: int


class Entry(NamedTuple):
    """What the chain stores of a pair; the columns of `NOMINATORS` after its key."""

    shares: int | None = None
    storage_fee_deposit: int | None = None
    pending_epoch: int | None = None
    pending: int | None = None
    pending_storage_fee: int | None = None
    unlocking: tuple[Unlocking, ...] | None = None
    withdrawing_epoch: int | None = None
    withdrawing_block: int | None = None
    withdrawing_shares: int | None = None
    withdrawing_storage_fee: int | None = None
    on_hold: int | None = None

    @property
    def storage_fees(self) -> int:
        return (self.storage_fee_deposit or 0) + (self.pending_storage_fee or 0)

    def deposited_in(self, epoch: int) -> int:
        return (self.pending or 0) if self.pending_epoch == epoch else 0

    def withdrawn_in(self, epoch: int) -> int:
        return (self.withdrawing_shares or 0) if self.withdrawing_epoch == epoch else 0

    def is_due(self, domain_block: int) -> bool:
        """Whether something of it may be unlocked at a block of the domain."""
        return any(block <= domain_block for block in self.blocks)

    @property
    def blocks(self) -> list[int]:
        """The blocks of the domain that something waits for."""
        blocks = [one.block for one in self.unlocking or ()]
        if self.withdrawing_block is not None:
            blocks.append(self.withdrawing_block)
        return blocks

    def action_since(self, before: "Entry", epoch: int) -> int | None:
        """The epoch of the one action that seems to have made this of what it was at an epoch.

        None where there were several, or none that shows. An action dates what it leaves; fees,
        what is held and what waits say whether there was another. One of the epoch itself was done
        at its very close.
        """
        dated = {self.pending_epoch, self.withdrawing_epoch}
        dated -= {None, before.pending_epoch, before.withdrawing_epoch}
        since = {of for of in dated if of is not None and of >= epoch}
        fees, paid = before.storage_fees, 0
        if self.withdrawing_epoch in since:
            fees -= fees * _part(self.withdrawing_shares or 0, self.shares or 0) // PERBILL
        if self.pending_epoch in since:
            paid = self.pending or 0
        waiting = len(before.unlocking or ()) + (before.withdrawing_epoch is not None)
        is_one = (
            (before == NOTHING or (before.on_hold is None) == (self.on_hold is None))
            and fees == (self.storage_fee_deposit or 0)
            and paid == (self.on_hold or 0) - (before.on_hold or 0)
            and len(self.unlocking or ()) <= waiting
        )
        return since.pop() if is_one and len(since) == 1 else None

    def has_unlocked(self, before: "Entry") -> bool:
        """Whether something that waited before has gone; what is due goes all at once."""
        return bool(Counter(before.blocks) - Counter(self.blocks))

    def is_as(self, before: "Entry") -> bool:
        """Whether this is what was there before but for what waits for its block."""
        kept, had = (
            (one.shares or 0, one.storage_fees, one.pending_epoch, one.pending or 0)
            for one in (self, before)
        )
        return kept == had and not Counter(self.blocks) - Counter(before.blocks)


def _part(taken: int, left: int) -> int:
    """What part of shares was taken, in parts of 10^9 as the chain rounds them."""
    return taken * PERBILL // (taken + left) if taken else 0


NOTHING = Entry()

UNLOCKING = Entry._fields.index("unlocking")


Prices = Mapping[tuple[int, int | None], int]
"""Share prices in perquintills by operator and epoch."""


def frame(rows: Iterable[tuple[int, Pair, Entry]], prices: Prices) -> pl.DataFrame:
    """Rows of `NOMINATORS`, with the prices that are there."""
    return pl.DataFrame(
        [
            (
                *(epoch, *pair),
                *(_plain(value) for value in entry),
                prices.get((pair[0], entry.pending_epoch)),
                prices.get((pair[0], entry.withdrawing_epoch)),
            )
            for epoch, pair, entry in rows
        ],
        schema=NOMINATORS,
        orient="row",
    )


def entries_of(entries_before: pl.DataFrame) -> dict[Pair, Entry]:
    """The entries of a frame with the columns of `NOMINATORS`, with or without `epoch`."""
    return {pair: entry for _, pair, entry in _rows(entries_before.with_columns(epoch=pl.lit(0)))}


def histories_of(changes: pl.DataFrame) -> dict[Pair, list[tuple[int, Entry]]]:
    """The entries of each pair in a frame of `NOMINATORS`, by the epoch from which they hold."""
    found: dict[Pair, list[tuple[int, Entry]]] = {}
    for epoch, pair, entry in _rows(changes.sort("epoch")):
        found.setdefault(pair, []).append((epoch, entry))
    return found


def _rows(changes: pl.DataFrame) -> Iterator[tuple[int, Pair, Entry]]:
    columns = ("epoch", "operator_id", "nominator", *Entry._fields)
    for epoch, operator, nominator, *values in changes.select(columns).iter_rows():
        if values[UNLOCKING] is not None:
            values[UNLOCKING] = tuple(Unlocking(**one) for one in values[UNLOCKING])
        yield epoch, (operator, nominator), Entry(*values)


def _plain(value: object) -> object:
    return [one._asdict() for one in value] if isinstance(value, tuple) else value
