"""Storage that remembers every value it ever had, and the block that wrote it."""

from bisect import bisect_left, bisect_right
from collections import defaultdict

Key = tuple[int | bytes, ...]


class _History:
    __slots__ = ("blocks", "values")

    def __init__(self) -> None:
        self.blocks: list[int] = []
        self.values: list[object] = []


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
            history.blocks.append(self.block)
            history.values.append(value)

    def at(self, block: int, item: str, key: Key) -> object:
        """The value after `block` was executed."""
        history = self._items[item].get(key)
        if history is None:
            return None
        position = bisect_right(history.blocks, block)
        return history.values[position - 1] if position else None

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
                del history.blocks[position:], history.values[position:]
                if not history.blocks:
                    del histories[key]
