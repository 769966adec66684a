"""The old way to answer: parse each epoch's stored JSON again, per request."""

from collections.abc import Iterable, Iterator
from typing import Any

import orjson

ALWAYS = ("0", "1", "2", "3")
"""Operators that the old answers always had a key for."""

UNKNOWN_PRICE = str(10**18)


def old_shape(  # noqa: PLR0917
    epoch: int,
    end_block: int,
    timestamp: int,
    domain_id: int,
    data: bytes | str,
    operators: tuple[int, ...] | None = None,
) -> dict[str, Any]:
    """An epoch in the shape of the old API, from its raw document alone.

    A document knows the prices that its epoch stored on chain and not the derived ones: those are
    named as defaulted or absent here.
    """
    document = orjson.loads(data)
    if not isinstance(document, dict):
        document = {}
    staking = document.get("domainStakingSummary") or {}
    prices = dict(_prices(document, epoch))
    rewards = {**dict.fromkeys(ALWAYS, "0"), **_amounts(staking.get("currentEpochRewards"))}
    entries = (document.get("operators") or {}).get("entries") or []
    wanted = None if operators is None else {str(operator) for operator in operators}

    def chosen(amounts: dict[str, str]) -> dict[str, str]:
        known = (
            amounts.items() if wanted is None else (p for p in amounts.items() if p[0] in wanted)
        )
        return dict(sorted(known, key=lambda pair: int(pair[0])))

    return {
        "domainId": domain_id,
        "epoch": epoch,
        "endBlock": end_block,
        "timestamp": timestamp,
        "totalStake": _amount(staking.get("currentTotalStake")),
        "storageFees": _sum(entry["value"].get("totalStorageFeeDeposit") for entry in entries),
        "operatorStakes": chosen(
            {str(entry["key"][0]): "0" for entry in entries}
            | _amounts(staking.get("currentOperators"))
        ),
        "rewards": chosen({str(entry["key"][0]): "0" for entry in entries} | rewards),
        "operatorSharePrices": chosen(dict.fromkeys(ALWAYS, UNKNOWN_PRICE) | prices),
        "operators": len(entries),
        "meta": {
            "rewardsHasAny": any(reward != "0" for reward in rewards.values()),
            "sharePricesHasAny": bool(prices),
            "sampleApplied": False,
            "sharePricesDefaulted": [
                operator
                for operator in ALWAYS
                if operator not in prices and (wanted is None or operator in wanted)
            ],
        },
    }


def _prices(document: dict[str, Any], epoch: int) -> Iterator[tuple[str, str]]:
    for entry in (document.get("operatorEpochSharePrice") or {}).get("entries") or []:
        operator, place = entry["key"]
        if orjson.loads(place)[1] == epoch and (price := _amount(entry["value"])) is not None:
            yield str(operator), price


def _amounts(amounts: dict[str, Any] | None) -> dict[str, str]:
    known = ((operator, _amount(amount)) for operator, amount in (amounts or {}).items())
    return {operator: amount for operator, amount in known if amount is not None}


def _sum(amounts: Iterable[str | int | None]) -> str | None:
    """None if one of them is unknown."""
    known = [_amount(amount) for amount in amounts]
    return None if None in known else str(sum(int(amount) for amount in known if amount))


def _amount(text: str | int | None) -> str | None:
    """Decimal text as it is, grouped decimal or hexadecimal text as decimal.

    >>> _amount("6,870,330,918"), _amount("0x002a"), _amount(7), _amount(None)
    ('6870330918', '42', '7', None)
    """
    if text is None:
        return None
    plain = str(text).replace(",", "")
    return str(int(plain, 16)) if plain.startswith(("0x", "0X")) else str(int(plain))
