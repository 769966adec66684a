"""The shapes of the answers, as the OpenAPI document tells them."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from operator_prices.web.freshness import State

PriceSource = Literal["chain", "derived", "legacy"]
Amounts = dict[str, str | None]
"""By the id of the operator."""


class Shape(BaseModel):
    """An object with these keys and no other."""

    model_config = ConfigDict(alias_generator=to_camel, extra="forbid", populate_by_name=True)


class EpochMeta(Shape):
    rewards_has_any: bool
    share_prices_has_any: bool
    sample_applied: bool
    share_prices_defaulted: list[str]


class Epoch(Shape):
    """An epoch in the shape of the old API."""

    domain_id: int
    epoch: int
    end_block: int
    timestamp: int | None
    total_stake: str | None
    storage_fees: str | None
    operator_stakes: Amounts
    rewards: Amounts
    operator_share_prices: Amounts
    operators: int | None
    meta: EpochMeta


class Health(Shape):
    """How many of the newest 500 epochs there are, and how many of them have rewards."""

    sample: int
    rewards_available: int
    normalized_data_available: bool


class SummaryMeta(Shape):
    share_prices_defaulted: list[str]


class Summary(Shape):
    """The latest epoch in short."""

    epoch: int
    end_block: int
    timestamp: int | None
    total_stake: str | None
    storage_fees: str | None
    rewards_total: str | None
    operator_share_prices: Amounts
    meta: SummaryMeta


class Misfit(Shape):
    """A value that could not be understood."""

    item: str
    storage_key: str | None
    reason: str
    source: str


class EpochFacts(Shape):
    """Everything about one epoch."""

    epoch: int
    domain_id: int | None
    end_block: int
    end_hash: str | None
    timestamp: int | None
    timestamp_from_chain: bool
    transition_block: int | None
    transition_hash: str | None
    spec_version: int | None
    source: str
    complete: bool
    total_stake: str | None
    total_shares: str | None
    network_stake_per_share: str | None
    storage_fees: str | None
    treasury_funds: str | None
    chain_rewards: str | None
    operator_count: int | None
    deposits: int | None
    withdrawals: int | None
    bundles: int | None
    operator_stakes: Amounts
    operator_active_stakes: Amounts
    operator_shares: Amounts
    rewards: Amounts
    share_prices_perq: Amounts
    stake_per_share: Amounts
    price_sources: dict[str, str | None]
    statuses: dict[str, str | None]
    quarantined: list[Misfit]
    previous: int | None
    next: int | None


class SharePrice(Shape):
    """An operator at an epoch: its end block, and the price at its close."""

    epoch: int
    operator_id: int
    timestamp: int | None
    share_price_perq: str | None
    stake_per_share: str | None
    stake: str | None
    shares: str | None
    reward: str | None
    nomination_tax: int | None
    status: str | None
    source: PriceSource | None


class OperatorEvent(Shape):
    """Something that has happened to an operator; `before` and `after` as the kind has them.

    Statuses, taxes in percent, owners, and of a price that stands still the epoch since when, and
    itself.
    """

    epoch: int
    kind: Literal[
        "registered",
        "known",
        "status",
        "slashed",
        "taxRaised",
        "taxLowered",
        "ownerChanged",
        "priceStill",
        "gone",
    ]
    before: str | None
    after: str | None
    text: str
    timestamp: int | None
    timestamp_from_chain: bool


class Earned(Shape):
    """What a stake has earned over a span of chain time."""

    earned: str = Field(alias="return")
    annualized: str
    from_epoch: int
    to_epoch: int
    milliseconds: int


class Operator(Shape):
    """What an operator is now, and its returns over 1, 7 and 30 days."""

    operator_id: int
    name: str | None
    color: str | None
    status: str | None
    is_active: bool | None
    owner: str | None
    signing_key: str | None
    nomination_tax: int | None
    minimum_nominator_stake: str | None
    first_seen_epoch: int | None
    last_seen_epoch: int | None
    epoch: int | None
    stake: str | None
    active_stake: str | None
    shares: str | None
    reward: str | None
    share_price_perq: str | None
    source: PriceSource | None
    stake_per_share: str | None
    returns: dict[str, Earned]


class Quarantined(Shape):
    epoch: int | None
    values: int


class Status(Shape):
    """What is stored, how old it is, and what of it could not be understood."""

    version: int
    changed_at: str
    genesis_hash: str | None
    domain_id: int | None
    epochs: int
    first_epoch: int | None
    last_epoch: int | None
    last_timestamp: int | None
    last_timestamp_from_chain: bool | None
    operators: int
    gaps: list[list[int]]
    skipped: list[int]
    incomplete: list[int]
    quarantined: list[Quarantined]


class Freshness(Shape):
    """Whether the newest epoch is as new as the source."""

    state: State
    sentence: str
    missing: int
    last_epoch: int | None
    last_timestamp: int | None
    age_milliseconds: int | None
    epoch_milliseconds: int | None
    completed_epoch: int | None


class SourceState(Shape):
    state: State
    sentence: str
    advice: str | None


class Alive(Shape):
    status: Literal["ok"]


class Ready(Shape):
    """Whether the database answers, and how old its last epoch is."""

    ready: bool
    database: str
    last_epoch: int | None = None
    lag_seconds: float | None = None
    fresh: bool | None = None
    warning: str | None = None
    source: SourceState | None = None
