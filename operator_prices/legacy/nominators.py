"""Deposits and withdrawals that a snapshot lists, as entries of nominators; pure, no I/O.

A snapshot lists all there is at its end block, or does not tell of nominators: a section that is
missing, or has not as many entries as it counts, is no listing. One whose storage fee deposits do
not add up to what its own operators say is doubted as a whole. What is held of deposits it mostly
does not tell. Of what it does not tell readably is believed that it is as it was before.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from operator_prices.chain import NOTHING, Entry, Pair, Unlocking
from operator_prices.legacy.decoding import shown
from operator_prices.legacy.entries import entries_of
from operator_prices.legacy.numbers import InexactError, NotANumberError, amount
from operator_prices.legacy.snapshots import Offender

SECTIONS = {
    "deposits": (
        "Deposits",
        "0x0b41d0c7f7b4485bd7be1d66066b00ad74a614db8021c6bd0a028aafdf29dd08",
    ),
    "withdrawals": (
        "Withdrawals",
        "0x0b41d0c7f7b4485bd7be1d66066b00ad5eb75f5fdeadda8841398b656c7e353d",
    ),
    "depositOnHold": (
        "DepositOnHold",
        "0x0b41d0c7f7b4485bd7be1d66066b00ad1ca7f84f7c82084ab74e8cf7f7e0149a",
    ),
}
"""The storage item that a section lists, and what its keys begin with."""

DEPOSIT = "shares"
"""The field of `Entry` that tells whether there is one in `Deposits`."""

UNREADABLE = (NotANumberError, InexactError, TypeError, ValueError, LookupError)


@dataclass(slots=True)
class Listed:
    """What one snapshot tells of nominators."""

    entries: dict[Pair, Entry] = field(default_factory=dict)
    offenders: list[Offender] = field(default_factory=list)
    unread: set[Pair] = field(default_factory=set)
    """Accounts of which something could not be understood."""
    nameless: set[str] = field(default_factory=set)
    """The fields of `Entry` that something tells of which nobody knows whose it is."""

    def doubt(self, storage_fees: Mapping[int, int]) -> str | None:
        """Why the listing cannot be right, by what each operator has of storage fees in all.

        Where something could not be read it may be less, and never more.
        """
        sums = dict.fromkeys(storage_fees, 0)
        for (operator, _), entry in self.entries.items():
            if operator in sums:
                sums[operator] += entry.storage_fees
        partly = {operator for operator, _ in self.unread}
        for operator, told in storage_fees.items():
            may_lack = operator in partly or DEPOSIT in self.nameless
            if sums[operator] > told or (sums[operator] < told and not may_lack):
                return (
                    f"the storage fee deposits of operator {operator} add up to {sums[operator]},"
                    f" and it says {told}"
                )
        return None

    def all_there_is(self, before: Mapping[Pair, Entry]) -> dict[Pair, Entry]:
        """The entries, with those before of accounts whose own may be among what was not read."""
        believed = {
            pair: entry
            for pair, entry in before.items()
            if pair in self.unread or self._may_lack(pair, entry)
        }
        return self.entries | believed

    def _may_lack(self, pair: Pair, before: Entry) -> bool:
        now = self.entries.get(pair, NOTHING)
        return any(
            getattr(before, name) is not None and getattr(now, name) is None
            for name in self.nameless
        )


def listed(epoch: int, sections: Mapping[str, object]) -> Listed | None:
    """What the sections of a snapshot list; None where they are no listing."""
    if not all(_is_listing(sections.get(name)) for name in ("deposits", "withdrawals")):
        return None
    found = Listed()
    parts: dict[Pair, dict[str, Any]] = {}
    for name, told, read in (
        ("deposits", DEPOSIT, _deposit),
        ("withdrawals", "unlocking", _withdrawal),
        ("depositOnHold", "on_hold", _held),
    ):
        item, prefix = SECTIONS[name]
        for index, entry in enumerate(entries_of(sections.get(name)) or ()):
            path = f"data.{name}.entries[{index}]"
            pair = None
            try:
                pair, text = _keyed(entry, prefix)
                parts.setdefault(pair, {}).update(read(orjson.loads(text), epoch))
            except UNREADABLE as error:
                reason = str(error) or "is no entry of an account"
                operator = None if pair is None else pair[0]
                found.offenders.append(Offender(epoch, item, path, shown(entry), reason, operator))
                if pair is None:
                    found.nameless.add(told)
                else:
                    found.unread.add(pair)
    found.entries = {
        pair: Entry(**part) for pair, part in parts.items() if pair not in found.unread
    }
    return found


def _is_listing(section: object) -> bool:
    entries = entries_of(section)
    if entries is None or not isinstance(section, dict):
        return False
    return bool(section.get("count", len(entries)) == len(entries))


def _keyed(entry: object, prefix: str) -> tuple[Pair, str]:
    """The operator and the account that the storage key names, and the value behind it."""
    value = entry.get("value") if isinstance(entry, dict) else None
    key, comma, text = value.partition(",") if isinstance(value, str) else ("", "", "")
    suffix = key[len(prefix) :].lower()
    if not comma or key[: len(prefix)].lower() != prefix or len(suffix) != 2 * (8 + 32):
        raise NotANumberError("has no storage key of an account")
    operator = int.from_bytes(bytes.fromhex(suffix[:16]), "little")
    bytes.fromhex(suffix[16:])
    return (operator, "0x" + suffix[16:]), text


def _deposit(value: Any, epoch: int) -> dict[str, Any]:  # noqa: ANN401
    known, pending = value["known"], value["pending"]
    found = {
        "shares": amount(known["shares"]),
        "storage_fee_deposit": amount(known["storageFeeDeposit"]),
    }
    if pending is not None:
        found |= {
            "pending_epoch": _epoch(pending["effectiveDomainEpoch"], epoch),
            "pending": amount(pending["amount"]),
            "pending_storage_fee": amount(pending["storageFeeDeposit"]),
        }
    return found


def _withdrawal(value: Any, epoch: int) -> dict[str, Any]:  # noqa: ANN401
    leaving = value["withdrawalInShares"]
    found: dict[str, Any] = {"unlocking": tuple(_unlocking(value["withdrawals"]))}
    if leaving is not None:
        found |= {
            "withdrawing_epoch": _epoch(leaving["domainEpoch"], epoch),
            "withdrawing_block": amount(leaving["unlockAtConfirmedDomainBlockNumber"]),
            "withdrawing_shares": amount(leaving["shares"]),
            "withdrawing_storage_fee": amount(leaving["storageFeeRefund"]),
        }
    return found


def _held(value: object, _: int) -> dict[str, Any]:
    return {"on_hold": amount(value)}


def _unlocking(told: Any) -> Iterator[Unlocking]:  # noqa: ANN401
    for one in told:
        yield Unlocking(
            amount(one["unlockAtConfirmedDomainBlockNumber"]),
            amount(one["amountToUnlock"]),
            amount(one["storageFeeRefund"]),
        )


def _epoch(told: Any, epoch: int) -> int:  # noqa: ANN401
    """The epoch of a pair of a domain and an epoch, which cannot be later than the snapshot's."""
    found = amount(told[1])
    if found > epoch:
        raise NotANumberError(f"is of epoch {found} at the end of epoch {epoch}")
    return found
