import pytest
from hypothesis import given
from hypothesis import strategies as st

from operator_prices.legacy.numbers import InexactError, NotANumberError, amount

U128 = st.integers(0, 2**128 - 1)


@given(U128, st.integers(0, 40))
def test_every_spelling_of_a_number_is_read_to_the_last_digit(number: int, padding: int) -> None:
    spellings = [
        number,
        str(number),
        f"{number:,}",
        "0" * padding + str(number),
        hex(number),
        f"0x{'0' * padding}{number:x}",
        f"0X{number:X}",
    ]
    assert {amount(spelling) for spelling in spellings} == {number}


@given(st.integers(2**128, 2**200))
def test_a_number_above_128_bits_is_none_of_ours(number: int) -> None:
    for spelling in (number, str(number), f"{number:,}", hex(number)):
        with pytest.raises(NotANumberError, match="above 128 bits"):
            amount(spelling)


@given(st.text())
def test_text_is_a_number_or_is_refused_and_never_a_zero_instead(text: str) -> None:
    try:
        number = amount(text)
    except NotANumberError:
        return
    plain = text.replace(",", "").lower()
    assert int(plain, 16 if plain.startswith("0x") else 10) == number
    assert text.isascii()


@pytest.mark.parametrize(
    "wrong",
    [
        *("", " ", "1 ", "-1", "+1", "1.0", "1e3", "1_000", "0x", "0x_1", "0xg", "1,00", "1,0000"),
        *(",1", "1,", "12345,678", "0x1,000", "\u0663", "\uff11", "abc", "NaN", "0b1"),
        *(-1, None, True, [], {}, b"1", "9" * 401),
    ],
)
def test_what_is_no_number_is_refused(wrong: object) -> None:
    with pytest.raises(NotANumberError):
        amount(wrong)


def test_a_float_is_not_believed() -> None:
    with pytest.raises(InexactError):
        amount(1e21)
