"""From a snapshot of the old system to the normal form of a raw epoch; pure, no I/O.

The normal form is the document of `documents.raw_epochs`: true keys, plain decimal text, unknown is
null, and what could not be understood is named under `quarantined`.
"""

import json
import re
import struct
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, NamedTuple

import orjson

from operator_prices.legacy.numbers import InexactError, NotANumberError, amount

ONE = 10**18
"""The highest share price, in perquintills."""

LARGEST_ID = 2**31 - 1
"""The largest epoch or operator that a column of type INTEGER holds."""

SHOWN = 10_000
"""As many characters of an offender are kept."""

DEEPEST = 100
"""As many levels of JSON are kept: every library on the way to the tables takes more."""

LONGEST_INTEGER = 18
"""Characters of an integer that every reader of JSON takes for one."""

OPERATOR_KEY = 82
"""Characters of a key of `Operators`: 0x, two hashes, a `u64`."""

PRICE_KEY = 98
"""Characters of a key of `OperatorEpochSharePrice`: one of `Operators`, and two `u32`."""

OPERATORS_PREFIX = "0x0b41d0c7f7b4485bd7be1d66066b00ad34a0a3fbf14e6c92456ca7bd91d59a57"
PRICES_PREFIX = "0x0b41d0c7f7b4485bd7be1d66066b00adf16a4d4929cfe61f4f6bf4153bb44d9d"
"""What every key of `Domains.Operators` and of `Domains.OperatorEpochSharePrice` begins with."""

EPOCH_KEY = re.compile(r'\["?([0-9]+)"?, ?"?([0-9,]+)"?\]')
HASH = re.compile(r"0x[0-9a-fA-F]{64}")
ZERO = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")
"""The escape of a zero character, and not a backslash before the text u0000."""

STATUSES = {
    name.lower(): name
    for name in (
        "Registered",
        "Deregistered",
        "Slashed",
        "PendingSlash",
        "InvalidBundle",
        "Deactivated",
    )
}
"""The chain's own spelling, by the old system's."""

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
    block_hash: str | None = None


@dataclass(slots=True)
class Snapshot:
    """One row, understood: the facts of its columns, and its document without prices."""

    epoch: int
    end_block: int
    end_hash: str
    timestamp: int
    spec_version: int | None
    transition_block: int | None
    transition_hash: str | None
    members: bytes
    """The members of the document but two, as JSON without its last brace."""
    misfits: list[dict[str, str | None]]
    """What of it could not be understood, as the document names it."""

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


class Price(NamedTuple):
    """What a snapshot says of a price; None is a price that could not be understood."""

    price: int | None
    told_in: int


@dataclass(slots=True)
class Reader:
    """Understands the rows of one window, in the order of their epochs."""

    domain_id: int
    offenders: list[Offender] = field(default_factory=list)
    prices: dict[tuple[int, int], Price] = field(default_factory=dict)
    """By epoch and operator: what the last snapshot that tells it says."""
    foreign_prices: set[tuple[int, int, int]] = field(default_factory=set)
    """Domain, operator and epoch of the prices of other domains."""
    foreign_operators: set[tuple[int, int]] = field(default_factory=set)
    """Domain and operator of the operators of other domains."""
    operators: int = 0
    """Entries of operators that were understood."""
    _latest: int | None = None
    _ids: dict[str, int] = field(default_factory=dict)
    _known: dict[object, tuple[int, int, int | None] | None] = field(default_factory=dict)

    def read(self, row: Row) -> Snapshot | None:
        """The snapshot of `row`, None where the row as a whole cannot be understood.

        What the document says of prices is learned all the same, if it can be read. Of two rows of
        one epoch the first is taken.
        """
        if row.epoch == self._latest:
            self._offend(row.epoch, "epochs", "epoch", _shown(row.data), TWICE)
            return None
        self._latest = row.epoch
        before, counted = len(self.offenders), self.operators
        try:
            text = _text(row.data)
            document = _document(row.epoch, text)
            self._prices(row.epoch, document.get("operatorEpochSharePrice"))
            before = len(self.offenders)
            try:
                return self._snapshot(row, text, document, orjson.loads)
            except InexactError:
                del self.offenders[before:]
                self.operators = counted
                return self._snapshot(row, text, _exactly(text), _exactly)
        except _UnreadableError as error:
            path, reason = error.path or "data", str(error)
        except RecursionError:
            path, reason = "data", "is nested too deep"
        except (ValueError, InexactError):
            path, reason = "data", "holds a number or a text that cannot be kept exactly"
        del self.offenders[before:]
        self.operators = counted
        self._offend(row.epoch, "epochs", path, _shown(getattr(row, path, row.data)), reason)
        return None

    def read_prices(self, row: Row) -> None:
        """Learn the prices that `row` tells and nothing else of it, nor complain of it."""
        before = len(self.offenders)
        try:
            document = _document(row.epoch, _text(row.data))
            self._prices(row.epoch, document.get("operatorEpochSharePrice"))
        except (ValueError, RecursionError):
            return
        finally:
            del self.offenders[before:]

    def _snapshot(
        self, row: Row, text: str, document: dict[str, Any], decode: Callable[[str], Any]
    ) -> Snapshot:
        epoch = row.epoch
        end_block = _column("end_block", row.end_block)
        timestamp = _column("timestamp", row.timestamp, 2**63)
        if not (isinstance(row.end_hash, str) and HASH.fullmatch(row.end_hash)):
            raise _UnreadableError("end_hash", "is no block hash")
        if "\\u0000" in text and ZERO.search(text):
            raise _UnreadableError("data", "holds a zero character, which no JSONB can")
        before = len(self.offenders)
        rest = {name: value for name, value in document.items() if name not in REPLACED}
        _require_exact(rest)
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
            raise _UnreadableError("data", "holds a zero character, which no JSONB can")
        hash_ = transition.get("hash")
        return Snapshot(
            epoch,
            end_block,
            row.end_hash,
            timestamp,
            _optional(rest.get("specVersion")),
            _optional(transition.get("block")),
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
            self._offend(epoch, EARLIER, path, _shown(told), "is no list")
        found = []
        for index, misfit in enumerate(told if isinstance(told, list) else ()):
            try:
                found.append(_misfit(misfit))
            except NotANumberError:
                where = f"{path}[{index}]"
                self._offend(epoch, EARLIER, where, _shown(misfit), "names no value and its fault")
        return found

    def _facts(self, epoch: int, rest: dict[str, Any]) -> None:
        """Put the numbers of the epoch itself into their normal form, null where one is none."""
        for name, item in AMOUNTS_OF_EPOCH.items():
            if (told := rest.get(name)) is not None:
                rest[name] = None
                try:
                    rest[name] = str(amount(told))
                except NotANumberError as error:
                    self._offend(epoch, item, f"data.{name}", _shown(told), str(error))
        for name, item in COUNTED.items():
            if (told := rest.get(name)) is None:
                continue
            path = f"data.{name}"
            if not isinstance(told, dict):
                rest[name] = None
                self._offend(epoch, item, path, _shown(told), "is no object")
            elif (count := told.get("count")) is not None:
                rest[name] = {**told, "count": None}
                try:
                    rest[name]["count"] = _column(f"{path}.count", count)
                except _UnreadableError as error:
                    self._offend(epoch, item, error.path, _shown(count), str(error))

    def _summary(
        self, epoch: int, summary: object
    ) -> tuple[dict[str, Any] | None, dict[int, str | None] | None, dict[int, str | None] | None]:
        """The summary in its normal form, and by operator the active stakes and the rewards."""
        if not isinstance(summary, dict):
            reason = "is missing" if summary is None else "is no object"
            self._offend(epoch, STAKING, "data.domainStakingSummary", _shown(summary), reason)
            return None, None, None
        _require_exact(summary, SUMMED)
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
            self._offend(epoch, STAKING, path, _shown(value), str(error))
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
            self._offend(epoch, STAKING, path, _shown(told), reason)
            return None, None
        normal: dict[str, object] = {}
        known: dict[int, str | None] = {}
        ids = self._ids
        for key, value in told.items():
            operator = None
            try:
                operator = ids[key] if key in ids else ids.setdefault(key, amount(key))
                text = str(amount(value))
            except NotANumberError as error:
                where = f"{path}.{key}"
                self._offend(epoch, STAKING, where, _shown(value), str(error), operator)
                normal[key] = value
                if operator is not None:
                    known[operator] = None
            else:
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
        entries = _entries(section)
        if entries is None:
            reason = "is missing" if section is None else "has no list of entries"
            self._offend(epoch, OPERATORS, path, _shown(section), reason)
            return []
        count = section.get("count") if isinstance(section, dict) else None
        if isinstance(count, int) and count != len(entries):
            reason = "is not the number of entries"
            self._offend(epoch, OPERATORS, f"{path}.count", str(count), reason)
        found: dict[int, dict[str, object]] = {}
        for index, entry in enumerate(entries):
            where = f"{path}.entries[{index}]"
            operator = key = None
            try:
                operator, key, value = _operator(entry)
                where += ".value"
                body = _body(value, decode) if isinstance(value, str) else value
                domain = _domain_of(body, self.domain_id)
                if domain != self.domain_id:
                    self.foreign_operators.add((domain, operator))
                    continue
                normal = _normal_operator(body)
                if operator in found:
                    self._offend(epoch, OPERATORS, where, _shown(entry), TWICE, operator, key)
                    continue
                where = f"{path}.entries[{index}]"
                owner, after = entry.get("owner"), entry.get("after")
                if owner is not None or after is not None:
                    owner, after = _beside(owner, after)
            except _UnreadableError as error:
                where += error.path
                self._offend(epoch, OPERATORS, where, _shown(entry), str(error), operator, key)
                continue
            found[operator] = {
                "key": [str(operator)],
                "value": normal,
                "owner": owner,
                "activeStake": None if active is None else active.get(operator, "0"),
                "reward": None if rewards is None else rewards.get(operator, "0"),
                "after": after,
            }
        self.operators += len(found)
        return [found[operator] for operator in sorted(found)]

    def _prices(self, epoch: int, section: object) -> None:
        """Learn what a snapshot says of prices, which are mostly those of other epochs."""
        path = "data.operatorEpochSharePrice"
        entries = _entries(section)
        if entries is None:
            reason = "is missing" if section is None else "has no list of entries"
            self._offend(epoch, PRICES, path, _shown(section), reason)
            return
        known = self._known
        prices = self.prices
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
                    prices[priced, operator] = Price(price, epoch)

    def _price(self, row: int, path: str, entry: object) -> tuple[int, int, int | None] | None:
        """The epoch, the operator and the price that an entry tells, if it is one of ours."""
        operator = key = None
        told: tuple[int, int, int | None] | None = None
        try:
            operator, domain, epoch, key, text = _priced(entry)
            if domain != self.domain_id:
                self.foreign_prices.add((domain, operator, epoch))
            elif epoch > row:
                self._offend(row, PRICES, f"{path}.key", _shown(entry), YET_TO_COME, operator, key)
                return None  # and not known for ever: a later snapshot may tell the same
            else:
                told = epoch, operator, None
                told = epoch, operator, _price_of(text)
        except _UnreadableError as error:
            where = path + error.path
            self._offend(row, PRICES, where, _shown(entry), str(error), operator, key)
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


SUMMED = ("currentTotalStake", "currentOperators", "currentEpochRewards")
"""What of the summary is read by itself."""

STAKING, OPERATORS, PRICES = "DomainStakingSummary", "Operators", "OperatorEpochSharePrice"
EARLIER = "quarantined"

TWICE, YET_TO_COME = "is there a second time", "is of an epoch that is yet to come"


class _UnreadableError(ValueError):
    """What is wrong, and where below the place that is being read."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(reason)
        self.path = path


def _text(data: object) -> str:
    if isinstance(data, bytes):
        try:
            return data.decode()
        except UnicodeDecodeError as error:
            raise _UnreadableError("data", "is no UTF-8") from error
    if isinstance(data, str):
        return data
    raise _UnreadableError("data", "is missing" if data is None else "is no text")


def _document(epoch: int, text: str) -> dict[str, Any]:
    try:
        document = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise _UnreadableError("data", f"is broken JSON: {error.msg}") from error
    if not isinstance(document, dict):
        raise _UnreadableError("data", "is no JSON object")
    if "epoch" in document and _column("data.epoch", document["epoch"]) != epoch:
        raise _UnreadableError("data.epoch", "is another epoch than that of the row")
    return document


def _exactly(text: str) -> Any:  # noqa: ANN401
    """JSON as `orjson` reads it, but with its fractions and its long integers as their text."""
    orjson.loads(text)  # refuses what is no JSON and the standard library takes, as NaN
    return json.loads(text, parse_float=str, parse_int=_integer)


def _integer(text: str) -> int | str:
    return int(text) if len(text) <= LONGEST_INTEGER else text


def _require_exact(members: dict[str, Any], but: Container[str] = ()) -> None:
    """Raise `InexactError` if a float is in the members, but those that are read by themselves."""
    for name, value in members.items():
        if name not in but and _has_float(value):
            raise InexactError


def _has_float(value: object, depth: int = 0) -> bool:
    if depth > DEEPEST:
        raise _UnreadableError("", f"is nested more than {DEEPEST} levels deep")
    if isinstance(value, dict):
        value = value.values()
    elif not isinstance(value, list):
        return isinstance(value, float)
    return any([_has_float(one, depth + 1) for one in value if one.__class__ is not str])  # noqa: C419 - quicker


def misplaced(epoch: object) -> Offender:
    """What stands in the place of an epoch, and is none."""
    try:
        _column("epoch", epoch)
    except _UnreadableError as error:
        shown = epoch if isinstance(epoch, int) and abs(epoch) < 2**63 else None
        return Offender(shown, "epochs", "epoch", _shown(epoch), str(error))
    raise ValueError(f"{epoch} is an epoch")


def _column(path: str, value: object, above: int = LARGEST_ID + 1) -> int:
    if isinstance(value, Decimal) and value.is_finite() and value == value.to_integral_value():
        value = int(value)  # of a column of type NUMERIC
    try:
        number = amount(value)
    except InexactError as error:
        raise _UnreadableError(path, "is no number") from error
    except NotANumberError as error:
        raise _UnreadableError(path, str(error)) from error
    if number >= above:
        raise _UnreadableError(path, "is too large")
    return number


def _optional(value: object) -> int | None:
    return value if type(value) is int and 0 <= value <= LARGEST_ID else None


def _shown(value: object) -> str:
    """What was found, as text that Postgres can hold."""
    if isinstance(value, bytes):
        text = value.decode(errors="backslashreplace")
    else:
        text = value if isinstance(value, str) else json.dumps(value, default=repr)
    text = text.replace("\0", "\\0").encode(errors="backslashreplace").decode()
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}... ({len(text)} characters)"


def _entries(section: object) -> list[Any] | None:
    entries = section.get("entries") if isinstance(section, dict) else None
    return entries if isinstance(entries, list) else None


def _parts(key: str, prefix: str, form: str) -> tuple[int, ...] | None:
    """The little-endian integers behind the prefix of a storage key, None where it is another."""
    start = key[:66]
    try:
        if (start == prefix or start.lower() == prefix) and key.isalnum():
            return struct.unpack(form, bytes.fromhex(key[66:]))
    except (ValueError, struct.error):
        pass
    return None


def _id(path: str, value: object) -> int:
    try:
        number = amount(value)
    except (NotANumberError, InexactError) as error:
        raise _UnreadableError(path, "is no number") from error
    if number > LARGEST_ID:
        raise _UnreadableError(path, "is too large")
    return number


def _operator(entry: object) -> tuple[int, str | None, str | dict[str, Any]]:
    """The operator, its storage key if there is one, and its value, of either shape of entry.

    A value that is text is JSON still to be read.
    """
    if not isinstance(entry, dict):
        raise _UnreadableError("", "is no object")
    value, keys = entry.get("value"), entry.get("key")
    if isinstance(value, dict):
        if not (isinstance(keys, list) and len(keys) == 1):
            raise _UnreadableError(".key", "names no operator")
        return _id(".key", keys[0]), None, value
    if not isinstance(value, str):
        raise _UnreadableError(".value", "is missing" if value is None else "is no operator")
    key, comma, body = value.partition(",")
    parts = _parts(key, OPERATORS_PREFIX, "<Q") if comma and len(key) == OPERATOR_KEY else None
    if parts is None:
        raise _UnreadableError(".value", "has no storage key, and an index names no operator")
    operator = parts[0]
    if operator > LARGEST_ID:
        raise _UnreadableError(".value", "is of an operator that cannot be")
    return operator, key, body


def _body(text: str, decode: Callable[[str], Any]) -> dict[str, Any]:
    try:
        body = decode(text)
    except orjson.JSONDecodeError as error:
        raise _UnreadableError("", f"is broken JSON: {error.msg}") from error
    if not isinstance(body, dict):
        raise _UnreadableError("", "is no operator")
    return body


OPTIONAL_AMOUNTS = ("depositsInEpoch", "withdrawalsInEpoch")
AMOUNTS = (
    "minimumNominatorStake",
    "currentTotalStake",
    "currentTotalShares",
    "totalStorageFeeDeposit",
    *OPTIONAL_AMOUNTS,
)
U128 = re.compile(r"0x[0-9a-f]{32}\Z")
"""A `u128` as the old script writes it."""


UNDERSTOOD = frozenset(
    {*AMOUNTS, "nominationTax", "partialStatus", "signingKey", "currentDomainId"}
)
"""What of an operator is read by itself."""
PLAIN = UNDERSTOOD | {"nextDomainId"}
"""What the old script wrote of one."""


def _domain_of(value: dict[str, Any], otherwise: int) -> int:
    """The domain of an operator; where it does not say so, it is of ours."""
    told = value.get("currentDomainId", otherwise)
    if told.__class__ is int and told == otherwise:
        return otherwise
    try:
        return amount(told)
    except NotANumberError as error:
        raise _UnreadableError(".currentDomainId", str(error)) from error


def _normal_operator(value: dict[str, Any]) -> dict[str, Any]:
    """An operator with plain decimal amounts and the chain's name of its status."""
    normal = dict(value)
    name = ""
    try:
        for name in AMOUNTS:
            text = value.get(name)
            if text.__class__ is str and U128.match(text):
                normal[name] = str(int(text, 16))  # what nearly all of them are, without a detour
            elif text is not None or name not in OPTIONAL_AMOUNTS:
                normal[name] = str(amount(text))
        name = "nominationTax"
        normal[name] = tax = amount(value.get(name))
    except NotANumberError as error:
        raise _UnreadableError(f".{name}", str(error)) from error
    if value.get("nextDomainId").__class__ is not int or not value.keys() <= PLAIN:
        _require_exact(value, UNDERSTOOD)
    if tax > 100:  # noqa: PLR2004 - percent
        raise _UnreadableError(".nominationTax", "is above 100 percent")
    if int(normal["currentTotalShares"]) > int(normal["currentTotalStake"]):
        raise _UnreadableError(".currentTotalShares", "is above the stake")
    normal["partialStatus"] = _status(value.get("partialStatus"))
    key = value.get("signingKey")
    if not (isinstance(key, str) and HASH.fullmatch(key)):
        raise _UnreadableError(".signingKey", "is missing" if key is None else "is no key")
    return normal


def _status(told: object) -> str:
    if isinstance(told, dict) and len(told) == 1:
        told = next(iter(told))
    if isinstance(told, str) and told.lower() in STATUSES:
        return STATUSES[told.lower()]
    raise _UnreadableError(".partialStatus", "is missing" if told is None else "is no status")


def _priced(entry: object) -> tuple[int, int, int, str | None, object]:
    """Operator, domain, epoch, storage key if there is one, and the price as it is written."""
    if not isinstance(entry, dict):
        raise _UnreadableError("", "is no object")
    value, keys = entry.get("value"), entry.get("key")
    if isinstance(value, str) and value[PRICE_KEY : PRICE_KEY + 1] == ",":
        key = value[:PRICE_KEY]
        if (parts := _parts(key, PRICES_PREFIX, "<QII")) is not None:
            operator, domain, epoch = parts
            if operator > LARGEST_ID or epoch > LARGEST_ID:
                raise _UnreadableError(".value", "is of an operator or epoch that cannot be")
            return operator, domain, epoch, key, value[PRICE_KEY + 1 :]
    if not (isinstance(keys, list) and len(keys) == 2):  # noqa: PLR2004
        raise _UnreadableError(".value", "has no storage key, and an index names no price")
    place = keys[1]
    if isinstance(place, str):
        found = EPOCH_KEY.fullmatch(place)
        place = list(found.groups()) if found else None
    if not (isinstance(place, list) and len(place) == 2):  # noqa: PLR2004
        raise _UnreadableError(".key", "names no epoch")
    return _id(".key", keys[0]), _id(".key", place[0]), _id(".key", place[1]), None, value


def _price_of(text: object) -> int:
    try:
        price = amount(text)
    except InexactError as error:
        raise _UnreadableError(".value", "is no number") from error
    except NotANumberError as error:
        raise _UnreadableError(".value", str(error)) from error
    if not 1 <= price <= ONE:
        raise _UnreadableError(".value", "is zero" if price == 0 else "is above 10^18")
    return price


AFTER = ("currentTotalStake", "currentTotalShares")


def _beside(owner: object, after: object) -> tuple[str | None, dict[str, Any] | None]:
    """What an entry of the normal form says beside the operator's value."""
    if not (owner is None or isinstance(owner, str)):
        raise _UnreadableError(".owner", "is no text")
    if after is None:
        return owner, None
    if not isinstance(after, dict):
        raise _UnreadableError(".after", "is no object")
    normal = dict(after)
    for name in AFTER:
        try:
            normal[name] = str(amount(after.get(name)))
        except NotANumberError as error:
            raise _UnreadableError(f".after.{name}", str(error)) from error
    _require_exact(normal)
    return owner, normal


def _misfit(told: object) -> dict[str, str | None]:
    """A value that a document names as not understood; raises `NotANumberError` if it does not."""
    if not (isinstance(told, dict) and told.get("item") and told.get("reason")):
        raise NotANumberError
    texts = {name: told.get(name) for name in ("item", "reason", "storageKey", "path")}
    if not all(text is None or isinstance(text, str) for text in texts.values()):
        raise NotANumberError
    operator = told.get("operatorId")
    return {**texts, "operatorId": None if operator is None else str(amount(operator))}
