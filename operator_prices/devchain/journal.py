"""What was done on a domain and accepted, in its order: the extrinsics of its blocks."""

from bisect import bisect_left
from operator import attrgetter
from typing import Literal, NamedTuple

Kind = Literal[
    "register", "deposit", "withdraw", "unlock", "deregister", "return", "leave", "slash"
]


class Act(NamedTuple):
    """One call that changed what accounts have with an operator."""

    block: int
    kind: Kind
    operator_id: int
    account: bytes
    """The nominator; the owner for what concerns the whole operator."""
    number: int
    """Percent of tax, Shannons paid in, shares withdrawn, or the newest domain block, by `kind`."""


class EpochEnd(NamedTuple):
    """The end of an epoch: what it did to the operators of the domain."""

    block: int
    epoch: int
    rewards: dict[int, int]
    """What each operator earned, tax included; those that nobody got are left out."""
    charges: dict[int, int]
    """What bundles took out of storage funds."""
    finalized: frozenset[int]
    """The operators whose deposits and withdrawals took effect."""
    price_unit: int


class Payout(NamedTuple):
    """What an account got back, in Shannons."""

    block: int
    operator_id: int
    account: bytes
    released: int
    minted: int
    refunded: int
    """From the storage fund."""


class Journal:
    """All acts of a domain, oldest first."""

    def __init__(self) -> None:
        self.acts: list[Act | EpochEnd] = []
        self.payouts: list[Payout] = []

    def cut(self, block: int) -> None:
        """Forget what was done at `block` and later."""
        number = attrgetter("block")
        del self.acts[bisect_left(self.acts, block, key=number) :]
        del self.payouts[bisect_left(self.payouts, block, key=number) :]
