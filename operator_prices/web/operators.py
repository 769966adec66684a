"""Rows of operators to what is published of them: pure, amounts as decimal text."""

from collections.abc import Sequence
from typing import Any

from operator_prices.web.returns import DAYS, Return, Worth, over

NAMES = (
    "operatorId",
    "name",
    "color",
    "status",
    "isActive",
    "owner",
    "signingKey",
    "nominationTax",
    "minimumNominatorStake",
    "firstSeenEpoch",
    "lastSeenEpoch",
    "epoch",
    "stake",
    "activeStake",
    "shares",
    "reward",
    "sharePricePerq",
    "source",
    "stakePerShare",
)
AMOUNTS = {
    "minimumNominatorStake",
    "stake",
    "activeStake",
    "shares",
    "reward",
    "sharePricePerq",
    "stakePerShare",
}
INTEGERS = {"operatorId", "nominationTax", "firstSeenEpoch", "lastSeenEpoch", "epoch"}


def published(row: Sequence[Any]) -> dict[str, Any]:
    """An operator as `/api/operators` tells it, from a row of `operator_rows`.

    `returns` has a key for each span of days over which a return can be computed, and no other.
    """
    facts = {
        name: str(value) if name in AMOUNTS and value is not None else value
        for name, value in zip(NAMES, row, strict=False)
    }
    epoch, timestamp, worth, firsts = row[len(NAMES) :]
    returns = {}
    if epoch is not None:
        last = Worth(epoch, timestamp, int(worth))
        for days, first_epoch, first_timestamp, first_worth in firsts or []:
            first = Worth(first_epoch, first_timestamp, int(first_worth))
            if (earned := over(days, first, last)) is not None:
                returns[f"{days}d"] = _told(earned)
    return {**facts, "returns": returns}


def _told(earned: Return) -> dict[str, Any]:
    return {
        "return": earned.earned,
        "annualized": earned.annualized,
        "fromEpoch": earned.first.epoch,
        "toEpoch": earned.last.epoch,
        "milliseconds": earned.last.timestamp - earned.first.timestamp,
    }


def columns() -> list[tuple[str, str]]:
    """The columns of `flat`, each with its kind."""
    named = [(snake(name), "integer" if name in INTEGERS else "text") for name in NAMES]
    earned = [
        (f"{kind}_{days}d", "text") for days in DAYS for kind in ("return", "annualized_return")
    ]
    return named + earned


def flat(operator: dict[str, Any]) -> list[Any]:
    """An operator as one row of a table; what is unknown is null."""
    row: list[Any] = []
    for name in NAMES:
        value = operator[name]
        row.append(str(value).lower() if isinstance(value, bool) else value)
    for days in DAYS:
        earned = operator["returns"].get(f"{days}d", {})
        row += [earned.get("return"), earned.get("annualized")]
    return row


def snake(name: str) -> str:
    """`sharePricePerq` as columns are called.

    >>> snake("sharePricePerq")
    'share_price_perq'
    """
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)
