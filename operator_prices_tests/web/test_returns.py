"""Returns: exact, compounded, and absent where history is too short."""

from decimal import Decimal, localcontext
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from operator_prices.web.returns import DAY, YEAR, Worth, annualized, decimal, over

ONE = 10**18


def test_a_span_must_be_as_long_as_asked_and_hardly_longer() -> None:
    last = Worth(100, 10 * DAY, 2 * ONE)
    assert over(7, Worth(1, 3 * DAY + 1, ONE), last) is None
    assert over(7, Worth(1, 3 * DAY, ONE), last) is not None
    assert over(7, Worth(1, 3 * DAY - 7 * DAY // 10, ONE), last) is not None
    assert over(7, Worth(1, 2 * DAY, ONE), last) is None


def test_a_share_that_was_worth_nothing_has_no_return() -> None:
    assert over(1, Worth(0, 0, 0), Worth(1, DAY, ONE)) is None


def test_a_loss_is_negative_and_a_total_one_is_minus_one() -> None:
    lost = over(1, Worth(0, 0, ONE), Worth(1, DAY, 0))
    assert lost is not None
    assert lost.earned == lost.annualized == "-1.000000000000000000"


def test_no_change_is_zero_without_a_sign() -> None:
    assert annualized(Fraction(1), DAY) == decimal(Fraction(0)) == "0.000000000000000000"


def test_the_last_digit_is_rounded_half_to_even() -> None:
    assert decimal(Fraction(5, 10**19)) == "0.000000000000000000"
    assert decimal(Fraction(15, 10**19)) == "0.000000000000000002"


@given(st.integers(1, 10**24), st.integers(1, 10**24))
def test_a_return_is_the_exact_ratio_rounded_once(first: int, last: int) -> None:
    told = over(1, Worth(0, 0, first), Worth(1, DAY, last))
    assert told is not None
    exact = Fraction(last, first) - 1
    assert abs(Fraction(Decimal(told.earned)) - exact) <= Fraction(1, 2 * ONE)


@given(st.integers(1, 400))
def test_compounding_over_whole_parts_of_a_year_is_exact(parts: int) -> None:
    growth = Fraction(10_001, 10_000)
    with localcontext(prec=60):
        exact = growth**parts - 1
    told = Fraction(Decimal(annualized(growth, YEAR // parts)))
    if YEAR % parts == 0:
        assert abs(told - exact) <= Fraction(1, ONE)
