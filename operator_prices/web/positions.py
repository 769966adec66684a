"""Rows of an account's positions to what is published of them: pure, amounts as decimal text."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from operator_prices.web.earnings import Earnings, Moment, earned, summed_up, together

Row = Mapping[str, Any]
"""A row of `queries.positions.MOMENTS`."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How far the domain was at an epoch's end, when, and how long a domain block takes."""

    head: int
    timestamp: int
    blocks: int
    milliseconds: int
    """That so many blocks took."""

    def reached(self, block: int) -> int | None:
        """When a later block should be there, in milliseconds; None for one that is there.

        >>> Pace(1_000, 60_000, 100, 700_001).reached(1_010)
        130001
        """
        if block <= self.head:
            return None
        return self.timestamp - (self.head - block) * self.milliseconds // self.blocks


def pace_of(row: Sequence[int | None]) -> Pace | None:
    """The pace between two moments, None if there are none or the domain did not move.

    >>> pace_of((900, 1000, 0, 60_000))
    Pace(head=1000, timestamp=60000, blocks=100, milliseconds=60000)
    """
    first, last, begun, ended = row
    if first is None or last is None or begun is None or ended is None:
        return None
    return Pace(last, ended, last - first, ended - begun) if last > first else None


def published(rows: Sequence[Row], pace: Pace | None) -> tuple[list[dict[str, Any]], Earnings]:
    """The positions that the rows tell, and what all of them together have earned."""
    kinds: dict[int, dict[str, list[Row]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        kinds[row["operator_id"]][row["kind"]].append(row)
    told, earnings = [], []
    for kind in kinds.values():
        [closing] = kind["closing"]
        opening = kind["opening"][0] if kind["opening"] else None
        changes = kind["change"]
        if closing["ended"] and not changes:
            continue  # it was over before the span began
        found = earned(
            None if opening is None else _moment(opening),
            [_moment(change) for change in changes],
            _moment(closing),
        )
        earnings.append(found)
        told.append({**_position(closing, pace), "tax": _text(closing["taxed"]), **_earned(found)})
    return told, together(earnings)


def summed(positions: Sequence[Mapping[str, Any]], earnings: Earnings) -> dict[str, Any]:
    """All positions of an account together; what is unknown of one is unknown of all."""
    return {
        **{
            name: _text(summed_up(_integer(position[name]) for position in positions))
            for name in ("stake", "pending", "storageFeeDeposit", "leaving", "worth", "tax")
        },
        **_earned(earnings),
    }


def _moment(row: Row) -> Moment:
    return Moment(
        epoch=row["at"],
        timestamp=row["timestamp"],
        staked=_integer(row["staked"]),
        leaving=_integer(row["leaving"]),
        paid_in=_integer(row["paid_in"]),
        paid_out=_integer(row["paid_out"]),
    )


def _position(row: Row, pace: Pace | None) -> dict[str, Any]:
    now = _moment(row)
    withdrawing = None
    if row["withdrawing_shares"]:
        withdrawing = {
            "shares": _text(row["withdrawing_shares"]),
            "amount": _text(row["withdrawing"]),
            **_unlock(row["withdrawing_block"], row["withdrawing_refund"], pace),
        }
    return {
        "operatorId": row["operator_id"],
        "firstEpoch": row["first_epoch"],
        "endedEpoch": row["epoch"] if row["ended"] else None,
        "sharePricePerq": _text(row["share_price_perq"]),
        "shares": _text(row["shares"]),
        "stake": "0" if not row["shares"] else _text(row["stake"]),
        "pending": _text(row["pending"]),
        "storageFeeDeposit": _text(row["storage_fee_deposit"]),
        "onHold": _text(row["on_hold"]),
        "withdrawing": withdrawing,
        "unlocking": [
            {
                "amount": one["amount"],
                **_unlock(one["block"], one["storage_fee_refund"], pace),
            }
            for one in row["unlocking"]
        ],
        "leaving": _text(now.leaving),
        "worth": _text(now.worth),
    }


def _unlock(block: int | None, refund: object, pace: Pace | None) -> dict[str, Any]:
    """When an amount can be had: its block, whether that has come, else about when it will."""
    told = {"storageFeeRefund": _text(refund), "block": block}
    if block is None or pace is None:
        return {**told, "due": None, "estimatedTimestamp": None}
    return {**told, "due": block <= pace.head, "estimatedTimestamp": pace.reached(block)}


def _earned(earnings: Earnings) -> dict[str, Any]:
    return {
        "knownSince": earnings.since,
        "paidIn": _text(earnings.paid_in),
        "paidOut": _text(earnings.paid_out),
        "gain": _text(earnings.gain),
        "return": earnings.told,
        "annualized": earnings.annualized,
        "milliseconds": earnings.milliseconds if earnings.growth is not None else None,
    }


def _text(amount: object) -> str | None:
    return None if amount is None else str(amount)


def _integer(amount: Any) -> int | None:  # noqa: ANN401 - a Decimal without decimals
    return None if amount is None else int(amount)
