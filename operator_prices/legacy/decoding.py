"""The JSON of a row: decoded with all its digits, or refused with the reason; pure, no I/O."""

import json
from collections.abc import Container
from decimal import Decimal
from typing import Any

import orjson

from operator_prices.legacy.numbers import InexactError, NotANumberError, amount

LARGEST_ID = 2**31 - 1
"""The largest epoch or operator that a column of type INTEGER holds."""

KEPT_CHARACTERS = 10_000
"""As many characters of an offender are kept."""

DEEPEST = 100
"""As many levels of JSON are kept: every library on the way to the tables takes more."""

LONGEST_INTEGER = 18
"""Characters of an integer that every reader of JSON takes for one."""


class UnreadableError(ValueError):
    """What is wrong, and where below the place that is being read."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(reason)
        self.path = path


def text_of(data: object) -> str:
    if isinstance(data, bytes):
        try:
            return data.decode()
        except UnicodeDecodeError as error:
            raise UnreadableError("data", "is no UTF-8") from error
    if isinstance(data, str):
        return data
    raise UnreadableError("data", "is missing" if data is None else "is no text")


def document_of(epoch: int, text: str) -> dict[str, Any]:
    try:
        document = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise UnreadableError("data", f"is broken JSON: {error.msg}") from error
    if not isinstance(document, dict):
        raise UnreadableError("data", "is no JSON object")
    if names_twice(text, document):
        raise UnreadableError("data", "names something twice")
    if "epoch" in document and column("data.epoch", document["epoch"]) != epoch:
        raise UnreadableError("data.epoch", "is another epoch than that of the row")
    return document


def names_twice(text: str, document: dict[str, Any]) -> bool:
    """Whether an object of the text names something twice, of which decoding keeps one."""
    try:
        if text.count('":') <= orjson.dumps(document).count(b'":'):
            return False  # of nearly all of them this is known at once
    except TypeError:
        return False  # too deep, which is named elsewhere
    found = False

    def read(pairs: list[tuple[str, object]]) -> None:
        nonlocal found
        found = found or len(pairs) > len({name for name, _ in pairs})

    json.loads(text, object_pairs_hook=read)
    return found


def exactly(text: str) -> Any:  # noqa: ANN401
    """JSON as `orjson` reads it, but with its fractions and its long integers as their text."""
    orjson.loads(text)  # refuses what is no JSON and the standard library takes, as NaN
    return json.loads(text, parse_float=str, parse_int=_integer)


def _integer(text: str) -> int | str:
    return int(text) if len(text) <= LONGEST_INTEGER else text


def require_exact(members: dict[str, Any], but: Container[str] = ()) -> None:
    """Raise `InexactError` if a float is in the members, but those that are read by themselves."""
    for name, value in members.items():
        if name not in but and _has_float(value):
            raise InexactError


def _has_float(value: object, depth: int = 0) -> bool:
    if depth > DEEPEST:
        raise UnreadableError("", f"is nested more than {DEEPEST} levels deep")
    if isinstance(value, dict):
        value = value.values()
    elif not isinstance(value, list):
        return isinstance(value, float)
    return any([_has_float(one, depth + 1) for one in value if one.__class__ is not str])  # noqa: C419 - quicker


def column(path: str, value: object, above: int = LARGEST_ID + 1) -> int:
    if isinstance(value, Decimal) and value.is_finite() and value == value.to_integral_value():
        value = int(value)  # of a column of type NUMERIC
    try:
        number = amount(value)
    except InexactError as error:
        raise UnreadableError(path, "is no number") from error
    except NotANumberError as error:
        raise UnreadableError(path, str(error)) from error
    if number >= above:
        raise UnreadableError(path, "is too large")
    return number


def optional(value: object) -> int | None:
    return value if type(value) is int and 0 <= value <= LARGEST_ID else None


def shown(value: object) -> str:
    """What was found, as text that Postgres can hold."""
    if isinstance(value, bytes):
        text = value.decode(errors="backslashreplace")
    else:
        text = value if isinstance(value, str) else json.dumps(value, default=repr)
    text = text.replace("\0", "\\0").encode(errors="backslashreplace").decode()
    return (
        text
        if len(text) <= KEPT_CHARACTERS
        else f"{text[:KEPT_CHARACTERS]}... ({len(text)} characters)"
    )
