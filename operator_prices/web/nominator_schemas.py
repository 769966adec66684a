"""The shapes of the answers about nominators; amounts are decimal text of Shannons."""

from pydantic import Field

from operator_prices.web.schemas import Shape


class Unlocking(Shape):
    """An amount that waits for its block."""

    amount: str | None
    storage_fee_refund: str | None
    block: int | None
    due: bool | None
    """Whether the domain had that block by then; an unlock has to be asked for."""
    estimated_timestamp: int | None


class Withdrawing(Unlocking):
    """Shares that left at the price of this epoch."""

    shares: str


class Gain(Shape):
    """What was paid in, told apart from what was earned."""

    known_since: int | None
    paid_in: str | None
    paid_out: str | None
    tax: str | None
    gain: str | None
    earned: str | None = Field(alias="return")
    annualized: str | None
    milliseconds: int | None


class Together(Gain):
    """All positions of an account."""

    stake: str | None
    pending: str | None
    storage_fee_deposit: str | None
    leaving: str | None
    worth: str | None


class Position(Gain):
    """What an account has with an operator at the close of an epoch."""

    operator_id: int
    first_epoch: int
    ended_epoch: int | None
    share_price_perq: str | None
    shares: str
    stake: str | None
    pending: str
    storage_fee_deposit: str
    on_hold: str | None
    withdrawing: Withdrawing | None
    unlocking: list[Unlocking]
    leaving: str | None
    worth: str | None


class Nominator(Shape):
    """An account and all its positions, and what it has earned with them."""

    nominator: str
    address: str
    first_seen_epoch: int | None
    last_seen_epoch: int | None
    epoch: int
    timestamp: int | None
    total: Together
    positions: list[Position]


class PositionAt(Shape):
    """A position at the close of an epoch, and what was paid in it and by then."""

    epoch: int
    operator_id: int
    timestamp: int | None
    share_price_perq: str | None
    shares: str
    stake: str | None
    pending: str
    withdrawing_shares: str
    unlocking: str
    storage_fee_deposit: str
    on_hold: str | None
    leaving: str | None
    worth: str | None
    paid_in: str | None
    withdrawn_shares: str | None
    paid_out: str | None
    tax: str | None
    paid_in_total: str | None
    paid_out_total: str | None


class Share(Shape):
    """A nominator's part of an operator's pool."""

    nominator: str
    address: str | None
    epoch: int
    changed_epoch: int
    shares: str
    share_of_pool: str | None
    stake: str | None
    pending: str
    withdrawing_shares: str
    unlocking: str
    storage_fee_deposit: str
    on_hold: str | None


class NominatorsOfOperator(Shape):
    """The nominators of an operator at the newest epoch, a page of them."""

    operator_id: int
    epoch: int | None
    shares: str | None
    nominator_count: int
    largest: dict[str, str]
    """The shares of the largest nominator, and of the ten and the hundred largest together."""
    next_offset: int | None
    nominators: list[Share]


class Flow(Shape):
    """What came to an operator in an epoch, and what left it."""

    epoch: int
    timestamp: int | None
    deposits: int | None
    paid_in: str | None
    tax: str | None
    withdrawals: int | None
    withdrawn_shares: str | None
    withdrawn: str | None
    unlocks: int | None
    paid_out: str | None
