"""What a development chain is to play: its size, its pace and its irregularities."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Literal


class Layout(StrEnum):
    """How a runtime lays out operators and share prices, oldest first."""

    PERBILL_REWARDS = "perbill-rewards"
    """`Operators` carries `current_epoch_rewards`, four statuses, prices of four bytes.

    There is no `DepositOnHold`, and `Withdrawals` has no `total_storage_fee_withdrawal`.
    """
    PERBILL = "perbill"
    """Five statuses, prices of four bytes."""
    PERQUINTILL = "perquintill"
    """Six statuses, prices of eight bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Upgrade:
    """A runtime upgrade, carried by a given block or by one of an epoch's blocks."""

    layout: Layout
    block: int | None = None
    epoch: int | None = None
    at: Literal["middle", "end", "transition"] = "middle"
    """Which block of `epoch`: where its 30th domain block is, its last, or the one that ends it."""

    def __post_init__(self) -> None:
        if (self.block is None) == (self.epoch is None):
            raise ValueError("an upgrade is carried either by a block or by an epoch: name one")


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """A whole history, determined by these values: the same scenario gives the same hashes."""

    epochs: int = 240
    """Epochs of domain 0 that are over when the chain starts."""
    operators: int = 8
    careers_over: int | None = None
    """Epochs that the operators' careers are spread over, None for `epochs`.

    Two chains of one seed tell the same history only if they agree on this.
    """
    seed: int = 1
    """Another seed is another chain, from its genesis hash on."""
    seconds_per_block: float = 0.5
    """Pace of new blocks while served, 0 for none. Half a second ends an epoch a minute."""
    blocks_after: int = 150
    """Blocks that follow the last transition block; the last epoch is completed after 100."""
    created: int = 40
    """The block that creates domain 0."""
    locking_epochs: int = 40
    """Epochs for which what is withdrawn, or staked on an operator that leaves, stays locked.

    Constant `StakeWithdrawalLockingPeriod` in domain blocks, a hundred an epoch; metadata from a
    file has its own.
    """
    nominators: int = 0
    """A crowd of further nominators of domain 0, each of whom stakes on an operator."""
    acting_per_mille: int = 10
    """How many of a thousand of the crowd act in an epoch."""
    forced: tuple[int, ...] = (60,)
    """Epochs that root ends early."""
    missed: tuple[int, ...] = ()
    """Epochs that run on over one multiple, 200 domain blocks in all."""
    jumps: tuple[int, ...] = ()
    """Epochs whose transition block raises the index by two: the following epoch has no blocks."""
    late_reward_every: int = 11
    """Every so many epochs the transition block adds to the rewards it finalizes, 0 for never."""
    layout: Layout = Layout.PERQUINTILL
    """Layout of the first runtime."""
    upgrades: tuple[Upgrade, ...] = ()
    four_byte_prices: frozenset[tuple[int, int]] = frozenset()
    """Prices, by operator and epoch, that stay a `Perbill` of four bytes in every layout."""
    other_domain_operators: int = 0
    """How many further operators serve domain 1, in the same maps."""
    keep_states: int | None = None
    """A pruned node: states further than this below the head are discarded."""
    first_block: int = 1
    """A node that was synced from this block: of those between it and the genesis it has none."""
    finality_lag: int = 600
    """Blocks between the best and the finalized head, which moves 100 blocks at a time."""
    metadata: Path | None = None
    """A file with the V14 metadata to serve instead of our own, with or without a length prefix."""

    def __post_init__(self) -> None:
        if self.epochs < 0 or self.operators < 1:
            raise ValueError("a chain has at least one operator and no negative number of epochs")
        if self.nominators < 0 or not 0 <= self.acting_per_mille <= 1000:  # noqa: PLR2004
            raise ValueError("of a crowd of 0 or more nominators 0 to 1000 of a thousand may act")
        if self.created < 2:  # noqa: PLR2004
            raise ValueError("the domain is created after the first block, at block 2 or later")
        irregular = {*self.forced, *self.missed}
        if any(one.at == "end" and one.epoch in irregular for one in self.upgrades):
            raise ValueError(
                "the end block of a forced or overlong epoch cannot be told beforehand"
            )
        if self.metadata is not None and self.upgrades:
            raise ValueError("metadata from a file is of one runtime: leave out the upgrades")
