"""Epochs as the first generation of the old system kept them: reciprocals, no shares, no times.

An item is `{domainId, epoch, startBlock, startHash, endBlock, endHash, totalStake, operatorStakes,
rewards, operatorSharePrices}`, stakes being those of active operators; pure, no I/O.
"""

from collections.abc import Iterator
from typing import Any

from operator_prices.amounts import ONE
from operator_prices.legacy.decoding import (
    LARGEST_ID,
    UnreadableError,
    document_of,
    optional,
    shown,
    text_of,
)
from operator_prices.legacy.numbers import InexactError, NotANumberError, amount
from operator_prices.legacy.prices import ITEM
from operator_prices.legacy.snapshots import Offender, Row

GENERATION = "generation"
"""The member of a document of the normal form that says that it is of the first generation."""

NOT_TOLD = {
    "item": "Operators",
    "reason": "the first generation tells neither shares nor terms nor status",
    "operatorId": None,
    "storageKey": None,
    "path": None,
}
"""What a document of the first generation says of itself: it is incomplete, and nothing is odd."""

END, DISAGREES = "EpochEnd", "is not the block before the start of the next epoch"

SECTIONS = {
    "data.domainStakingSummary.currentTotalStake": "data.totalStake",
    "data.domainStakingSummary.currentOperators": "data.operatorStakes",
    "data.domainStakingSummary.currentEpochRewards": "data.rewards",
}
"""Where an item has what a document has."""

ARRANGED = ("operatorStakes", "rewards", "operatorSharePrices", "totalStake")


def is_item(document: dict[str, Any]) -> bool:
    """Whether a document is an item of the first generation as it was written."""
    return "operatorStakes" in document and "domainStakingSummary" not in document


def is_marked(document: dict[str, Any]) -> bool:
    """Whether a document is such an item in its normal form."""
    return document.get(GENERATION) == 1


def arranged(item: dict[str, Any]) -> dict[str, Any]:
    """An item in the shape of a document, but for its prices."""
    return {
        **{name: value for name, value in item.items() if name not in ARRANGED},
        GENERATION: 1,
        "domainStakingSummary": {
            "currentTotalStake": item.get("totalStake"),
            "currentOperators": item.get("operatorStakes"),
            "currentEpochRewards": item.get("rewards"),
        },
        "operatorEpochSharePrice": {"entries": []},
    }


def start_of(row: Row) -> int | None:
    """The block that the epoch of the row starts with, if it tells one."""
    try:
        return optional(document_of(row.epoch, text_of(row.data)).get("startBlock"))
    except (UnreadableError, RecursionError):
        return None


def domain_of(item: dict[str, Any], otherwise: int) -> int:
    try:
        return amount(item.get("domainId", otherwise))
    except (NotANumberError, InexactError) as error:
        raise UnreadableError("data.domainId", str(error) or "is no number") from error


def priced(epoch: int, item: dict[str, Any]) -> Iterator[tuple[int, int | None] | Offender]:
    """Operator and price, None where its reciprocal is of no price, and then also an offender."""
    told = item.get("operatorSharePrices")
    if told is not None and not isinstance(told, dict):
        path = "data.operatorSharePrices"
        yield Offender(epoch, ITEM, path, shown(told), "is no object")
        return
    for key, value in (told or {}).items():
        operator = None
        try:
            operator = amount(key)
            if operator > LARGEST_ID:
                operator = None
                raise NotANumberError("is of an operator that cannot be")  # noqa: TRY301
            yield operator, price_of(value)
        except (NotANumberError, InexactError) as error:
            path = f"data.operatorSharePrices.{key}"
            reason = str(error) or "is no number"
            yield Offender(epoch, ITEM, path, shown(value), reason, operator)
            if operator is not None:
                yield operator, None


def price_of(reciprocal: object) -> int:
    """The only price P of which `floor(10^36 / P)` is the number; raises `NotANumberError`.

    >>> price_of("1000000344459117286")
    999999655541001366
    """
    value = amount(reciprocal)
    price = ONE * ONE // value if value else 0
    if not 1 <= price <= ONE or ONE * ONE // price != value:
        raise NotANumberError("is the reciprocal of no price")
    return price
