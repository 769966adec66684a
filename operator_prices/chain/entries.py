"""What the chain stores of an account with an operator, one value each, as it crosses the port."""

from collections.abc import Iterable, Mapping
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
        blocks = [one.block for one in self.unlocking or ()]
        if self.withdrawing_block is not None:
            blocks.append(self.withdrawing_block)
        return any(block <= domain_block for block in blocks)


NOTHING = Entry()


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
    kept: dict[Pair, Entry] = {}
    for row in entries_before.select(*("operator_id", "nominator"), *Entry._fields).iter_rows(
        named=True
    ):
        pair = (row.pop("operator_id"), row.pop("nominator"))
        if row["unlocking"] is not None:
            row["unlocking"] = tuple(Unlocking(**one) for one in row["unlocking"])
        kept[pair] = Entry(**row)
    return kept


def _plain(value: object) -> object:
    return [one._asdict() for one in value] if isinstance(value, tuple) else value
