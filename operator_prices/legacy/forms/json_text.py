"""JSON: a list, streamed; or an object a line; or objects one after the other."""

import io
import json
from collections.abc import Iterator
from decimal import Decimal
from functools import partial
from typing import Any, BinaryIO

import ijson
import orjson

from operator_prices.legacy.decoding import shown
from operator_prices.legacy.forms.items import BrokenFormError, FoundRow, Refused, Twice, item_of
from operator_prices.legacy.forms.streams import CHUNK, Stream

LIST, LINES, OBJECTS = "JSON list", "JSON lines", "JSON objects"


class _Object(dict[str, Any]):
    """A JSON object that keeps both values of what it names twice."""

    __slots__ = ()

    def __setitem__(self, name: str, value: object) -> None:
        if name in self:
            value = Twice(self[name], value)
        super().__setitem__(name, value)


def rows_of_list(stream: BinaryIO) -> Iterator[FoundRow | Refused]:
    """The items of a list, which must be JSON to its end: raises `BrokenFormError` if not."""
    return _streamed(stream, LIST, "item", several=False)


def rows_of_objects(stream: BinaryIO) -> Iterator[FoundRow | Refused]:
    """An object a line where the first line is one, else objects that take lines as they like.

    A line that is no JSON is refused by itself.
    """
    first = stream.readline()
    try:
        item = _loaded(first)
    except ValueError:
        rest = io.BufferedReader(Stream(partial(stream.read, CHUNK), first))
        yield from _streamed(rest, OBJECTS, "", several=True)
        return
    yield item_of(LINES, "line 1", item)
    for number, line in enumerate(stream, 2):
        if not line.strip():
            continue
        place = f"line {number}"
        try:
            item = _loaded(line)
        except ValueError as error:
            yield Refused(LINES, place, shown(line.rstrip()), f"is broken JSON: {error}")
        except RecursionError:
            yield Refused(LINES, place, shown(line.rstrip()), "is nested too deep")
        else:
            yield item_of(LINES, place, item)


def _streamed(
    stream: BinaryIO, form: str, prefix: str, *, several: bool
) -> Iterator[FoundRow | Refused]:
    items = ijson.items(stream, prefix, map_type=_Object, multiple_values=several)
    number = 0
    try:
        for item in items:
            number += 1
            yield item_of(form, f"item {number}", item)
    except ijson.JSONError as error:
        reason = str(error).strip().split("\n")[0]
        raise BrokenFormError(
            f"is cut off or broken JSON after item {number} ({reason})"
        ) from error


def _loaded(line: bytes) -> object:
    """A line of JSON with all its digits, and both values of what is named twice."""
    orjson.loads(line)  # refuses what is no JSON and the standard library takes
    return json.loads(line, parse_float=Decimal, object_pairs_hook=_paired)


def _paired(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) == len(pairs):
        return found
    once = _Object()
    for name, value in pairs:
        once[name] = value
    return once
