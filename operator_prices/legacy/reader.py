"""From a snapshot of the old system to the normal form of a raw epoch; pure, no I/O.

The normal form is the document of `documents.raw_epochs`: true keys, plain decimal text, unknown is
null, and what could not be understood is named under `quarantined`.
"""

import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import orjson

from operator_prices.epochs.counts import COUNTED
from operator_prices.legacy import first_generation
from operator_prices.legacy.decoding import (
    UnreadableError,
    column,
    document_of,
    exactly,
    optional,
    require_exact,
    shown,
    text_of,
)
from operator_prices.legacy.entries import HASH, misfit_of
from operator_prices.legacy.numbers import InexactError, NotANumberError, amount
from operator_prices.legacy.operators import Operators
from operator_prices.legacy.prices import Prices
from operator_prices.legacy.snapshots import Offender, Row, Snapshot
from operator_prices.legacy.summaries import Summaries

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
EARLIER = "quarantined"
"""Items of offenders."""


@dataclass(slots=True)
class Reader:
    """Understands the rows of one window, in the order of their epochs."""

    domain_id: int
    offenders: list[Offender] = field(default_factory=list)
    prices: Prices = field(init=False)
    operators: Operators = field(init=False)
    summaries: Summaries = field(init=False)

    def __post_init__(self) -> None:
        self.prices = Prices(self.domain_id, self.offenders)
        self.operators = Operators(self.domain_id, self.offenders)
        self.summaries = Summaries(self.offenders)

    def read(self, row: Row) -> Snapshot | None:
        """The snapshot of `row`, None where the row as a whole cannot be understood.

        What the document says of prices is learned all the same, if it can be read.
        """
        before, counted = len(self.offenders), self.operators.count
        try:
            text = text_of(row.data)
            document = document_of(row.epoch, text)
            if first_generation.is_item(document):
                return self._item(row, text)
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
            if first_generation.is_item(document):
                return
            self.prices.read(row.epoch, document.get("operatorEpochSharePrice"))
        except (ValueError, RecursionError):
            return
        finally:
            del self.offenders[before:]

    def refuse(self, rows: Iterable[Row], reason: str) -> None:
        """Name rows that are not read, since they are no good beside each other."""
        for row in rows:
            self._offend(row.epoch, "epochs", "epoch", shown(row.data), reason)

    def disagrees(self, snapshot: Snapshot, next_start: int) -> None:
        """Name the end of an epoch that is not the block before the next epoch starts."""
        told = {"endBlock": snapshot.end_block, "startBlockOfNext": next_start}
        reason, path = first_generation.DISAGREES, "data.endBlock"
        self._offend(snapshot.epoch, first_generation.END, path, shown(told), reason)
        snapshot.misfits.append(
            {
                "item": first_generation.END,
                "reason": reason,
                "operatorId": None,
                "storageKey": None,
                "path": path,
            }
        )

    def _item(self, row: Row, text: str) -> Snapshot | None:
        """The snapshot of an item of the first generation, and the prices that it tells."""
        item = exactly(text)
        domain = first_generation.domain_of(item, self.domain_id)
        prices = list(first_generation.priced(row.epoch, item))
        if domain != self.domain_id:
            told = {one[0] for one in prices if not isinstance(one, Offender)}
            self.prices.foreign |= {(domain, operator, row.epoch) for operator in told}
            self.operators.foreign |= {(domain, operator) for operator in told}
            return None
        document = first_generation.arranged(item)
        before = len(self.offenders)
        snapshot = self._snapshot(row, text, document, exactly)
        self.offenders += [one for one in prices if isinstance(one, Offender)]
        for index, offender in enumerate(self.offenders[before:], before):
            path = offender.path
            for section, place in first_generation.SECTIONS.items():
                path = path.replace(section, place)
            self.offenders[index] = offender._replace(path=path)
        known = {one for one in prices if not isinstance(one, Offender)}
        self.prices.tell(row.epoch, dict(sorted(known, key=lambda one: one[1] is None)))
        return snapshot

    def _snapshot(
        self, row: Row, text: str, document: dict[str, Any], decode: Callable[[str], Any]
    ) -> Snapshot:
        epoch = row.epoch
        end_block = column("end_block", row.end_block)
        partial = first_generation.is_marked(document)
        timestamp, end_hash = self._end(row, partial=partial)
        if "\\u0000" in text and ZERO.search(text):
            raise UnreadableError("data", "holds a zero character, which no JSONB can")
        before = len(self.offenders)
        rest = {name: value for name, value in document.items() if name not in REPLACED}
        require_exact(rest)
        self._facts(epoch, rest)
        transition = rest.get("transition")
        transition = transition if isinstance(transition, dict) else {}
        summary, active, rewards = self.summaries.read(epoch, document.get("domainStakingSummary"))
        entries = (
            self.operators.active(active, rewards)
            if partial
            else self.operators.read(epoch, document.get("operators"), active, rewards, decode)
        )
        misfits = self._misfits(epoch, before, document.get("quarantined"))
        whole = {
            "epoch": epoch,
            "endBlock": end_block,
            "endHash": end_hash,
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
            end_hash,
            timestamp,
            optional(rest.get("specVersion")),
            optional(transition.get("block")),
            hash_ if isinstance(hash_, str) and HASH.fullmatch(hash_) else None,
            members,
            [*misfits, dict(first_generation.NOT_TOLD)] if partial else misfits,
            partial,
            optional(rest.get("startBlock")),
        )

    def _end(self, row: Row, *, partial: bool) -> tuple[int | None, str | None]:
        """The time and the hash of the row, which only the first generation may lack."""
        lacks = partial and row.timestamp is None
        timestamp = None if lacks else column("timestamp", row.timestamp, 2**63)
        if partial and row.end_hash is None:
            return timestamp, None
        if not (isinstance(row.end_hash, str) and HASH.fullmatch(row.end_hash)):
            raise UnreadableError("end_hash", "is no block hash")
        return timestamp, row.end_hash

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
                named = misfit_of(misfit)
                if named["reason"] != first_generation.NOT_TOLD["reason"]:
                    found.append(named)
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
