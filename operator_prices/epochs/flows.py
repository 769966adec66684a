"""What has moved between two entries of a nominator: paid in, minted, taken out, paid out."""

from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

from operator_prices.amounts import PERBILL
from operator_prices.chain import Entry, Unlocking
from operator_prices.epochs.shares import least_stake_for, shares_to_stake, stake_to_shares

Price = Callable[[int | None], int | None]
"""The stored price of an epoch with the operator in question, None where there is none."""


class Flows(NamedTuple):
    """In Shannons, without storage fees where these have a name of their own; None is unknown."""

    deposited: int | None = 0
    deposited_storage_fee: int | None = 0
    tax: int | None = 0
    tax_storage_fee: int | None = 0
    withdrawn_shares: int | None = 0
    released: int | None = 0
    released_storage_fee: int | None = 0


NOTHING_MOVED = Flows()
UNKNOWN = Flows(*[None] * len(Flows._fields))


def unlocking_of(entry: Entry, price: Price) -> list[Unlocking]:
    """What waits for its block, with the shares that have left at a price since they were taken."""
    waiting = list(entry.unlocking or ())
    of = price(entry.withdrawing_epoch)
    if of is not None:
        waiting.append(
            Unlocking(
                entry.withdrawing_block or 0,
                shares_to_stake(entry.withdrawing_shares or 0, of),
                entry.withdrawing_storage_fee or 0,
            )
        )
    return waiting


def between(before: Entry, after: Entry, price: Price, *, epoch: int, taxed: bool) -> Flows:
    """What has moved from the end of the epoch before to the end of `epoch`.

    `taxed` says that the account is an operator's owner that gets tax: what was paid in at the very
    close of the epoch before is that.
    """
    seen = _seen_deposit(before, after, price)
    withdrawn = _withdrawn(before, after, price)
    moved = _unexplained_shares(before, after, price, withdrawn)
    late = _unseen_deposit(before, after, price, epoch, Unseen(moved, withdrawn, seen[0]))
    if after.pending_epoch is not None and after.pending_epoch < epoch:
        late, seen = (late[0] + seen[0], late[1] + seen[1]), (0, 0)
    out = (withdrawn - min(moved, 0), *_released(before, after, price))
    if taxed:
        return Flows(*seen, *late, *out)
    return Flows(seen[0] + late[0], seen[1] + late[1], 0, 0, *out)


def _carried(before: Entry, price: Price) -> tuple[int, int]:
    """What was pending and has not got a price since, so that it is pending still."""
    if before.pending is None or price(before.pending_epoch) is not None:
        return 0, 0
    return before.pending, before.pending_storage_fee or 0


def _seen_deposit(before: Entry, after: Entry, price: Price) -> tuple[int, int]:
    """What is pending and was not."""
    if after.pending is None:
        return 0, 0
    amount, fee = _carried(before, price)
    if before.pending_epoch == after.pending_epoch:
        amount, fee = before.pending or 0, before.pending_storage_fee or 0
    return after.pending - amount, (after.pending_storage_fee or 0) - fee


def _withdrawn(before: Entry, after: Entry, price: Price) -> int:
    """Shares that have begun to leave."""
    if after.withdrawing_shares is None:
        return 0
    carried = 0
    if (
        before.withdrawing_epoch == after.withdrawing_epoch
        or price(before.withdrawing_epoch) is None
    ):
        carried = before.withdrawing_shares or 0
    return after.withdrawing_shares - carried


def _converted(before: Entry, after: Entry, price: Price) -> tuple[int, int]:
    """Shares that what was pending has become in storage meanwhile, and its storage fee."""
    of = price(before.pending_epoch)
    if before.pending is None or of is None or before.pending_epoch == after.pending_epoch:
        return 0, 0
    return stake_to_shares(before.pending, of), before.pending_storage_fee or 0


def _unexplained_shares(before: Entry, after: Entry, price: Price, withdrawn: int) -> int:
    """Shares that have come, or gone if negative, by what nobody has seen at the end of an epoch.

    It was done at its very close, and the account acted again in the next one.
    """
    if after.shares is None:
        return 0
    converted, _ = _converted(before, after, price)
    return after.shares + withdrawn - (before.shares or 0) - converted


class Unseen(NamedTuple):
    shares: int
    withdrawn: int
    """Shares taken out afterwards."""
    seen: int
    """Paid in afterwards."""


def _unseen_deposit(
    before: Entry, after: Entry, price: Price, epoch: int, moved: Unseen
) -> tuple[int, int]:
    """What was paid in at the very close of the epoch before, and was never seen as pending.

    What is held of deposits says it exactly; else it is the least amount that becomes the shares,
    and of its storage fee, a fifth of the whole, that which the rest bears out.
    """
    of = price(epoch - 1)
    if moved.shares <= 0 or of is None or after.shares is None:
        return 0, 0
    amount = least_stake_for(moved.shares, of)
    if before.on_hold is not None and after.on_hold is not None:
        held = after.on_hold - before.on_hold - moved.seen
        if stake_to_shares(held, of) == moved.shares:
            amount = held
    _, converted_fee = _converted(before, after, price)
    known_fee = (before.storage_fee_deposit or 0) + converted_fee
    part = moved.withdrawn * PERBILL // (after.shares + moved.withdrawn)
    for fee in (amount // 4, amount // 4 - 1):
        whole = known_fee + fee
        if whole - whole * part // PERBILL == after.storage_fee_deposit:
            return amount, fee
    return amount, amount // 4


def _released(before: Entry, after: Entry, price: Price) -> tuple[int | None, int | None]:
    """What has been unlocked; not known where an account is paid out with shares and all."""
    shares = (before.shares or 0) + (before.pending or 0)
    if after.shares is None and shares:
        return None, None
    waited = unlocking_of(before, price)
    if not waited:
        return 0, 0
    amounts = list((Counter(waited) - Counter(unlocking_of(after, price))).elements())
    return sum(one.amount for one in amounts), sum(one.storage_fee_refund for one in amounts)
