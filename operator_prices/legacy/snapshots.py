"""A row of the old table, what is understood of it, and what is not; pure, no I/O."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import orjson

from operator_prices.legacy.decoding import UnreadableError, column, shown


class Row(NamedTuple):
    """A row of the old table as its source holds it; nothing is certain but the epoch."""

    epoch: int
    end_block: object
    end_hash: object
    timestamp: object
    data: object


class Offender(NamedTuple):
    """Something that could not be understood: where it is, and why."""

    epoch: int | None
    item: str
    path: str
    raw: str
    reason: str
    operator_id: int | None = None
    storage_key: str | None = None


def misplaced(epoch: object) -> Offender:
    """What stands in the place of an epoch, and is none."""
    try:
        column("epoch", epoch)
    except UnreadableError as error:
        known = epoch if isinstance(epoch, int) and abs(epoch) < 2**63 else None
        return Offender(known, "epochs", "epoch", shown(epoch), str(error))
    raise ValueError(f"{epoch} is an epoch")


@dataclass(slots=True)
class Snapshot:
    """One row, understood: the facts of its columns, and its document without prices.

    Of the first generation there are no times, and the hash may be missing.
    """

    epoch: int
    end_block: int
    end_hash: str | None
    timestamp: int | None
    spec_version: int | None
    transition_block: int | None
    transition_hash: str | None
    members: bytes
    """The members of the document but two, as JSON without its last brace."""
    misfits: list[dict[str, str | None]]
    """What of it could not be understood, as the document names it."""
    partial: bool = False
    """Whether it is of the first generation, which tells less."""
    start_block: int | None = None

    def document(self, prices: Mapping[int, int | None], domain_id: int) -> tuple[str, bool]:
        """The whole document with the epoch's own prices by operator, and whether it is complete.

        A price of None is one that is told, but not understood.
        """
        entries = [
            {"key": [str(operator), f"[{domain_id},{self.epoch}]"], "value": str(price)}
            for operator, price in sorted(prices.items())
            if price is not None
        ]
        named = {
            misfit["operatorId"]
            for misfit in self.misfits
            if misfit["item"] == "OperatorEpochSharePrice"
        }
        misfits = self.misfits + [
            {
                "item": "OperatorEpochSharePrice",
                "reason": "no snapshot tells it as a price",
                "operatorId": str(operator),
                "storageKey": None,
            }
            for operator, price in sorted(prices.items())
            if price is None and str(operator) not in named
        ]
        whole = (
            self.members[:-1]
            + b',"operatorEpochSharePrice":'
            + orjson.dumps({"entries": entries})
            + b',"quarantined":'
            + orjson.dumps(misfits)
            + b"}"
        )
        return whole.decode(), not misfits
