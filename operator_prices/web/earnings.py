"""What a nominator has earned, told apart from what it paid in: integers to the last division."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction

from operator_prices.web.returns import DAY, annualized, decimal

Interval = tuple[int, int]
"""Milliseconds of chain time."""


@dataclass(frozen=True, slots=True)
class Moment:
    """A position at the close of an epoch, in Shannons, and what was paid since the last one."""

    epoch: int
    timestamp: int | None
    """None where it is not the chain's."""
    staked: int | None
    """What earns, or will from the next epoch on: stake, pending deposit, storage fee deposit.

    None where the epoch has no price.
    """
    leaving: int | None
    """What was withdrawn and is not paid out: at the price of its epoch, with its refund."""
    paid_in: int | None
    paid_out: int | None
    """None where nobody knows what was before, or what an unlock has paid."""

    @property
    def worth(self) -> int | None:
        return summed_up([self.staked, self.leaving])

    def withdrawn_since(self, before: "Moment") -> int | None:
        """What stopped to be staked since: what is more on its way out, and what went out."""
        if before.leaving is None:
            return None
        return summed_up([self.leaving, -before.leaving, self.paid_out])


@dataclass(frozen=True, slots=True)
class Earnings:
    """What was earned over a span, and on what."""

    since: int | None
    """The first known epoch, where what was paid in before is not known."""
    paid_in: int | None
    paid_out: int | None
    gain: int | None
    invested: int | None
    """What was staked, times the milliseconds for which it was: Shannon-milliseconds."""
    at_work: tuple[Interval, ...] = ()
    """When anything was staked."""

    @property
    def milliseconds(self) -> int:
        return sum(end - start for start, end in united(self.at_work))

    @property
    def growth(self) -> Fraction | None:
        """The gain over what was staked in the mean while anything was."""
        if self.gain is None or not self.invested or self.invested < 0:
            return None
        return Fraction(self.gain * self.milliseconds, self.invested)

    @property
    def told(self) -> str | None:
        """The money-weighted return as decimal text."""
        return None if self.growth is None else decimal(self.growth)

    @property
    def annualized(self) -> str | None:
        """None for what was staked for less than a day, which says nothing about a year."""
        if self.growth is None or self.growth < -1 or self.milliseconds < DAY:
            return None
        return annualized(1 + self.growth, self.milliseconds)


def earned(opening: Moment | None, changes: Sequence[Moment], closing: Moment) -> Earnings:
    """What a position has earned from `opening`, its state at the beginning, to `closing`.

    `changes` are the epochs between, `closing` included, in which something was paid in or out,
    withdrawn, or ended. Without `opening` the span begins before the position, or with the first
    change if nobody knows what was before it.
    """
    since = None
    if opening is None and changes and changes[0].paid_in is None:
        opening, changes = changes[0], changes[1:]
        since = opening.epoch
    paid_in = summed_up(change.paid_in for change in changes)
    paid_out = summed_up(change.paid_out for change in changes)
    begun = 0 if opening is None else opening.worth
    gain = None
    if closing.worth is not None and begun is not None:
        gain = summed_up([closing.worth, -begun, paid_out, None if paid_in is None else -paid_in])
    invested, at_work = _invested(opening, changes, closing)
    return Earnings(since, paid_in, paid_out, gain, invested, at_work)


def together(parts: Sequence[Earnings]) -> Earnings:
    """What several positions of an account have earned."""
    sinces = [part.since for part in parts if part.since is not None]
    return Earnings(
        max(sinces, default=None),
        summed_up(part.paid_in for part in parts),
        summed_up(part.paid_out for part in parts),
        summed_up(part.gain for part in parts),
        summed_up(part.invested for part in parts),
        tuple(interval for part in parts for interval in part.at_work),
    )


def _invested(
    opening: Moment | None, changes: Sequence[Moment], closing: Moment
) -> tuple[int | None, tuple[Interval, ...]]:
    """What was staked over time: it moves by what is paid in and withdrawn, and not by prices."""
    nothing = Moment(0, 0, 0, 0, 0, 0)
    before = opening or nothing
    staked, area, at_work = before.staked, 0, []
    for now in [*changes, closing]:
        if before.staked != 0:
            if staked is None or before.timestamp is None or now.timestamp is None:
                return None, ()
            area += staked * (now.timestamp - before.timestamp)
            at_work.append((before.timestamp, now.timestamp))
        if now is closing:
            break
        withdrawn = now.withdrawn_since(before)
        if staked is None or now.staked is None or now.paid_in is None or withdrawn is None:
            return None, ()
        staked = staked + now.paid_in - withdrawn if now.staked else 0
        before = now
    return area, tuple(at_work)


def united(intervals: Iterable[Interval]) -> list[Interval]:
    """The intervals without their overlaps.

    >>> united([(5, 9), (0, 3), (2, 4), (9, 10)])
    [(0, 4), (5, 10)]
    """
    found: list[Interval] = []
    for start, end in sorted(intervals):
        if found and start <= found[-1][1]:
            found[-1] = found[-1][0], max(end, found[-1][1])
        else:
            found.append((start, end))
    return found


def summed_up(amounts: Iterable[int | None]) -> int | None:
    """The sum, None if one of them is unknown."""
    known = 0
    for amount in amounts:
        if amount is None:
            return None
        known += amount
    return known
