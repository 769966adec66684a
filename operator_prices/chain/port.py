"""What the pipeline asks of a chain: the port and the types that cross it."""

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Protocol

import polars as pl

AMOUNT = pl.UInt128()
"""Shannons or shares: any `u128` of the chain, `NUMERIC(40,0)` in Postgres."""

EPOCH_FACTS = pl.Schema(
    {
        "epoch": pl.UInt32(),
        "end_block": pl.UInt32(),
        "end_hash": pl.String(),
        "timestamp": pl.UInt64(),
        "spec_version": pl.UInt32(),
        "total_stake": AMOUNT,
        "treasury_funds": AMOUNT,
        "chain_rewards": AMOUNT,
        "transition_block": pl.UInt32(),
        "transition_hash": pl.String(),
        "transition_timestamp": pl.UInt64(),
        "transition_spec_version": pl.UInt32(),
        "total_stake_after": AMOUNT,
        "treasury_funds_after": AMOUNT,
        "chain_rewards_after": AMOUNT,
    }
)
"""One row per epoch, at its end block and (`transition_*`, `*_after`) at its transition block.

Amounts in Shannons, timestamps in Unix milliseconds. Null is unknown, never zero.
"""

OPERATOR_FACTS = pl.Schema(
    {
        "epoch": pl.UInt32(),
        "operator_id": pl.UInt64(),
        "owner": pl.String(),
        "signing_key": pl.String(),
        "minimum_nominator_stake": AMOUNT,
        "nomination_tax": pl.UInt8(),
        "stake": AMOUNT,
        "shares": AMOUNT,
        "status": pl.String(),
        "deposits_in_epoch": AMOUNT,
        "withdrawals_in_epoch": AMOUNT,
        "storage_fee_deposit": AMOUNT,
        "active_stake": AMOUNT,
        "reward": AMOUNT,
        "stake_after": AMOUNT,
        "shares_after": AMOUNT,
        "status_after": pl.String(),
    }
)
"""One row per epoch and operator of the domain present at the end block.

`*_after` is what the transition block shows of it, null where it is gone by then.
"""

PRICE_FACTS = pl.Schema(
    {"epoch": pl.UInt32(), "operator_id": pl.UInt64(), "share_price_perq": pl.UInt64()}
)
"""One row per price of an epoch that the chain stored at the epoch's transition block."""

STAKING = pl.Schema(
    {
        "epoch": pl.UInt32(),
        "operator_id": pl.UInt64(),
        "active_stake": AMOUNT,
        "reward": AMOUNT,
        "is_next": pl.Boolean(),
    }
)
"""One row per operator that the staking summary of the end block names, null where it does not:
its active stake, its rewards of the epoch, and whether it is to be active in the next one."""

QUARANTINED = pl.Schema(
    {
        "epoch": pl.UInt32(),
        "block_hash": pl.String(),
        "item": pl.String(),
        "storage_key": pl.String(),
        "operator_id": pl.UInt64(),
        "spec_version": pl.UInt32(),
        "raw": pl.String(),
        "reason": pl.String(),
    }
)
"""One row per value that could not be understood, with its raw hex and the reason."""

SKIPPED = pl.Schema({"epoch": pl.UInt32(), "block": pl.UInt32(), "block_hash": pl.String()})
"""One row per epoch that has no end block, since one block moved the index by more than one."""


NOMINATORS = pl.Schema(
    {
        "epoch": pl.UInt32(),
        "operator_id": pl.UInt64(),
        "nominator": pl.String(),
        "shares": AMOUNT,
        "storage_fee_deposit": AMOUNT,
        "pending_epoch": pl.UInt32(),
        "pending": AMOUNT,
        "pending_storage_fee": AMOUNT,
        "unlocking": pl.List(
            pl.Struct({"block": pl.UInt32, "amount": AMOUNT, "storage_fee_refund": AMOUNT})
        ),
        "withdrawing_epoch": pl.UInt32(),
        "withdrawing_block": pl.UInt32(),
        "withdrawing_shares": AMOUNT,
        "withdrawing_storage_fee": AMOUNT,
        "on_hold": AMOUNT,
        "pending_price_perq": pl.UInt64(),
        "withdrawing_price_perq": pl.UInt64(),
    }
)
"""What the chain stores of an account with an operator, one row for each epoch at which that is
another than before.

`nominator` is the account as `0x` and 64 digits. `shares` to `pending_storage_fee` are of the entry
in `Deposits`, `unlocking` to `withdrawing_storage_fee` of that in `Withdrawals`, both as stored:
the chain converts what is pending lazily. `shares`, `unlocking` or `on_hold` is null where there is
no such entry, all of them where the account has nothing with the operator any more. The two prices
are those of `pending_epoch` and `withdrawing_epoch`, where the epochs before were not read and the
chain has them.
"""

NOMINATOR_EPOCHS = pl.Schema(
    {
        "epoch": pl.UInt32(),
        "end_hash": pl.String(),
        "listed": pl.Boolean(),
        "complete": pl.Boolean(),
        "head_domain_number": pl.UInt32(),
        "whole": pl.Boolean(),
    }
)
"""One row per epoch whose nominators were read, and whether all were listed at its end block.

`whole` says that nobody knew what there was before: the rows of that epoch are all there is.

`head_domain_number` is that of the newest domain block by then.
"""

ADDRESSES = pl.Schema({"nominator": pl.String(), "address": pl.String()})
"""The SS58 form of accounts, by the prefix of the chain."""

TOTALS = pl.Schema(
    {
        "operator_id": pl.UInt64(),
        "deposits_in_epoch": AMOUNT,
        "withdrawals_in_epoch": AMOUNT,
        "storage_fee_deposit": AMOUNT,
        "status": pl.String(),
    }
)
"""What an operator's own entry says of all its nominators together, and its status."""


@dataclass(frozen=True, slots=True)
class Nominators:
    """What all nominators have at the end block of the last epoch before those that are read."""

    epoch: int
    spec_version: int | None
    """The runtime that executed the block; None where nobody knows."""
    entries: pl.DataFrame
    """`NOMINATORS` without `epoch`."""
    totals: pl.DataFrame
    """`TOTALS` at the same block."""


class Listing:
    """Nobody knows what nominators have before the epochs that are read: all are listed."""


@dataclass(frozen=True, slots=True)
class EpochStates:
    """What the chain held at the close of some epochs."""

    epochs: pl.DataFrame
    operators: pl.DataFrame
    prices: pl.DataFrame
    staking: pl.DataFrame
    quarantined: pl.DataFrame
    skipped: pl.DataFrame
    nominators: pl.DataFrame
    nominator_epochs: pl.DataFrame
    nominators_quarantined: pl.DataFrame
    addresses: pl.DataFrame

    @classmethod
    @cache
    def empty(cls) -> "EpochStates":
        """No epochs at all."""
        return cls(
            *(
                pl.DataFrame(schema=schema)
                for schema in (
                    EPOCH_FACTS,
                    OPERATOR_FACTS,
                    PRICE_FACTS,
                    STAKING,
                    QUARANTINED,
                    SKIPPED,
                    NOMINATORS,
                    NOMINATOR_EPOCHS,
                    QUARANTINED,
                    ADDRESSES,
                )
            )
        )


@dataclass(frozen=True, slots=True)
class Head:
    """How far a chain is: its best block, and the block and epoch deep enough to be kept."""

    best_block: int
    gate_block: int
    last_completed_epoch: int | None
    late: str | None = None
    """Why the best block cannot be the newest of the chain, by its own pace; None if it can be."""


@dataclass(frozen=True, slots=True)
class Reach:
    """How far back a node goes: the first block it has a state of, and the first epoch to read."""

    first_block: int
    first_epoch: int


Before = Callable[[int], Nominators | Listing]
"""What all nominators had before an epoch."""


class Chain(Protocol):
    """A domain of a chain, read epoch by epoch."""

    @property
    def genesis_hash(self) -> str: ...

    @property
    def domain_id(self) -> int: ...

    @property
    def requests(self) -> int:
        """Messages sent to the node so far; several requests in one message, a batch, are one."""

    @property
    def calls(self) -> int:
        """Requests in these messages, each by itself, as rate limits count them."""

    def head(self) -> Head: ...

    def reach(self) -> Reach:
        """How far back the node goes, of several the one that goes back the farthest.

        An archive node has all epochs.
        """

    def block_hashes(self, blocks: Sequence[int]) -> list[str | None]:
        """The hashes of `blocks` on the chain as it is now.

        None where it is not that long, and before the first block that any endpoint has.
        """

    def count(self, block_hash: str, maps: Mapping[str, str]) -> dict[str, int]:
        """How many entries some maps of the pallet `Domains` have at a block, listed in pages.

        `maps` names the storage items, the answer is by the names that it has for them.
        """

    def read_each(
        self, pieces: Iterable[Iterable[int]], nominators: Before | None = None
    ) -> Generator[EpochStates, None, None]:
        """Read completed epochs piece by piece, the next pieces while one is being used.

        `pieces` is asked for some of the next ones before the first is given. An epoch that is not
        completed raises `ValueError`. Nominators are read if `nominators` says what they had before
        a piece, whose epochs must follow upon each other then; it is asked when the piece begins to
        be read, and again in its turn if it does not follow upon the piece before. What is found is
        what has changed.
        """
