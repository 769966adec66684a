"""What snapshots tell of operators: their state at the end of the epoch; pure, no I/O."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import orjson

from operator_prices.legacy import plain
from operator_prices.legacy.decoding import LARGEST_ID, UnreadableError, shown
from operator_prices.legacy.entries import (
    TWICE,
    beside,
    body_of,
    domain_of,
    entries_of,
    normal_operator,
    operator_of,
)
from operator_prices.legacy.snapshots import Offender

ITEM = "Operators"

Operator = tuple[dict[str, Any], str | None, dict[str, Any] | None]
"""What an entry says of an operator: its value, its owner, and its state after the epoch."""

ByOperator = dict[int, str | None]
"""Amounts by operator, None where one could not be understood."""


@dataclass(slots=True)
class Operators:
    """Understands the operators of one domain, and counts them."""

    domain_id: int
    offenders: list[Offender]
    """Where entries that could not be understood are added."""
    foreign: set[tuple[int, int]] = field(default_factory=set)
    """Domain and operator of the operators of other domains."""
    count: int = 0
    """Entries that were understood."""

    def read(
        self,
        epoch: int,
        section: object,
        active: ByOperator | None,
        rewards: ByOperator | None,
        decode: Callable[[str], object],
    ) -> list[dict[str, object]]:
        """The entries of the section in their normal form, each with its stake and its reward."""
        path = "data.operators"
        entries = entries_of(section)
        if entries is None:
            reason = "is missing" if section is None else "has no list of entries"
            self.offenders.append(Offender(epoch, ITEM, path, shown(section), reason))
            return []
        count = section.get("count") if isinstance(section, dict) else None
        if isinstance(count, int) and count != len(entries):
            reason = "is not the number of entries"
            self.offenders.append(Offender(epoch, ITEM, f"{path}.count", str(count), reason))
        found = self._found_at_once(entries) if decode is orjson.loads else None
        if found is None:
            found = self._found_one_by_one(epoch, path, entries, decode)
        self.count += len(found)
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

    def active(
        self, active: ByOperator | None, rewards: ByOperator | None
    ) -> list[dict[str, object]]:
        """The entries of operators of which only stakes and rewards are told."""
        self.count += len(active or {})
        return [
            {
                "key": [str(operator)],
                "value": {},
                "owner": None,
                "activeStake": stake,
                "reward": None if rewards is None else rewards.get(operator, "0"),
                "after": None,
            }
            for operator, stake in sorted((active or {}).items())
            if operator <= LARGEST_ID
        ]

    def _found_at_once(self, entries: list[Any]) -> dict[int, Operator] | None:
        """The operators of our domain if all entries are plain, and None otherwise."""
        told = plain.operators_of(entries)
        if told is None:
            return None
        ours = self.domain_id
        self.foreign |= {key for key in told if key[0] != ours}
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
                    self.foreign.add((domain, operator))
                    continue
                normal = normal_operator(body)
                if operator in found:
                    self.offenders.append(
                        Offender(epoch, ITEM, where, shown(entry), TWICE, operator, key)
                    )
                    continue
                where = f"{path}.entries[{index}]"
                owner, after = entry.get("owner"), entry.get("after")
                if owner is not None or after is not None:
                    owner, after = beside(owner, after)
            except UnreadableError as error:
                where += error.path
                self.offenders.append(
                    Offender(epoch, ITEM, where, shown(entry), str(error), operator, key)
                )
                continue
            found[operator] = normal, owner, after
        return found
