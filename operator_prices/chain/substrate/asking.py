"""What is read of nominators along with the blocks that close an epoch, at no further request."""

from collections.abc import Sequence

from operator_prices.chain.entries import Pair, entries_of
from operator_prices.chain.port import Listing, Nominators
from operator_prices.chain.substrate import keys
from operator_prices.chain.substrate.stakes import keys_of
from operator_prices.chain.substrate.storage import State, number

ALONG = 2000
"""Accounts times epochs that are asked for along with end blocks to see whether they unlock."""


class Asked:
    """What is asked for of nominators along with the blocks that close an epoch.

    Owners, who get their tax without anybody acting, and accounts of which something may be
    unlocked by then: neither shows in what an operator's entry says. Where these are many, they are
    asked for at the last of the epochs alone.
    """

    def __init__(
        self,
        before: Nominators | Listing,
        operators: Sequence[int],
        domain_id: int,
        epochs: Sequence[int],
    ) -> None:
        known = {} if isinstance(before, Listing) else entries_of(before.entries)
        self.domain_id = domain_id
        self._head = keys.of_domain("HeadDomainNumber", domain_id)
        self._operators = operators
        self._owners = keys.of_operators("OperatorIdOwner", operators)
        self._unlocking = {pair: entry for pair, entry in known.items() if entry.blocks}
        self._last_alone = len(self._unlocking) * len(epochs) > ALONG
        self._last = epochs[-1]

    def at_transition(self) -> list[str]:
        return [self._head, *self._owners]

    def at_end(self, epoch: int, transition: State) -> list[str]:
        asked = self.pairs(epoch, transition)
        return [self._head, *(key for pair in asked for key in keys_of(pair))]

    def pairs(self, epoch: int, transition: State) -> list[Pair]:
        """Whose keys are asked for at the end block of an epoch, before its transition block."""
        owners = [
            (operator, owner)
            for operator, key in zip(self._operators, self._owners, strict=True)
            if (owner := transition.values[key]) is not None
        ]
        if self._last_alone and epoch != self._last:
            return owners
        head = self.head_of(transition)
        due = [pair for pair, entry in self._unlocking.items() if entry.is_due(head)]
        return list(dict.fromkeys([*owners, *due]))

    def head_of(self, state: State) -> int:
        return number(state.values[self._head] or "0x")
