"""Rows of one epoch in one source: which one is taken, and which contradict each other; pure."""

import json
from collections.abc import Sequence

from operator_prices.legacy.decoding import UnreadableError, exactly, text_of
from operator_prices.legacy.snapshots import Row

DIFFERS = "is there more than once, and not always the same"


def sorted_out(rows: Sequence[Row]) -> tuple[Row | None, list[Row], list[Row]]:
    """The row to take, those that add what it does not tell, and those that contradict each other.

    Equal ones are one row. A snapshot stands above an item of the first generation, which may tell
    its epoch's own price. Where two of one kind differ neither is taken.
    """
    taken: list[Row] = []
    contradicting: list[Row] = []
    for kind in (False, True):
        alike = [row for row in rows if _is_item(row) is kind]
        if alike and all(_same(alike[0], other) for other in alike[1:]):
            taken.append(alike[0])
        else:
            contradicting += alike
    if contradicting and not _is_item(contradicting[0]):
        return None, taken, contradicting
    return (taken[0] if taken else None), taken[1:], contradicting


def _is_item(row: Row) -> bool:
    try:
        text = text_of(row.data)
    except UnreadableError:
        return False
    return '"operatorStakes"' in text and '"domainStakingSummary"' not in text


def _same(one: Row, other: Row) -> bool:
    if list(map(str, one[:-1])) != list(map(str, other[:-1])):
        return False
    if one.data == other.data:
        return True
    try:
        return bool(exactly(text_of(one.data)) == exactly(text_of(other.data)))
    except (UnreadableError, json.JSONDecodeError, RecursionError):
        return False
