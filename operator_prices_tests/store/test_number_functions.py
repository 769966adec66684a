"""Numbers as the old system wrote them, read in SQL to the last digit."""

import random
from collections.abc import Callable

import psycopg
import pytest
from psycopg import sql


def numbers() -> list[int]:
    draw = random.Random(7)  # noqa: S311
    edges = [
        0,
        1,
        9,
        10,
        999,
        1000,
        2**31,
        2**32 - 1,
        2**63,
        2**64 - 1,
        2**64,
        2**128 - 1,
        2**256 - 1,
    ]
    return edges + [draw.getrandbits(draw.randint(1, 256)) for _ in range(2_000)]


def grouped(number: int) -> str:
    return f"{number:,}"


def padded(number: int) -> str:
    return f"0x{number:080X}"


@pytest.mark.parametrize(
    ("function", "spelled"),
    [
        ("parse_comma_number", str),
        ("parse_comma_number", grouped),
        ("parse_comma_number", hex),
        ("parse_comma_number", padded),
        ("number_or_null", grouped),
        ("number_or_null", padded),
        ("hex_to_numeric", hex),
        ("hex_to_numeric", padded),
        ("hex_to_numeric", "{:x}".format),
        ("hex_to_numeric", "0X{:X}".format),
    ],
)
def test_numbers_are_read_to_the_last_digit(
    database: psycopg.Connection, function: str, spelled: Callable[[int], str]
) -> None:
    wanted = numbers()
    read = database.execute(
        sql.SQL(
            "SELECT {}(n)::text FROM unnest(%s::text[]) WITH ORDINALITY AS t (n, i) ORDER BY i"
        ).format(sql.Identifier(function)),
        [[spelled(number) for number in wanted]],
    )
    assert [int(text) for (text,) in read] == wanted


@pytest.mark.parametrize("function", ["parse_comma_number", "hex_to_numeric"])
@pytest.mark.parametrize("nothing", [None, ""])
def test_no_text_is_zero_as_it_always_was(
    database: psycopg.Connection, function: str, nothing: str | None
) -> None:
    query = sql.SQL("SELECT {}(%s::text)").format(sql.Identifier(function))
    assert database.execute(query, [nothing]).fetchone() == (0,)
    assert database.execute("SELECT number_or_null(%s)", [nothing]).fetchone() == (None,)


BAD_NUMBERS = [
    *("0x", "0X", "-", "-1", "+1", "1.5", "NaN", " ", " 1", "1 ", "1\n", "12 34", "'", "None"),
    *("0xg1", "0x0x1", "0x1,000", "0x" + "1" * 65, "x12"),
]
BAD_DECIMALS = [
    *("abc", "ff", "1e5", "1,2,,3", ",123", "1,", "12,34", "1,0000", "1,000,00", str(2**256)),
]
BAD_HEX = ["1,000", "1" * 65]


@pytest.mark.parametrize(
    ("function", "texts"),
    [("parse_comma_number", BAD_NUMBERS + BAD_DECIMALS), ("hex_to_numeric", BAD_NUMBERS + BAD_HEX)],
)
def test_what_is_no_number_is_an_error_that_names_it(
    database: psycopg.Connection, function: str, texts: list[str]
) -> None:
    query = sql.SQL("SELECT {}(%s)").format(sql.Identifier(function))
    for text in texts:
        with pytest.raises(psycopg.errors.InvalidTextRepresentation) as raised:
            database.execute(query, [text])
        assert text.replace("'", "''") in str(raised.value)


def test_what_is_no_number_may_also_be_unknown(database: psycopg.Connection) -> None:
    unknown = database.execute(
        "SELECT number_or_null(n) FROM unnest(%s::text[]) AS t (n)", [BAD_NUMBERS + BAD_DECIMALS]
    )
    assert {number for (number,) in unknown} == {None}
