"""What a reader of the chain must find, noted down while the chain was played."""

from dataclasses import dataclass, field
from typing import NamedTuple

from operator_prices.devchain.records import Operator
from operator_prices.devchain.staking import Staking


class OperatorTruth(NamedTuple):
    """An operator that has an entry at an epoch's end block. Amounts in Shannons."""

    price: int | None
    """The price the transition block stores for the epoch, Perquintill."""
    shares: int
    stake: int
    active_stake: int
    """The stake that counts in this epoch's summary, 0 when not active."""
    reward: int
    tax: int
    """Percent."""
    status: str
    storage_fee_deposit: int
    minimum_nominator_stake: int
    owner: bytes
    signing_key: bytes
    shares_after: int | None
    """At the transition block; `None` when the operator is gone by then."""
    stake_after: int | None

    @property
    def published_price(self) -> int | None:
        """The stored price, else the one that follows from the end block, if there is one."""
        if self.price is not None:
            return self.price
        stake = self.stake + self.reward - self.reward * self.tax // 100
        return self.shares * 10**18 // stake or None if stake else None


class Totals(NamedTuple):
    """What a block's state says of the domain as a whole. Amounts in Shannons."""

    stake: int
    treasury: int
    chain_rewards: int


@dataclass(slots=True)
class EpochTruth:
    """A completed epoch of domain 0 and its operators, by id."""

    epoch: int
    end_block: int
    end_hash: str
    timestamp: int
    """`Timestamp.Now` of the end block, Unix milliseconds."""
    spec_version: int
    """Of the runtime that executed the end block."""
    transition_block: int
    transition_hash: str
    transition_spec_version: int
    transition_timestamp: int
    total_stake: int
    """The summary's `current_total_stake` at the end block."""
    treasury: int
    chain_rewards: int
    after: Totals
    """The same three at the transition block."""
    rewards: dict[int, int]
    """The summary's `current_epoch_rewards`, those of operators that are gone included."""
    operators: dict[int, OperatorTruth] = field(default_factory=dict)


Before = dict[int, tuple[Operator, bytes]]


def operators_truth(
    staking: Staking,
    epoch: int,
    before: Before,
    active: dict[int, int],
    rewards: dict[int, int],
) -> dict[int, OperatorTruth]:
    """The operators of `before` the transition block, with what that block made of them."""
    found = {}
    for operator_id, (operator, owner) in before.items():
        after = staking.operator(operator_id)
        found[operator_id] = OperatorTruth(
            price=staking.price(operator_id, epoch),
            shares=operator.current_total_shares,
            stake=operator.current_total_stake,
            active_stake=active.get(operator_id, 0),
            reward=rewards.get(operator_id, 0),
            tax=operator.nomination_tax,
            status=operator.partial_status.name,
            storage_fee_deposit=operator.total_storage_fee_deposit,
            minimum_nominator_stake=operator.minimum_nominator_stake,
            owner=owner,
            signing_key=operator.signing_key,
            shares_after=after.current_total_shares if after else None,
            stake_after=after.current_total_stake if after else None,
        )
    return found
