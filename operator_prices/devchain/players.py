"""Who plays in a domain: operators by position with their roles, and the accounts that stake."""

from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from typing import Literal

ACCOUNTS = 4
"""Accounts that may stake on an operator at any time: its owner, then three nominators."""

Role = Literal["steady", "quiet", "leaving", "slashed", "invalid", "deactivated"]
_ROLES: tuple[Role, ...] = ("steady", "quiet", "leaving", "slashed", "invalid", "deactivated")
_CAST = 24
"""Of so many operators the first ones have the roles, in this order, and the others are steady."""


@dataclass(frozen=True, slots=True)
class Players:
    """Who plays in a domain: operators by their position, which is the order they come in."""

    seed: int
    domain: int
    operators: int
    epochs: int
    locking_epochs: int
    late_reward_every: int
    crowd: int
    """Further nominators, each of whom stakes on one operator after the other."""
    acting_per_mille: int
    """How many of a thousand of them act in an epoch."""

    def enters(self, position: int) -> int:
        """Half of the operators are there from the first epoch, the others come one by one."""
        early = (self.operators + 1) // 2
        late = self.operators - early
        return 0 if position < early else max(1, (position - early + 1) * self.epochs // (2 * late))

    def role(self, position: int) -> Role:
        position %= _CAST
        return _ROLES[position] if position < len(_ROLES) else "steady"

    def turn(self, position: int) -> int:
        """The epoch in which the operator's role has its turn."""
        nth = 2 * (position % _CAST) + 5 * (position // _CAST)
        return self.enters(position) + 6 + self.epochs // 12 + nth

    def account(self, operator_id: int, number: int) -> bytes:
        return _drawn(self.seed, f"account {operator_id} {number}")

    @property
    def traveller(self) -> bytes:
        """The account that stakes on operator after operator, on several at a time."""
        return _drawn(self.seed, "traveller")

    def one_of_the_crowd(self, number: int) -> bytes:
        return _drawn(self.seed, f"nominator {number}")

    def signing_key(self, operator_id: int) -> bytes:
        return _drawn(self.seed, f"signing key {operator_id}")


@lru_cache(maxsize=1 << 15)
def _drawn(seed: int, what: str) -> bytes:
    return blake2b(f"{seed} {what}".encode(), digest_size=32).digest()
