"""What every nominator has at every epoch, by books of its own that convert at once.

The chain converts when an account acts again; here all that moves in an epoch is converted when
the epoch ends. No rule is shared with the pallet: only what was done is known, by the journal.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from math import floor
from typing import NamedTuple

from operator_prices.devchain.journal import Act, EpochEnd, Payout

Holder = tuple[int, bytes]
"""An operator and an account that stakes on it."""
_ONE = 10**18
_PART = Fraction(1, _ONE)
_BILLION = 10**9


class Position(NamedTuple):
    """What an account has with an operator at an epoch's end block. Amounts in Shannons."""

    shares: int
    stake: int | None
    """What the shares are worth at the epoch's price; `None` where it has none."""
    pending: int
    withdrawing_shares: int
    unlocking: tuple[tuple[int, int], ...]
    """Domain block and amount of each withdrawal that waits."""
    storage_fee_deposit: int
    on_hold: int | None
    """`None` where the runtime of the block keeps no such thing."""


@dataclass(slots=True)
class Account:
    """The books of one account with one operator."""

    shares: int = 0
    fee: int = 0
    entering: int = 0
    entering_fee: int = 0
    leaving: int = 0
    leaving_until: int = 0
    leaving_refund: int = 0
    waiting: list[tuple[int, int, int]] = field(default_factory=list)
    """Domain block, amount and refund of each withdrawal that has its price."""
    held: int = 0

    @property
    def is_empty(self) -> bool:
        return not (self.shares or self.entering or self.leaving or self.waiting)


@dataclass(slots=True)
class Pool:
    """The books of one operator."""

    owner: bytes
    tax: int
    is_new: bool = True
    """In the epoch that registered it: deposits are shares at once, one for one."""
    is_leaving: bool = False
    shares: int = 0
    stake: int = 0
    entering: int = 0
    leaving: int = 0
    fees: int = 0
    fund: int = 0
    accounts: dict[bytes, Account] = field(default_factory=dict)
    moving: set[bytes] = field(default_factory=set)
    """Accounts with something that enters or leaves when the epoch ends."""

    def redeem(self, fee: int) -> int:
        """Take a part of the fees out of the fund; return what it brings there."""
        part = Fraction(fee, self.fees) if self.fees else Fraction(0)
        brought = fee
        if self.fund != self.fees:
            brought = floor(self.fund * Fraction(floor(part * _BILLION), _BILLION))
        self.fees -= fee
        self.fund -= brought
        return brought


class Books:
    """Books of all accounts of a domain; `apply` what was done, in its order."""

    def __init__(
        self,
        head: Callable[[int], int],
        locking: int,
        four_byte: frozenset[tuple[int, int]] = frozenset(),
    ) -> None:
        self.pools: dict[int, Pool] = {}
        self.payouts: list[Payout] = []
        self.treasury = 0
        """What slashes and departures left to nobody."""
        self._head = head
        self._locking = locking
        self._four_byte = four_byte

    def apply(self, act: Act | EpochEnd) -> None:
        if isinstance(act, EpochEnd):
            self._end(act)
        elif act.kind == "register":
            self.pools[act.operator_id] = Pool(act.account, act.number)
        else:
            pool = self.pools[act.operator_id]
            match act.kind:
                case "deposit":
                    self._pay_in(pool, act.account, act.number)
                case "withdraw":
                    self._withdraw(pool, act)
                case "unlock":
                    self._unlock(pool, act)
                case "deregister":
                    pool.is_leaving = True
                case "leave":
                    self._leave(pool, act)
                case "slash":
                    self._slash(pool, act)

    def _pay_in(self, pool: Pool, name: bytes, amount: int) -> None:
        account = pool.accounts.setdefault(name, Account())
        fee = floor(Fraction(amount, 5))
        net = amount - fee
        pool.entering += net
        pool.fees += fee
        pool.fund += fee
        account.held += net
        if pool.is_new:
            account.shares += net
            account.fee += fee
        else:
            account.entering += net
            account.entering_fee += fee
            pool.moving.add(name)

    def _withdraw(self, pool: Pool, act: Act) -> None:
        account = pool.accounts[act.account]
        part = floor(Fraction(act.number, account.shares) * _BILLION)
        fee = floor(account.fee * Fraction(part, _BILLION))
        account.shares -= act.number
        account.fee -= fee
        account.leaving += act.number
        account.leaving_until = self._head(act.block) + self._locking
        account.leaving_refund += pool.redeem(fee)
        pool.leaving += act.number
        pool.moving.add(act.account)

    def _unlock(self, pool: Pool, act: Act) -> None:
        account = pool.accounts[act.account]
        due = [one for one in account.waiting if one[0] <= act.number]
        account.waiting = [one for one in account.waiting if one[0] > act.number]
        amount = sum(one[1] for one in due)
        released = min(account.held, amount)
        account.held -= released
        refund = sum(one[2] for one in due)
        self._pay_out(act, act.account, released, amount - released, refund)
        if account.is_empty:
            del pool.accounts[act.account]

    def _leave(self, pool: Pool, act: Act) -> None:
        account = pool.accounts.pop(act.account)
        shares = account.shares + account.leaving
        price = Fraction(floor(Fraction(pool.shares * _ONE, pool.stake)), _ONE) if shares else 1
        stake = worth(shares, price)
        pool.shares -= shares
        pool.stake -= stake
        amount = stake + account.entering + sum(one[1] for one in account.waiting)
        refund = account.leaving_refund + sum(one[2] for one in account.waiting)
        refund += pool.redeem(account.fee + account.entering_fee)
        self._pay_out(act, act.account, account.held, max(amount - account.held, 0), refund)
        if not pool.accounts:
            self.treasury += pool.stake + pool.fund
            del self.pools[act.operator_id]

    def _slash(self, pool: Pool, act: Act) -> None:
        """Only what has not entered goes back, its fee with it; all else is the treasury's."""
        for name, account in sorted(pool.accounts.items()):
            refund = pool.redeem(account.entering_fee)
            self._pay_out(act, name, account.entering, 0, refund)
            waiting = sum(amount + fee for _, amount, fee in account.waiting)
            self.treasury += waiting + account.leaving_refund
        self.treasury += pool.stake + pool.fund
        del self.pools[act.operator_id]

    def _pay_out(self, act: Act, name: bytes, released: int, minted: int, refunded: int) -> None:
        payout = Payout(act.block, act.operator_id, name, released, minted, refunded)
        self.payouts.append(payout)

    # --- the end of an epoch ---

    def _end(self, end: EpochEnd) -> None:
        for operator_id, reward in end.rewards.items():
            pool = self.pools[operator_id]
            tax = floor(Fraction(reward * pool.tax, 100))
            pool.stake += reward - tax
            if tax:
                self._pay_in(pool, pool.owner, tax)
        for operator_id, cost in end.charges.items():
            self.pools[operator_id].fund -= cost
        for operator_id, pool in self.pools.items():
            if operator_id in end.finalized and (pool.entering or pool.leaving):
                self._convert(pool, self._price(pool, operator_id, end))
            elif pool.is_leaving and operator_id not in end.finalized:
                self._stay(pool)
            pool.is_new = False

    def _price(self, pool: Pool, operator_id: int, end: EpochEnd) -> Fraction:
        if not pool.shares:
            return Fraction(1)
        coarse = (operator_id, end.epoch) in self._four_byte
        unit = min(end.price_unit, _BILLION if coarse else _ONE)
        return Fraction(floor(Fraction(pool.shares, pool.stake) * unit), unit)

    def _convert(self, pool: Pool, price: Fraction) -> None:
        for name in pool.moving:
            account = pool.accounts[name]
            account.shares += floor(account.entering * price)
            account.fee += account.entering_fee
            account.entering = account.entering_fee = 0
            if account.leaving:
                amount = worth(account.leaving, price)
                account.waiting.append((account.leaving_until, amount, account.leaving_refund))
                account.leaving = account.leaving_refund = 0
        pool.moving.clear()
        pool.stake += pool.entering - worth(pool.leaving, price)
        pool.shares += floor(pool.entering * price) - pool.leaving
        pool.entering = pool.leaving = 0

    def _stay(self, pool: Pool) -> None:
        """Shares that were to leave in an operator's last epoch stay, as if nobody had asked."""
        for name in pool.moving:
            account = pool.accounts[name]
            account.shares += account.leaving
            account.leaving = 0
        pool.moving.clear()


def worth(shares: int, price: Fraction | int) -> int:
    """Shannons for shares: never too many, since the price is taken one part higher."""
    return shares if price == 1 else floor(shares / (price + _PART))


def replayed(books: Books, acts: list[Act | EpochEnd], blocks: list[int]) -> Iterator[int]:
    """Bring the books to the end of each of the blocks, one after the other."""
    done = 0
    for block in blocks:
        until = bisect_left(acts, block + 1, lo=done, key=lambda act: act.block)
        for act in acts[done:until]:
            books.apply(act)
        done = until
        yield block


def position(account: Account, price: int | None, *, holds: bool) -> Position:
    """The account's position at an epoch's price, in Perquintill."""
    stake = None if price is None else worth(account.shares, Fraction(price, _ONE))
    return Position(
        shares=account.shares,
        stake=stake,
        pending=account.entering,
        withdrawing_shares=account.leaving,
        unlocking=tuple((block, amount) for block, amount, _ in account.waiting),
        storage_fee_deposit=account.fee + account.entering_fee,
        on_hold=account.held if holds else None,
    )
