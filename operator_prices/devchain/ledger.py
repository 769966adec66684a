"""Storage that remembers every value it ever had, and the block that wrote it."""

from array import array
from bisect import bisect_left, bisect_right
from collections import defaultdict

from operator_prices.devchain.records import Deposit

Key = tuple[int | bytes, ...]


class _History:
    """The values of one key, oldest first; there are many deposits, so old ones are packed."""

    __slots__ = ("blocks", "values")

    def __init__(self) -> None:
        self.blocks = array("I")
        self.values: list[object] = []

    def append(self, block: int, value: object) -> None:
        values = self.values
        if values and isinstance(values[-1], Deposit):
            values[-1] = _Packed(values[-1].packed())
        self.blocks.append(block)
        values.append(value)

    def at(self, position: int) -> object:
        value = self.values[position]
        return Deposit.unpacked(value) if isinstance(value, _Packed) else value

    def cut(self, position: int) -> None:
        del self.blocks[position:], self.values[position:]
        if position:
            self.values[-1] = self.at(-1)


class _Packed(bytes):
    """A packed deposit."""

    __slots__ = ()


class Ledger:
    """Values by storage item and key. `None` is an absent value; values are never mutated."""

    def __init__(self) -> None:
        self.block = 0
        """The block that is being executed, which writes carry."""
        self._items: defaultdict[str, dict[Key, _History]] = defaultdict(dict)

    def read(self, item: str, *key: int | bytes) -> object:
        """The newest value."""
        history = self._items[item].get(key)
        return history.values[-1] if history else None

    def write(self, value: object, item: str, *key: int | bytes) -> None:
        histories = self._items[item]
        history = histories.get(key)
        if history is None:
            history = histories[key] = _History()
        if history.blocks and history.blocks[-1] == self.block:
            history.values[-1] = value
        else:
            history.append(self.block, value)

    def at(self, block: int, item: str, key: Key) -> object:
        """The value after `block` was executed."""
        history = self._items[item].get(key)
        if history is None:
            return None
        position = bisect_right(history.blocks, block)
        return history.at(position - 1) if position else None

    def keys(self, item: str) -> list[Key]:
        """Every key that ever had a value, in the order of their first ones."""
        return list(self._items[item])

    def count(self, item: str) -> int:
        return len(self._items[item])

    def cut(self, block: int) -> None:
        """Forget what was written at `block` and later."""
        for histories in self._items.values():
            for key, history in list(histories.items()):
                position = bisect_left(history.blocks, block)
                history.cut(position)
                if not history.blocks:
                    del histories[key]
