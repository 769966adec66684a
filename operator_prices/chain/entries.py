"""What the chain stores of an account with an operator, one value each, as it crosses the port."""

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

import polars as pl

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
        if self.withdrawing_block is not None and self.withdrawing_block <= domain_block:
            return True
        return any(one.block <= domain_block for one in self.unlocking or ())


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
