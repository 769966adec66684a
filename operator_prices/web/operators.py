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
IN_AI3 = ("minimumNominatorStake", "stake", "activeStake", "reward", "stakePerShare")
DIGITS = 18
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


def columns(*, ai3_too: bool = False) -> list[tuple[str, str]]:
    """The columns of `flat`, each with its kind."""
    named = [(snake(name), "integer" if name in INTEGERS else "text") for name in NAMES]
    earned = [
        (f"{name}_{days}d", kind)
        for days in DAYS
        for name, kind in (
            ("return", "text"),
            ("annualized_return", "text"),
            ("from_epoch", "integer"),
            ("to_epoch", "integer"),
        )
    ]
    converted = [(f"{snake(name)}_ai3", "text") for name in IN_AI3 if ai3_too]
    return named + earned + converted


def flat(operator: dict[str, Any], *, ai3_too: bool = False) -> list[Any]:
    """An operator as one row of a table; what is unknown is null."""
    row: list[Any] = []
    for name in NAMES:
        value = operator[name]
        row.append(str(value).lower() if isinstance(value, bool) else value)
    for days in DAYS:
        earned = operator["returns"].get(f"{days}d", {})
        row += [earned.get(name) for name in ("return", "annualized", "fromEpoch", "toEpoch")]
    return row + [ai3(operator[name]) for name in IN_AI3 if ai3_too]


def ai3(shannons: str | None) -> str | None:
    """Shannons as AI3, exactly.

    >>> ai3("1500000000000000000"), ai3("1"), ai3("0"), ai3(None)
    ('1.5', '0.000000000000000001', '0', None)
    """
    if shannons is None:
        return None
    digits = shannons.zfill(DIGITS + 1)
    whole, rest = digits[:-DIGITS], digits[-DIGITS:].rstrip("0")
    return f"{whole}.{rest}" if rest else whole


def snake(name: str) -> str:
    """`sharePricePerq` as columns are called.

    >>> snake("sharePricePerq")
    'share_price_perq'
    """
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)
