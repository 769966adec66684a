"""Returns on stake over a span of chain time: computed in integers, published as decimal text."""

from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Context, Decimal
from fractions import Fraction

DAYS = (1, 7, 30)

DAY = 86_400_000
"""Milliseconds."""

YEAR = 365 * DAY

LATE = Fraction(11, 10)
"""How much longer than asked a span may be: epochs do not end on the stroke of a day."""

PLACES = 18

EXACT = Context(prec=50, rounding=ROUND_HALF_EVEN)
"""Far more digits than are published: what is left of rounding is only the last one's."""


@dataclass(frozen=True, slots=True)
class Worth:
    """What a share was worth at an epoch: `stake_per_share` times 10^18, at a chain time in ms."""

    epoch: int
    timestamp: int
    stake_per_share: int


@dataclass(frozen=True, slots=True)
class Return:
    """What a stake has earned from `first` to `last`, and that compounded over a year."""

    first: Worth
    last: Worth
    earned: str
    annualized: str


def over(days: int, first: Worth, last: Worth) -> Return | None:
    """The return from `first`, the last epoch at least `days` before `last`, to `last`.

    None if they are further apart than `days` and a tenth, because epochs are missing there.

    >>> over(1, Worth(0, 0, 10**18), Worth(99, DAY, 10**18 + 10**15)).earned
    '0.001000000000000000'
    """
    span = last.timestamp - first.timestamp
    if not days * DAY <= span <= days * DAY * LATE or not first.stake_per_share:
        return None
    growth = Fraction(last.stake_per_share, first.stake_per_share)
    return Return(first, last, decimal(growth - 1), annualized(growth, span))


def annualized(growth: Fraction, span: int) -> str:
    """`growth ** (365 days / span) - 1`: the same growth again and again, for `span` in ms.

    >>> annualized(Fraction(11, 10), YEAR // 2)
    '0.210000000000000000'
    """
    factor = EXACT.divide(Decimal(growth.numerator), Decimal(growth.denominator))
    exponent = EXACT.divide(Decimal(YEAR), Decimal(span))
    compounded = EXACT.exp(EXACT.multiply(EXACT.ln(factor), exponent))
    return _text(EXACT.subtract(compounded, Decimal(1)))


def decimal(number: Fraction) -> str:
    """With 18 digits behind the point, the last one rounded half to even.

    >>> decimal(Fraction(-1, 3)), decimal(Fraction(0))
    ('-0.333333333333333333', '0.000000000000000000')
    """
    return _text(Decimal(round(number * 10**PLACES)).scaleb(-PLACES, EXACT))


def _text(number: Decimal) -> str:
    digits = max(EXACT.prec, number.adjusted() + PLACES + 3)
    rounded = number.quantize(Decimal(1).scaleb(-PLACES), context=Context(prec=digits))
    return f"{rounded or abs(rounded):f}"
