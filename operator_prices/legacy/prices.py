"""What snapshots tell of prices, which are mostly those of other epochs; pure, no I/O."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from operator_prices.legacy import plain
from operator_prices.legacy.decoding import UnreadableError, shown
from operator_prices.legacy.entries import entries_of, price_of, priced
from operator_prices.legacy.snapshots import Offender

ITEM = "OperatorEpochSharePrice"

YET_TO_COME = "is of an epoch that is yet to come"

ToldPrice = tuple[int | None, int]
"""A price, None where it could not be understood, and the epoch of the snapshot that tells it."""


@dataclass(slots=True)
class Prices:
    """Learns the prices of one domain from snapshots, in the order of their epochs."""

    domain_id: int
    offenders: list[Offender]
    """Where entries that could not be understood are added."""
    told: dict[tuple[int, int], ToldPrice] = field(default_factory=dict)
    """By epoch and operator: what the last snapshot that tells it says."""
    foreign: set[tuple[int, int, int]] = field(default_factory=set)
    """Domain, operator and epoch of the prices of other domains."""
    _known: dict[object, tuple[int, int, int | None] | None] = field(default_factory=dict)
    """Epoch, operator and price by what tells them; None is what is not ours."""

    def of(self, epoch: int) -> dict[int, int | None]:
        """By operator: what is told of the epoch."""
        return {operator: price for (of, operator), (price, _) in self.told.items() if of == epoch}

    def read(self, epoch: int, section: object) -> None:
        """Learn the prices that the section of a snapshot of `epoch` tells."""
        path = "data.operatorEpochSharePrice"
        entries = entries_of(section)
        if entries is None:
            reason = "is missing" if section is None else "has no list of entries"
            self.offenders.append(Offender(epoch, ITEM, path, shown(section), reason))
            return
        known = self._known
        prices = self.told
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

    def tell(self, epoch: int, told: Mapping[int, int | None]) -> None:
        """Learn prices of `epoch` by operator that were understood elsewhere."""
        for operator, price in told.items():
            if price is not None or (epoch, operator) not in self.told:
                self.told[epoch, operator] = price, epoch

    def _price(self, row: int, path: str, entry: object) -> tuple[int, int, int | None] | None:
        """The epoch, the operator and the price that an entry tells, if it is one of ours."""
        operator = key = None
        told: tuple[int, int, int | None] | None = None
        try:
            operator, domain, epoch, key, text = priced(entry)
            if domain != self.domain_id:
                self.foreign.add((domain, operator, epoch))
            elif epoch > row:
                self.offenders.append(
                    Offender(row, ITEM, f"{path}.key", shown(entry), YET_TO_COME, operator, key)
                )
                return None  # and not known for ever: a later snapshot may tell the same
            else:
                told = epoch, operator, None
                told = epoch, operator, price_of(text)
        except UnreadableError as error:
            where = path + error.path
            self.offenders.append(
                Offender(row, ITEM, where, shown(entry), str(error), operator, key)
            )
        if isinstance(entry, dict):
            keys = entry.get("key")
            value = entry.get("value")
            if isinstance(keys, list) and isinstance(value, str | int):
                same = value if len(keys) == 1 else (*map(str, keys), type(value), value)
                self._known[same] = told
        return told
