"""A small history of nominators over `history`, written as the pipeline writes it: whole lives."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import psycopg
from scalecodec.utils.ss58 import ss58_encode

ONE = 10**18
AI3 = 10**18
PREFIX = 6094
LOCK = 500
"""Domain blocks: five epochs."""

WHOLE_LIFE, SLASHED, OWNER, HOLDER, UNPRICED, LEAVER, RETURNER = (
    "0x" + f"{n}" * 64 for n in range(1, 8)
)
"""Deposits twice, withdraws in parts, unlocks; is slashed; has a tax; still has all it can have;
has stake with an operator whose newest price is missing; is paid out with its shares by one
operator, and goes on with another; takes all out, and comes back."""

TELLING = (WHOLE_LIFE, OWNER, LEAVER, RETURNER, UNPRICED)
"""Those of whom there is much to tell, or something unknown."""

SMALL = tuple("0x" + f"{n:064x}" for n in range(1, 26))
"""Nominators of operator 1 that deposit once, each another amount."""

COLUMNS = (
    "operator_id, nominator, epoch, until_epoch, ended, shares_raw, pending_raw,"
    " withdrawing_shares_raw, unlocking_raw, unlocking, storage_fee_deposit_raw, on_hold_raw,"
    " deposited_raw, deposited_storage_fee_raw, tax_raw, tax_storage_fee_raw,"
    " withdrawn_shares_raw, released_raw, released_storage_fee_raw, source"
)


@dataclass(frozen=True)
class Position:
    """A row of nominator_positions; `withdrawing` is (shares, block, refund) and in the raw one."""

    epoch: int
    shares: int = 0
    pending: int = 0
    withdrawing: tuple[int, int, int] = (0, 0, 0)
    unlocking: tuple[tuple[int, int, int], ...] = ()
    """Block, amount and refund of each."""
    fee: int = 0
    on_hold: int = 0
    deposited: int | None = 0
    deposited_fee: int | None = 0
    tax: int | None = 0
    withdrawn: int | None = 0
    released: int | None = 0
    released_fee: int | None = 0
    ended: bool = False


def address(nominator: str) -> str:
    return str(ss58_encode(nominator, PREFIX))


def head(epoch: int) -> int:
    """The newest domain block at the end of an epoch."""
    return 100 * epoch + 99


def stake(shares: int, price: int) -> int:
    return shares * ONE // (price + 1) if price < ONE else shares


@dataclass
class Life:
    """What a nominator has with an operator; each deed gives the rows that follow from it."""

    operator: int
    nominator: str
    prices: dict[tuple[int, int], int]
    rows: list[Position] = field(default_factory=list)

    @property
    def now(self) -> Position:
        return self.rows[-1] if self.rows else Position(-1)

    def price(self, epoch: int) -> int:
        return self.prices[epoch, self.operator]

    def _then(self, epoch: int, **changes: object) -> None:
        kept = {
            name: getattr(self.now, name)
            for name in ("shares", "pending", "withdrawing", "unlocking", "fee", "on_hold")
        }
        self.rows.append(replace(Position(epoch), **{**kept, **changes}))

    def deposit(self, epoch: int, amount: int) -> "Life":
        """Pay in; from the next epoch on it is shares."""
        fee = amount // 5
        net = amount - fee
        self._then(
            epoch,
            pending=net,
            fee=self.now.fee + fee,
            on_hold=self.now.on_hold + net,
            deposited=net,
            deposited_fee=fee,
        )
        entered = net * self.price(epoch) // ONE
        self._then(epoch + 1, pending=0, shares=self.now.shares + entered)
        return self

    def withdraw(self, epoch: int, shares: int) -> "Life":
        """Take shares out; from the next epoch on their worth waits for its block."""
        fee = self.now.fee * (shares * 10**9 // self.now.shares) // 10**9
        block, refund = head(epoch) + LOCK, fee * 101 // 100
        self._then(
            epoch,
            shares=self.now.shares - shares,
            withdrawing=(shares, block, refund),
            fee=self.now.fee - fee,
            withdrawn=shares,
        )
        waiting = (block, stake(shares, self.price(epoch)), refund)
        unlocking = (*self.now.unlocking, waiting)
        self._then(epoch + 1, withdrawing=(0, 0, 0), unlocking=unlocking)
        return self

    def unlock(self, epoch: int) -> "Life":
        """Take what is due; with the last of it all entries are gone."""
        due = [one for one in self.now.unlocking if one[0] <= head(epoch)]
        rest = tuple(one for one in self.now.unlocking if one[0] > head(epoch))
        ended = not rest and not self.now.shares
        self._then(
            epoch,
            unlocking=rest,
            released=sum(amount for _, amount, _ in due),
            released_fee=sum(refund for _, _, refund in due),
            on_hold=0 if ended else self.now.on_hold,
            fee=0 if ended else self.now.fee,
            ended=ended,
        )
        return self

    def paid_with_shares(self, epoch: int) -> "Life":
        """Be paid out with all shares, as after a deregistration: how much is in no end block."""
        self.rows.append(Position(epoch, released=None, released_fee=None, ended=True))
        return self

    def slash(self, epoch: int) -> "Life":
        self.rows.append(Position(epoch, ended=True))
        return self

    def known_since(self, epoch: int, shares: int) -> "Life":
        """What a reader finds that begins in the middle of history."""
        unknown = dict.fromkeys(("deposited", "deposited_fee", "tax", "withdrawn", "released"))
        self.rows.append(
            Position(epoch, shares, fee=shares // 4, released_fee=None, **unknown)  # type: ignore[arg-type]
        )
        return self

    def tax(self, epoch: int, amount: int) -> "Life":
        """Minted to the owner at the close of an epoch, a fifth of it for storage."""
        entered = amount * 4 // 5 * self.price(epoch - 1) // ONE
        self._then(
            epoch, shares=self.now.shares + entered, fee=self.now.fee + amount // 5, tax=amount
        )
        return self

    def write(self, connection: psycopg.Connection) -> None:
        untils = [*(row.epoch for row in self.rows[1:]), None]
        for row, until in zip(self.rows, untils, strict=True):
            _write_row(connection, self.operator, self.nominator, row, until)


def _write_row(
    connection: psycopg.Connection, operator: int, nominator: str, row: Position, until: int | None
) -> None:
    unlocking = [
        {"block": block, "amount": str(amount), "storage_fee_refund": str(refund)}
        for block, amount, refund in row.unlocking
    ]
    tax = (None, None) if row.tax is None else (row.tax - row.tax // 5, row.tax // 5)
    told = (
        *(operator, nominator, row.epoch, until, row.ended, row.shares, row.pending),
        *(row.withdrawing[0], sum(amount for _, amount, _ in row.unlocking)),
        *(json.dumps(unlocking), row.fee, row.on_hold, row.deposited, row.deposited_fee),
        *(*tax, row.withdrawn, row.released, row.released_fee, "chain"),
    )
    places = ", ".join(["%s"] * len(told))
    connection.execute(
        f"INSERT INTO nominator_positions ({COLUMNS}) VALUES ({places})".encode(),  # noqa: S608
        told,
    )
    shares, block, refund = row.withdrawing
    connection.execute(
        "INSERT INTO raw_nominators (epoch, operator_id, nominator, shares_raw,"
        " storage_fee_deposit_raw, unlocking, withdrawing_epoch, withdrawing_block,"
        " withdrawing_shares_raw, withdrawing_storage_fee_raw, on_hold_raw, source)"
        " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, 'chain')",
        [
            *(row.epoch, operator, nominator, row.shares, row.fee, json.dumps(unlocking)),
            *((row.epoch, block, shares, refund) if shares else (None,) * 4),
            row.on_hold,
        ],
    )


def lives(prices: dict[tuple[int, int], int]) -> list[Life]:
    """Every kind of life, over forty epochs of which the twentieth may be missing."""
    whole = Life(1, WHOLE_LIFE, prices).deposit(3, 100 * AI3).deposit(8, 50 * AI3)
    whole.withdraw(15, whole.now.shares // 2)
    whole.withdraw(21, whole.now.shares).unlock(25).unlock(30)
    holder = Life(1, HOLDER, prices).deposit(2, 100 * AI3)
    holder.withdraw(37, holder.now.shares // 10)
    holding = Life(4, HOLDER, prices).deposit(4, 10 * AI3).deposit(38, 7 * AI3)
    unpriced = Life(2, UNPRICED, prices).deposit(6, 3 * AI3)
    owner = Life(3, OWNER, prices).known_since(0, 40 * AI3)
    for epoch in range(3, 40, 4):
        owner.tax(epoch, AI3 // 1_000 + epoch)
    slashed = Life(2, SLASHED, prices).deposit(5, 20 * AI3).slash(23)
    leaver = Life(5, LEAVER, prices).deposit(4, 30 * AI3).paid_with_shares(28)
    leaver_elsewhere = Life(4, LEAVER, prices).deposit(6, 5 * AI3).deposit(36, 5 * AI3)
    returner = Life(4, RETURNER, prices).deposit(1, 9 * AI3)
    returner.withdraw(6, returner.now.shares).unlock(12).deposit(24, 4 * AI3)
    newcomer = Life(5, SMALL[0], prices).deposit(28, 2 * AI3)
    small = [
        Life(1, nominator, prices).deposit(10, number * AI3)
        for number, nominator in enumerate(SMALL, start=1)
    ]
    leaving = [leaver, leaver_elsewhere, returner, newcomer]
    return [whole, holder, holding, unpriced, owner, slashed, *leaving, *small]


def write(connection: psycopg.Connection) -> list[Life]:
    """Write all lives, for the epochs of domain blocks a hundred each that are stored."""
    connection.execute(
        "INSERT INTO nominator_epochs (epoch, end_hash, listed, complete, source,"
        " head_domain_number) SELECT epoch, end_hash, epoch = 0, true, 'chain', 100 * epoch + 99"
        " FROM epochs"
    )
    prices = {
        (epoch, operator): int(price)
        for epoch, operator, price in connection.execute(
            "SELECT epoch, operator_id, share_price_perq FROM operator_share_prices"
        )
    }
    told = lives(prices)
    for life in told:
        life.write(connection)
    _introduce(connection, {life.nominator for life in told})
    return told


def _introduce(connection: psycopg.Connection, nominators: Iterable[str]) -> None:
    for nominator in nominators:
        connection.execute(
            "INSERT INTO nominator_accounts VALUES (%s, %s)", [nominator, address(nominator)]
        )
