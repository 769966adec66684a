"""What a form is read into: rows as they were found, and pieces that are no rows."""

import json
from decimal import Decimal
from typing import NamedTuple

import orjson

from operator_prices.legacy.decoding import shown

WANTED = ("epoch", "end_block", "end_hash", "timestamp", "data")
"""The columns of the old table that an import reads."""

OF_DOCUMENT = ("epoch", "endBlock", "endHash", "timestamp")
"""The members of a document that say what the columns beside it do."""

FIRST_GENERATION = "JSON of the first generation"


class BrokenFormError(ValueError):
    """A form that ends too early or is broken beyond reading on; the message says where and how."""


class FoundRow(NamedTuple):
    """A row of the old table, or what stands for one; nothing of it is certain."""

    form: str
    epoch: object
    end_block: object
    end_hash: object
    timestamp: object
    data: object


class Refused(NamedTuple):
    """A piece that is no row: where it is, how it was found, and why."""

    form: str
    place: str
    raw: str
    reason: str


class Twice(NamedTuple):
    """Two values of one name of a JSON object."""

    first: object
    second: object


class TwiceError(ValueError):
    """A JSON object that names something twice."""


def item_of(form: str, place: str, item: object) -> FoundRow | Refused:
    """The row that a JSON value of a list or of a line tells.

    That is a row of the old table, the document of one, or an epoch of the first generation.
    """
    if not isinstance(item, dict):
        return Refused(form, place, shown(item), "is no object")
    if "epoch" not in item:
        return Refused(form, place, shown(item), "names no epoch")
    try:
        if "data" in item:
            data = item["data"]
            told = data if data is None or isinstance(data, str) else exact_text(data)
            epoch, block, hash_, time = [_column(item.get(name)) for name in WANTED[:-1]]
            return FoundRow(form, epoch, block, hash_, time, told)
        generation = "operatorStakes" in item and "domainStakingSummary" not in item
        form = FIRST_GENERATION if generation else form
        epoch, block, hash_, time = [_column(item.get(name)) for name in OF_DOCUMENT]
        return FoundRow(form, epoch, block, hash_, time, exact_text(item))
    except (TwiceError, RecursionError) as error:
        reason = str(error) if isinstance(error, TwiceError) else "is nested too deep"
        return Refused(form, place, _shown_deep(item), reason)


def exact_text(value: object) -> str:
    """A JSON value as text; integers keep all digits, fractions become text with all of theirs.

    Raises `TwiceError`.
    """
    try:
        return orjson.dumps(value, default=_exact).decode()
    except TypeError as error:
        if isinstance(error.__cause__, TwiceError):
            raise error.__cause__ from None
        return json.dumps(value, default=_exact, separators=(",", ":"))


def _exact(value: object) -> object:
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, Twice):
        raise TwiceError("names something twice")
    raise TypeError(f"{type(value).__name__} is no JSON")


def _column(value: object) -> object:
    if isinstance(value, Twice):
        raise TwiceError("names something twice")
    if isinstance(value, bool | Decimal):
        return json.dumps(value, default=str).strip('"')
    return exact_text(value) if isinstance(value, dict | list) else value


def _shown_deep(item: object) -> str:
    try:
        return shown(item)
    except RecursionError:
        return "(too deep to be shown)"
