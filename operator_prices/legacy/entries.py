"""What one member of a snapshot says: read exactly, or refused with the reason; pure, no I/O."""

import re
import struct
from collections.abc import Callable
from typing import Any

import orjson

from operator_prices.amounts import ONE
from operator_prices.legacy.decoding import (
    LARGEST_ID,
    UnreadableError,
    names_twice,
    require_exact,
)
from operator_prices.legacy.numbers import InexactError, NotANumberError, amount

PERCENT = 100
"""The highest nomination tax."""

OPERATOR_KEY = 82
"""Characters of a key of `Operators`: 0x, two hashes, a `u64`."""

PRICE_KEY = 98
"""Characters of a key of `OperatorEpochSharePrice`: one of `Operators`, and two `u32`."""

OPERATORS_PREFIX = "0x0b41d0c7f7b4485bd7be1d66066b00ad34a0a3fbf14e6c92456ca7bd91d59a57"

PRICES_PREFIX = "0x0b41d0c7f7b4485bd7be1d66066b00adf16a4d4929cfe61f4f6bf4153bb44d9d"
"""What every key of `Domains.Operators` and of `Domains.OperatorEpochSharePrice` begins with."""

EPOCH_KEY = re.compile(r'\["?([0-9]+)"?, ?"?([0-9,]+)"?\]')

HASH = re.compile(r"0x[0-9a-fA-F]{64}")

TWICE = "is there a second time"
"""The reason of what is left out for what came before it."""

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


def entries_of(section: object) -> list[Any] | None:
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
        raise UnreadableError(path, "is no number") from error
    if number > LARGEST_ID:
        raise UnreadableError(path, "is too large")
    return number


def operator_of(entry: object) -> tuple[int, str | None, str | dict[str, Any]]:
    """The operator, its storage key if there is one, and its value, of either shape of entry.

    A value that is text is JSON still to be read.
    """
    if not isinstance(entry, dict):
        raise UnreadableError("", "is no object")
    value, keys = entry.get("value"), entry.get("key")
    if isinstance(value, dict):
        if not (isinstance(keys, list) and len(keys) == 1):
            raise UnreadableError(".key", "names no operator")
        return _id(".key", keys[0]), None, value
    if not isinstance(value, str):
        raise UnreadableError(".value", "is missing" if value is None else "is no operator")
    key, comma, body = value.partition(",")
    parts = _parts(key, OPERATORS_PREFIX, "<Q") if comma and len(key) == OPERATOR_KEY else None
    if parts is None:
        raise UnreadableError(".value", "has no storage key, and an index names no operator")
    operator = parts[0]
    if operator > LARGEST_ID:
        raise UnreadableError(".value", "is of an operator that cannot be")
    return operator, key, body


def body_of(text: str, decode: Callable[[str], Any]) -> dict[str, Any]:
    try:
        body = decode(text)
    except orjson.JSONDecodeError as error:
        raise UnreadableError("", f"is broken JSON: {error.msg}") from error
    if not isinstance(body, dict):
        raise UnreadableError("", "is no operator")
    if names_twice(text, body):
        raise UnreadableError("", "names something twice")
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


def domain_of(value: dict[str, Any], otherwise: int) -> int:
    """The domain of an operator; where it does not say so, it is of ours."""
    told = value.get("currentDomainId", otherwise)
    if told.__class__ is int and told == otherwise:
        return otherwise
    try:
        return amount(told)
    except NotANumberError as error:
        raise UnreadableError(".currentDomainId", str(error)) from error


def normal_operator(value: dict[str, Any]) -> dict[str, Any]:
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
        raise UnreadableError(f".{name}", str(error)) from error
    if value.get("nextDomainId").__class__ is not int or not value.keys() <= PLAIN:
        require_exact(value, UNDERSTOOD)
    if tax > PERCENT:
        raise UnreadableError(".nominationTax", "is above 100 percent")
    if int(normal["currentTotalShares"]) > int(normal["currentTotalStake"]):
        raise UnreadableError(".currentTotalShares", "is above the stake")
    normal["partialStatus"] = _status(value.get("partialStatus"))
    key = value.get("signingKey")
    if not (isinstance(key, str) and HASH.fullmatch(key)):
        raise UnreadableError(".signingKey", "is missing" if key is None else "is no key")
    return normal


def _status(told: object) -> str:
    if isinstance(told, dict) and len(told) == 1:
        told = next(iter(told))
    if isinstance(told, str) and told.lower() in STATUSES:
        return STATUSES[told.lower()]
    raise UnreadableError(".partialStatus", "is missing" if told is None else "is no status")


def priced(entry: object) -> tuple[int, int, int, str | None, object]:
    """Operator, domain, epoch, storage key if there is one, and the price as it is written."""
    if not isinstance(entry, dict):
        raise UnreadableError("", "is no object")
    value, keys = entry.get("value"), entry.get("key")
    if isinstance(value, str) and value[PRICE_KEY : PRICE_KEY + 1] == ",":
        key = value[:PRICE_KEY]
        if (parts := _parts(key, PRICES_PREFIX, "<QII")) is not None:
            operator, domain, epoch = parts
            if operator > LARGEST_ID or epoch > LARGEST_ID:
                raise UnreadableError(".value", "is of an operator or epoch that cannot be")
            return operator, domain, epoch, key, value[PRICE_KEY + 1 :]
    if not (isinstance(keys, list) and len(keys) == 2):  # noqa: PLR2004
        raise UnreadableError(".value", "has no storage key, and an index names no price")
    place = keys[1]
    if isinstance(place, str):
        found = EPOCH_KEY.fullmatch(place)
        place = list(found.groups()) if found else None
    if not (isinstance(place, list) and len(place) == 2):  # noqa: PLR2004
        raise UnreadableError(".key", "names no epoch")
    return _id(".key", keys[0]), _id(".key", place[0]), _id(".key", place[1]), None, value


def price_of(text: object) -> int:
    try:
        price = amount(text)
    except InexactError as error:
        raise UnreadableError(".value", "is no number") from error
    except NotANumberError as error:
        raise UnreadableError(".value", str(error)) from error
    if not 1 <= price <= ONE:
        raise UnreadableError(".value", "is zero" if price == 0 else "is above 10^18")
    return price


AFTER = ("currentTotalStake", "currentTotalShares")


def beside(owner: object, after: object) -> tuple[str | None, dict[str, Any] | None]:
    """What an entry of the normal form says beside the operator's value."""
    if not (owner is None or isinstance(owner, str)):
        raise UnreadableError(".owner", "is no text")
    if after is None:
        return owner, None
    if not isinstance(after, dict):
        raise UnreadableError(".after", "is no object")
    normal = dict(after)
    for name in AFTER:
        try:
            normal[name] = str(amount(after.get(name)))
        except NotANumberError as error:
            raise UnreadableError(f".after.{name}", str(error)) from error
    require_exact(normal)
    return owner, normal


def misfit_of(told: object) -> dict[str, str | None]:
    """A value that a document names as not understood; raises `NotANumberError` if it does not."""
    if not (isinstance(told, dict) and told.get("item") and told.get("reason")):
        raise NotANumberError
    texts = {name: told.get(name) for name in ("item", "reason", "storageKey", "path")}
    if not all(text is None or isinstance(text, str) for text in texts.values()):
        raise NotANumberError
    operator = told.get("operatorId")
    return {**texts, "operatorId": None if operator is None else str(amount(operator))}
