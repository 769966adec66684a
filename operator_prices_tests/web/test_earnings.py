"""What was earned is told apart from what was paid in, and returns are of what was staked."""

from decimal import Decimal
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from operator_prices.web.earnings import Earnings, Moment, earned, together
from operator_prices.web.returns import DAY

AMOUNTS = st.integers(0, 10**27)


def moment(
    day: int,
    staked: int | None,
    leaving: int | None = 0,
    paid_in: int | None = 0,
    paid_out: int | None = 0,
) -> Moment:
    return Moment(day, day * DAY, staked, leaving, paid_in, paid_out)


def test_a_deposit_that_grows_has_earned_what_it_grew_by() -> None:
    found = earned(None, [moment(0, 1_000, paid_in=1_000)], moment(10, 1_010))
    assert (found.paid_in, found.paid_out, found.gain) == (1_000, 0, 10)
    assert found.told == "0.010000000000000000"
    assert found.milliseconds == 10 * DAY


def test_a_second_deposit_counts_for_as_long_as_it_was_there() -> None:
    changes = [moment(0, 1_000, paid_in=1_000), moment(5, 2_005, paid_in=1_000)]
    found = earned(None, changes, moment(10, 2_015))
    assert found.gain == 15
    assert found.growth == Fraction(15, 1_500)  # a thousand for ten days, another for five


def test_what_is_withdrawn_stops_to_count_and_what_it_is_worth_is_still_owned() -> None:
    changes = [
        moment(0, 1_000, paid_in=1_000),
        moment(5, 505, leaving=505),
        moment(7, 507, leaving=505),
        moment(9, 509, paid_out=505),
    ]
    found = earned(None, changes, moment(10, 510))
    assert found.gain == 510 + 505 - 1_000
    assert found.growth == Fraction(15 * 10, 1_000 * 5 + 495 * 5)


def test_time_without_a_stake_is_no_time_at_work() -> None:
    life = [moment(0, 1_000, paid_in=1_000), moment(1, 0, leaving=1_001)]
    idle = [moment(2, 0, paid_out=1_001), moment(99, 1_000, paid_in=1_000)]
    found = earned(None, [*life, *idle], moment(100, 1_001))
    assert found.gain == 2
    assert found.milliseconds == 2 * DAY
    assert found.growth == Fraction(2, 1_000)


def test_shares_that_come_back_from_a_withdrawal_without_a_price_are_staked_again() -> None:
    changes = [
        moment(0, 1_000, paid_in=1_000),
        moment(1, 0, leaving=1_010),
        moment(2, 1_010, leaving=0),
    ]
    found = earned(None, changes, moment(3, 1_020))
    assert found.gain == 20
    assert found.invested == 1_000 * DAY + 1_010 * DAY


def test_a_slash_loses_everything_that_was_paid_in() -> None:
    found = earned(None, [moment(0, 1_000, paid_in=1_000), moment(5, 0)], moment(10, 0))
    assert (found.gain, found.told, found.annualized) == (
        -1_000,
        f"-1.{'0' * 18}",
        f"-1.{'0' * 18}",
    )


def test_what_nobody_knows_is_unknown_and_no_zero() -> None:
    deposit = moment(0, 1_000, paid_in=1_000)
    assert earned(None, [deposit], moment(9, None)).gain is None
    unknown_unlock = earned(None, [deposit, moment(5, 0, paid_out=None)], moment(9, 0))
    assert (unknown_unlock.gain, unknown_unlock.told) == (None, None)
    untimed = Moment(9, None, 1_010, 0, 0, 0)
    assert earned(None, [deposit], untimed).gain == 10
    assert earned(None, [deposit], untimed).told is None


def test_a_history_that_is_known_from_the_middle_on_is_told_from_there() -> None:
    found = earned(None, [moment(3, 500, paid_in=None, paid_out=None)], moment(13, 505))
    assert (found.since, found.paid_in, found.gain, found.told) == (3, 0, 5, "0.010000000000000000")


def test_less_than_a_day_says_nothing_about_a_year() -> None:
    begun = Moment(0, 0, 1_000, 0, 1_000, 0)
    assert earned(None, [begun], Moment(1, DAY - 1, 1_001, 0, 0, 0)).annualized is None
    assert earned(None, [begun], Moment(1, DAY, 1_001, 0, 0, 0)).annualized is not None


def test_positions_together_earn_the_sum_on_the_sum() -> None:
    one = earned(None, [moment(0, 1_000, paid_in=1_000)], moment(10, 1_010))
    other = earned(None, [moment(5, 3_000, paid_in=3_000)], moment(10, 3_005))
    both = together([one, other])
    assert both.gain == 15
    assert both.milliseconds == 10 * DAY
    assert both.growth == Fraction(15 * 10, 1_000 * 10 + 3_000 * 5)
    assert together([one, Earnings(None, 0, 0, None, None)]).gain is None


@given(AMOUNTS, st.lists(st.tuples(st.integers(1, 9), AMOUNTS, AMOUNTS), max_size=6), AMOUNTS)
def test_gains_of_parts_of_a_span_add_up_to_that_of_all(
    first: int, deposits: list[tuple[int, int, int]], last: int
) -> None:
    day, changes = 0, [moment(0, first, paid_in=first)]
    for days, paid_in, staked in deposits:
        day += days
        changes.append(moment(day, staked, paid_in=paid_in))
    closing = moment(day + 1, last)
    whole = earned(None, changes, closing)
    for cut in range(1, len(changes) + 1):
        before = earned(None, changes[:cut], changes[cut - 1])
        after = earned(changes[cut - 1], changes[cut:], closing)
        assert before.gain is not None
        assert after.gain is not None
        assert before.gain + after.gain == whole.gain


@given(st.integers(1, 10**27), st.integers(0, 10**27))
def test_without_payments_the_return_is_the_exact_ratio_rounded_once(first: int, last: int) -> None:
    found = earned(moment(0, first), [], moment(30, last))
    assert found.told is not None
    exact = Fraction(last, first) - 1
    assert abs(Fraction(Decimal(found.told)) - exact) <= Fraction(1, 2 * 10**18)
