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

from operator_prices.legacy import plain
from operator_prices.legacy.entries import (
    HASH,
    UnreadableError,
    beside,
    body_of,
    column,
    document_of,
    domain_of,
    entries_of,
    exactly,
    misfit_of,
    normal_operator,
    operator_of,
    optional,
    price_of,
    priced,
    require_exact,
    shown,
    text_of,
)
from operator_prices.legacy.numbers import InexactError, NotANumberError, amount
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
COUNTED = {
    "deposits": "Deposits",
    "withdrawals": "Withdrawals",
    "successfulBundles": "SuccessfulBundles",
}
"""Members whose number is published, by the storage item that they are of; null is unknown."""

SUMMED = ("currentTotalStake", "currentOperators", "currentEpochRewards")
"""What of the summary is read by itself."""

STAKING, OPERATORS, PRICES = "DomainStakingSummary", "Operators", "OperatorEpochSharePrice"
EARLIER = "quarantined"
"""Items of offenders."""

TWICE, YET_TO_COME = "is there a second time", "is of an epoch that is yet to come"

Operator = tuple[dict[str, Any], str | None, dict[str, Any] | None]
"""What an entry says of an operator: its value, its owner, and its state after the epoch."""

ToldPrice = tuple[int | None, int]
"""A price, None where it could not be understood, and the epoch of the snapshot that tells it."""


@dataclass(slots=True)
class Reader:
    """Understands the rows of one window, in the order of their epochs."""

    domain_id: int
    offenders: list[Offender] = field(default_factory=list)
    prices: dict[tuple[int, int], ToldPrice] = field(default_factory=dict)
    """By epoch and operator: what the last snapshot that tells it says."""
    foreign_prices: set[tuple[int, int, int]] = field(default_factory=set)
    """Domain, operator and epoch of the prices of other domains."""
    foreign_operators: set[tuple[int, int]] = field(default_factory=set)
    """Domain and operator of the operators of other domains."""
    operators: int = 0
    """Entries of operators that were understood."""
    _latest: int | None = None
    _ids: dict[str, int] = field(default_factory=dict)
    """Operators by their plain decimal text, as far as they were met."""
    _known: dict[object, tuple[int, int, int | None] | None] = field(default_factory=dict)
    """Epoch, operator and price by what tells them; None is what is not ours."""

    def read(self, row: Row) -> Snapshot | None:
        """The snapshot of `row`, None where the row as a whole cannot be understood.

        What the document says of prices is learned all the same, if it can be read. Of two rows of
        one epoch the first is taken.
        """
        if row.epoch == self._latest:
            self._offend(row.epoch, "epochs", "epoch", shown(row.data), TWICE)
            return None
        self._latest = row.epoch
        before, counted = len(self.offenders), self.operators
        try:
            text = text_of(row.data)
            document = document_of(row.epoch, text)
            self._prices(row.epoch, document.get("operatorEpochSharePrice"))
            before = len(self.offenders)
            try:
                return self._snapshot(row, text, document, orjson.loads)
            except InexactError:
                del self.offenders[before:]
                self.operators = counted
                return self._snapshot(row, text, exactly(text), exactly)
        except UnreadableError as error:
            path, reason = error.path or "data", str(error)
        except RecursionError:
            path, reason = "data", "is nested too deep"
        except (ValueError, InexactError):
            path, reason = "data", "holds a number or a text that cannot be kept exactly"
        del self.offenders[before:]
        self.operators = counted
        self._offend(row.epoch, "epochs", path, shown(getattr(row, path, row.data)), reason)
        return None

    def read_prices(self, row: Row) -> None:
        """Learn the prices that `row` tells and nothing else of it, nor complain of it."""
        before = len(self.offenders)
        try:
            document = document_of(row.epoch, text_of(row.data))
            self._prices(row.epoch, document.get("operatorEpochSharePrice"))
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
        entries = self._operators(epoch, document.get("operators"), active, rewards, decode)
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
    ) -> tuple[dict[str, Any] | None, dict[int, str | None] | None, dict[int, str | None] | None]:
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
    ) -> tuple[dict[str, object] | None, dict[int, str | None] | None]:
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
        known: dict[int, str | None] = {}
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

    def _operators(
        self,
        epoch: int,
        section: object,
        active: dict[int, str | None] | None,
        rewards: dict[int, str | None] | None,
        decode: Callable[[str], object],
    ) -> list[dict[str, object]]:
        path = "data.operators"
        entries = entries_of(section)
        if entries is None:
            reason = "is missing" if section is None else "has no list of entries"
            self._offend(epoch, OPERATORS, path, shown(section), reason)
            return []
        count = section.get("count") if isinstance(section, dict) else None
        if isinstance(count, int) and count != len(entries):
            reason = "is not the number of entries"
            self._offend(epoch, OPERATORS, f"{path}.count", str(count), reason)
        found = self._found_at_once(entries) if decode is orjson.loads else None
        if found is None:
            found = self._found_one_by_one(epoch, path, entries, decode)
        self.operators += len(found)
        return [
            {
                "key": [str(operator)],
                "value": value,
                "owner": owner,
                "activeStake": None if active is None else active.get(operator, "0"),
                "reward": None if rewards is None else rewards.get(operator, "0"),
                "after": after,
            }
            for operator, (value, owner, after) in sorted(found.items())
        ]

    def _found_at_once(self, entries: list[Any]) -> dict[int, Operator] | None:
        """The operators of our domain if all entries are plain, and None otherwise."""
        told = plain.operators_of(entries)
        if told is None:
            return None
        ours = self.domain_id
        self.foreign_operators |= {key for key in told if key[0] != ours}
        return {
            operator: (value, None, None)
            for (domain, operator), value in told.items()
            if domain == ours
        }

    def _found_one_by_one(
        self, epoch: int, path: str, entries: list[Any], decode: Callable[[str], object]
    ) -> dict[int, Operator]:
        """The operators of our domain that can be understood; the others are named."""
        found: dict[int, Operator] = {}
        for index, entry in enumerate(entries):
            where = f"{path}.entries[{index}]"
            operator = key = None
            try:
                operator, key, value = operator_of(entry)
                where += ".value"
                body = body_of(value, decode) if isinstance(value, str) else value
                domain = domain_of(body, self.domain_id)
                if domain != self.domain_id:
                    self.foreign_operators.add((domain, operator))
                    continue
                normal = normal_operator(body)
                if operator in found:
                    self._offend(epoch, OPERATORS, where, shown(entry), TWICE, operator, key)
                    continue
                where = f"{path}.entries[{index}]"
                owner, after = entry.get("owner"), entry.get("after")
                if owner is not None or after is not None:
                    owner, after = beside(owner, after)
            except UnreadableError as error:
                where += error.path
                self._offend(epoch, OPERATORS, where, shown(entry), str(error), operator, key)
                continue
            found[operator] = normal, owner, after
        return found

    def _prices(self, epoch: int, section: object) -> None:
        """Learn what a snapshot says of prices, which are mostly those of other epochs."""
        path = "data.operatorEpochSharePrice"
        entries = entries_of(section)
        if entries is None:
            reason = "is missing" if section is None else "has no list of entries"
            self._offend(epoch, PRICES, path, shown(section), reason)
            return
        known = self._known
        prices = self.prices
        known.update(plain.prices_of(entries, known, self.domain_id, epoch))
        for index, entry in enumerate(entries):
            try:
                text = entry["value"]
                keys = entry["key"]
                same = text if len(keys) == 1 else (*map(str, keys), type(text), text)
                told = known[same]
            except (KeyError, TypeError):
                told = self._price(epoch, f"{path}.entries[{index}]", entry)
            if told is not None:
                priced, operator, price = told
                if price is not None or (priced, operator) not in prices:
                    prices[priced, operator] = price, epoch

    def _price(self, row: int, path: str, entry: object) -> tuple[int, int, int | None] | None:
        """The epoch, the operator and the price that an entry tells, if it is one of ours."""
        operator = key = None
        told: tuple[int, int, int | None] | None = None
        try:
            operator, domain, epoch, key, text = priced(entry)
            if domain != self.domain_id:
                self.foreign_prices.add((domain, operator, epoch))
            elif epoch > row:
                self._offend(row, PRICES, f"{path}.key", shown(entry), YET_TO_COME, operator, key)
                return None  # and not known for ever: a later snapshot may tell the same
            else:
                told = epoch, operator, None
                told = epoch, operator, price_of(text)
        except UnreadableError as error:
            where = path + error.path
            self._offend(row, PRICES, where, shown(entry), str(error), operator, key)
        if isinstance(entry, dict):
            keys = entry.get("key")
            value = entry.get("value")
            if isinstance(keys, list) and isinstance(value, str | int):
                same = value if len(keys) == 1 else (*map(str, keys), type(value), value)
                self._known[same] = told
        return told

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
