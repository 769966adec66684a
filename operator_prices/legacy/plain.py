"""Whole sections of a snapshot at once, in the shape the old script gave them; pure, no I/O.

A column at a time is several times as quick as a member at a time. What has any other shape is left
to `entries`, which reads the same out of it and names what is odd.
"""

import re
import struct
from collections.abc import Container, Iterator, Mapping, Sequence
from typing import Any

import orjson

from operator_prices.amounts import ONE
from operator_prices.legacy.decoding import LARGEST_ID, names_twice
from operator_prices.legacy.entries import (
    AMOUNTS,
    OPERATOR_KEY,
    OPERATORS_PREFIX,
    PERCENT,
    PLAIN,
    PRICE_KEY,
    PRICES_PREFIX,
    STATUSES,
)
from operator_prices.legacy.numbers import ABOVE_U128, LONGEST

OTHER_SHAPE = (AttributeError, LookupError, TypeError, ValueError, struct.error)
"""What the reading of another shape raises."""

U128S = re.compile(r"(?:0x[0-9a-f]{32})*")
HASHES = re.compile(r"(?:0x[0-9a-fA-F]{64})*")
U128_LENGTH, HASH_LENGTH = 34, 66

TO_ZEROS = str.maketrans("123456789", "0" * 9)
GROUPED = frozenset(f"{10**power:,}".replace("1", "0") for power in range(38))
"""Numbers with commas between groups of three, surely below 2^128, by their zeros."""


def operators_of(entries: Sequence[Any]) -> dict[tuple[int, int], dict[str, Any]] | None:
    """By domain and operator what `entries.normal_operator` makes of each; None if not plain."""
    try:
        values = [entry["value"] for entry in entries if len(entry) == 2 and "key" in entry]  # noqa: PLR2004
        keys = _keys(values, OPERATORS_PREFIX, OPERATOR_KEY, "<Q")
        operators = [operator for (operator,) in keys]
        bodies = [orjson.loads(value[OPERATOR_KEY + 1 :]) for value in values]
        told = {name: [body[name] for body in bodies] for name in PLAIN}
        numbers = {name: _numbers(told[name]) for name in AMOUNTS}
        statuses = [STATUSES[name.lower()] for (name,) in told["partialStatus"]]
        _require(
            len(set(operators)) == len(entries),
            _are_integers(operators, LARGEST_ID),
            set(map(len, bodies)) == {len(PLAIN)},
            not any(map(_names_twice, values, bodies)),
            _are(HASHES, HASH_LENGTH, told["signingKey"]),
            _are_integers(told["currentDomainId"], LARGEST_ID),
            _are_integers(told["nextDomainId"], LARGEST_ID),
            _are_integers(told["nominationTax"], PERCENT),
            set(map(type, told["partialStatus"])) == {dict},
            all(map(int.__le__, numbers["currentTotalShares"], numbers["currentTotalStake"])),
        )
    except OTHER_SHAPE:
        return None
    normal = {name: [f"{number}" for number in column] for name, column in numbers.items()}
    for name, column in (*normal.items(), ("partialStatus", statuses)):
        for body, value in zip(bodies, column, strict=True):
            body[name] = value
    return dict(zip(zip(told["currentDomainId"], operators, strict=True), bodies, strict=True))


def _names_twice(value: str, body: dict[str, Any]) -> bool:
    """Whether an operator names something twice, which one of as many names as usual does not."""
    return value.count('":') > len(PLAIN) + 1 and names_twice(value[OPERATOR_KEY + 1 :], body)


def prices_of(
    entries: Sequence[Any], known: Container[object], domain_id: int, latest: int
) -> list[tuple[str, tuple[int, int, int]]]:
    """Text, and the epoch, operator and price that it tells, of what is plain and not known yet.

    Nothing if any of it has another shape; what is out of range or of another domain is left out.
    """
    try:
        values = [value for entry in entries if (value := entry["value"]) not in known]
        keys = _keys(values, PRICES_PREFIX, PRICE_KEY, "<QII")
        texts = [value[PRICE_KEY + 1 :] for value in values]
        digits = "".join(texts)
        _require(digits.isascii(), digits.isdecimal(), max(map(len, texts)) <= LONGEST)
        return [
            (value, (epoch, operator, price))
            for value, (operator, domain, epoch), price in zip(
                values, keys, map(int, texts), strict=True
            )
            if domain == domain_id and operator <= LARGEST_ID and epoch <= latest
            if 1 <= price <= ONE
        ]
    except OTHER_SHAPE:
        return []


def amounts_of(told: Mapping[str, Any]) -> list[str] | None:
    """Amounts with commas between groups of three as plain decimal text; None if not plain."""
    try:
        text = ";".join(told.values())
    except TypeError:
        return None
    amounts = text.replace(",", "").split(";")
    plain = (
        len(amounts) == len(told)
        and set(text.translate(TO_ZEROS).split(";")) <= GROUPED
        and not [amount for amount in amounts if amount[0] == "0" != amount]
    )
    return amounts if plain else None


def _require(*conditions: bool) -> None:
    if not all(conditions):
        raise ValueError


def _keys(values: Sequence[Any], prefix: str, length: int, form: str) -> Iterator[tuple[int, ...]]:
    """The little-endian integers of the storage keys that the values begin with.

    As many as there are values, or some of the keys are none.
    """
    _require(
        not [value for value in values if value[length] != "," or value[: len(prefix)] != prefix]
    )
    digits = "".join([value[len(prefix) : length] for value in values])
    return struct.iter_unpack(form, bytes.fromhex(digits))


def _numbers(column: Sequence[Any]) -> list[int]:
    """The numbers of JSON integers, and of hexadecimal text as the old script wrote a `u128`."""
    texts = [told for told in column if told.__class__ is str]
    _require(_are(U128S, U128_LENGTH, texts))
    if len(texts) == len(column):
        return [int(text, 16) for text in texts]
    numbers = [int(told, 16) if told.__class__ is str else told for told in column]
    _require(_are_integers(numbers, ABOVE_U128 - 1))
    return numbers


def _are(pattern: re.Pattern[str], length: int, texts: Sequence[str]) -> bool:
    return set(map(len, texts)) <= {length} and pattern.fullmatch("".join(texts)) is not None


def _are_integers(column: Sequence[Any], largest: int) -> bool:
    return set(map(type, column)) == {int} and min(column) >= 0 and max(column) <= largest
