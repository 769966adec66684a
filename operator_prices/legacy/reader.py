"""From a snapshot of the old system to the normal form of a raw epoch; pure, no I/O.

The normal form is the document of `documents.raw_epochs`: true keys, plain decimal text, unknown is
null, and what could not be understood is named under `quarantined`.
"""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import orjson

from operator_prices.epochs.counts import COUNTED
from operator_prices.legacy import plain
from operator_prices.legacy.entries import (
    HASH,
    TWICE,
    UnreadableError,
    column,
    document_of,
    exactly,
    misfit_of,
    optional,
    require_exact,
    shown,
    text_of,
)
from operator_prices.legacy.numbers import InexactError, NotANumberError, amount
from operator_prices.legacy.operators import ByOperator, Operators
from operator_prices.legacy.prices import Prices
from operator_prices.legacy.snapshots import Offender, Row, Snapshot

ZERO = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")
"""The escape of a zero character, and not a backslash before the text u0000."""

REPLACED = {
    "epoch",
    "endBlock",
    "endHash",
    "domainId",
    "domainStakingSummary",
    "operators",
    "operatorEpochSharePrice",
    "quarantined",
    "totalStake",
    "totalShares",
    "totalStorageFeeDeposit",
}
"""Members that are written anew, or left out since the old system always wrote "0"; the others are
facts of the epoch and stay as they are."""

AMOUNTS_OF_EPOCH = {
    "accumulatedTreasuryFunds": "AccumulatedTreasuryFunds",
    "domainChainRewards": "DomainChainRewards",
}
SUMMED = ("currentTotalStake", "currentOperators", "currentEpochRewards")
"""What of the summary is read by itself."""

STAKING, EARLIER = "DomainStakingSummary", "quarantined"
"""Items of offenders."""


@dataclass(slots=True)
class Reader:
    """Understands the rows of one window, in the order of their epochs."""

    domain_id: int
    offenders: list[Offender] = field(default_factory=list)
    prices: Prices = field(init=False)
    operators: Operators = field(init=False)
    _latest: int | None = None
    _ids: dict[str, int] = field(default_factory=dict)
    """Operators by their plain decimal text, as far as they were met."""

    def __post_init__(self) -> None:
        self.prices = Prices(self.domain_id, self.offenders)
        self.operators = Operators(self.domain_id, self.offenders)

    def read(self, row: Row) -> Snapshot | None:
        """The snapshot of `row`, None where the row as a whole cannot be understood.

        What the document says of prices is learned all the same, if it can be read. Of two rows of
        one epoch the first is taken.
        """
        if row.epoch == self._latest:
            self._offend(row.epoch, "epochs", "epoch", shown(row.data), TWICE)
            return None
        self._latest = row.epoch
        before, counted = len(self.offenders), self.operators.count
        try:
            text = text_of(row.data)
            document = document_of(row.epoch, text)
            self.prices.read(row.epoch, document.get("operatorEpochSharePrice"))
            before = len(self.offenders)
            try:
                return self._snapshot(row, text, document, orjson.loads)
            except InexactError:
                del self.offenders[before:]
                self.operators.count = counted
                return self._snapshot(row, text, exactly(text), exactly)
        except UnreadableError as error:
            path, reason = error.path or "data", str(error)
        except RecursionError:
            path, reason = "data", "is nested too deep"
        except (ValueError, InexactError):
            path, reason = "data", "holds a number or a text that cannot be kept exactly"
        del self.offenders[before:]
        self.operators.count = counted
        self._offend(row.epoch, "epochs", path, shown(getattr(row, path, row.data)), reason)
        return None

    def read_prices(self, row: Row) -> None:
        """Learn the prices that `row` tells and nothing else of it, nor complain of it."""
        before = len(self.offenders)
        try:
            document = document_of(row.epoch, text_of(row.data))
            self.prices.read(row.epoch, document.get("operatorEpochSharePrice"))
        except (ValueError, RecursionError):
            return
        finally:
            del self.offenders[before:]

    def _snapshot(
        self, row: Row, text: str, document: dict[str, Any], decode: Callable[[str], Any]
    ) -> Snapshot:
        epoch = row.epoch
        end_block = column("end_block", row.end_block)
        timestamp = column("timestamp", row.timestamp, 2**63)
        if not (isinstance(row.end_hash, str) and HASH.fullmatch(row.end_hash)):
            raise UnreadableError("end_hash", "is no block hash")
        if "\\u0000" in text and ZERO.search(text):
            raise UnreadableError("data", "holds a zero character, which no JSONB can")
        before = len(self.offenders)
        rest = {name: value for name, value in document.items() if name not in REPLACED}
        require_exact(rest)
        self._facts(epoch, rest)
        transition = rest.get("transition")
        transition = transition if isinstance(transition, dict) else {}
        summary, active, rewards = self._summary(epoch, document.get("domainStakingSummary"))
        entries = self.operators.read(epoch, document.get("operators"), active, rewards, decode)
        misfits = self._misfits(epoch, before, document.get("quarantined"))
        whole = {
            "epoch": epoch,
            "endBlock": end_block,
            "endHash": row.end_hash,
            "timestamp": timestamp,
            "domainId": str(self.domain_id),
            "specVersion": None,
            "transition": None,
            **rest,
            "domainStakingSummary": summary,
            "operators": {"entries": entries},
        }
        members = orjson.dumps(whole)
        if b"\\u0000" in members:
            raise UnreadableError("data", "holds a zero character, which no JSONB can")
        hash_ = transition.get("hash")
        return Snapshot(
            epoch,
            end_block,
            row.end_hash,
            timestamp,
            optional(rest.get("specVersion")),
            optional(transition.get("block")),
            hash_ if isinstance(hash_, str) and HASH.fullmatch(hash_) else None,
            members,
            misfits,
        )

    def _misfits(self, epoch: int, first: int, told: object) -> list[dict[str, str | None]]:
        """What could not be understood since offender `first`, as the document names it.

        A document of the normal form names some already, whose values are gone: what it says of
        them stands, here and among the offenders.
        """
        earlier = self._earlier_misfits(epoch, told)
        own = self.offenders[first:]
        del self.offenders[first:]
        known = {(misfit["item"], misfit["operatorId"]) for misfit in earlier}
        self.offenders += [
            Offender(
                epoch,
                str(misfit["item"]),
                misfit["path"] or "data.quarantined",
                json.dumps(misfit),
                str(misfit["reason"]),
                None if misfit["operatorId"] is None else int(misfit["operatorId"]),
                misfit["storageKey"],
            )
            for misfit in earlier
        ]
        misfits = list(earlier)
        for offender in own:
            operator = None if offender.operator_id is None else str(offender.operator_id)
            if (offender.item, operator) in known:
                continue
            self.offenders.append(offender)
            misfits.append(
                {
                    "item": offender.item,
                    "reason": offender.reason,
                    "operatorId": operator,
                    "storageKey": offender.storage_key,
                    "path": offender.path,
                }
            )
        return misfits

    def _earlier_misfits(self, epoch: int, told: object) -> list[dict[str, str | None]]:
        """What a document of the normal form names already; what is no such list is an offender."""
        path = "data.quarantined"
        if told is not None and not isinstance(told, list):
            self._offend(epoch, EARLIER, path, shown(told), "is no list")
        found = []
        for index, misfit in enumerate(told if isinstance(told, list) else ()):
            try:
                found.append(misfit_of(misfit))
            except NotANumberError:
                where = f"{path}[{index}]"
                self._offend(epoch, EARLIER, where, shown(misfit), "names no value and its fault")
        return found

    def _facts(self, epoch: int, rest: dict[str, Any]) -> None:
        """Put the numbers of the epoch itself into their normal form, null where one is none."""
        for name, item in AMOUNTS_OF_EPOCH.items():
            if (told := rest.get(name)) is not None:
                rest[name] = None
                try:
                    rest[name] = str(amount(told))
                except NotANumberError as error:
                    self._offend(epoch, item, f"data.{name}", shown(told), str(error))
        for name, item in COUNTED.items():
            if (told := rest.get(name)) is None:
                continue
            path = f"data.{name}"
            if not isinstance(told, dict):
                rest[name] = None
                self._offend(epoch, item, path, shown(told), "is no object")
            elif (count := told.get("count")) is not None:
                rest[name] = {**told, "count": None}
                try:
                    rest[name]["count"] = column(f"{path}.count", count)
                except UnreadableError as error:
                    self._offend(epoch, item, error.path, shown(count), str(error))

    def _summary(
        self, epoch: int, summary: object
    ) -> tuple[dict[str, Any] | None, ByOperator | None, ByOperator | None]:
        """The summary in its normal form, and by operator the active stakes and the rewards."""
        if not isinstance(summary, dict):
            reason = "is missing" if summary is None else "is no object"
            self._offend(epoch, STAKING, "data.domainStakingSummary", shown(summary), reason)
            return None, None, None
        require_exact(summary, SUMMED)
        stakes, active = self._amounts(epoch, summary, "currentOperators")
        rewarded, rewards = self._amounts(epoch, summary, "currentEpochRewards")
        return (
            {
                **summary,
                "currentEpochIndex": str(epoch),
                "currentTotalStake": self._total(epoch, summary.get("currentTotalStake")),
                "currentOperators": stakes,
                "currentEpochRewards": rewarded,
            },
            active,
            rewards,
        )

    def _total(self, epoch: int, value: object) -> object:
        try:
            return str(amount(value))
        except NotANumberError as error:
            path = "data.domainStakingSummary.currentTotalStake"
            self._offend(epoch, STAKING, path, shown(value), str(error))
            return None

    def _amounts(
        self, epoch: int, summary: dict[str, Any], name: str
    ) -> tuple[dict[str, object] | None, ByOperator | None]:
        """The map in its normal form, and by operator; None is what could not be understood.

        What is no number stays in the document as it is: left out it would read as none at all.
        """
        told = summary.get(name)
        path = f"data.domainStakingSummary.{name}"
        if not isinstance(told, dict):
            reason = "is missing" if told is None else "is no object"
            self._offend(epoch, STAKING, path, shown(told), reason)
            return None, None
        normal: dict[str, object] = {}
        known: ByOperator = {}
        ids = self._ids
        if told.keys() <= ids.keys() and (texts := plain.amounts_of(told)) is not None:
            known.update(zip(map(ids.__getitem__, told), texts, strict=True))
            return dict(zip(told, texts, strict=True)), known
        for key, value in told.items():
            operator = None
            try:
                operator = ids[key] if key in ids else amount(key)
                text = str(amount(value))
            except NotANumberError as error:
                where = f"{path}.{key}"
                self._offend(epoch, STAKING, where, shown(value), str(error), operator)
                normal[key] = value
                if operator is not None:
                    known[operator] = None
            else:
                if key not in ids and key == str(operator):
                    ids[key] = operator
                normal[str(operator)] = text
                known[operator] = text
        return normal, known

    def _offend(  # noqa: PLR0917 - in the order of `Offender`
        self,
        epoch: int,
        item: str,
        path: str,
        raw: str,
        reason: str,
        operator_id: int | None = None,
        storage_key: str | None = None,
    ) -> None:
        self.offenders.append(Offender(epoch, item, path, raw, reason, operator_id, storage_key))
