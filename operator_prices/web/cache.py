"""Answers that are kept in memory for whoever asks again."""

from collections import Counter, OrderedDict

FORGET_AFTER = 20_000
"""Questions after which what was asked before counts half."""


class Cache:
    """Answers for whoever asks again, bounded in bytes; what is asked often stays.

    An answer whose version is over is asked for no more, and so gives way to any other.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._used = 0
        self._kept: OrderedDict[str, list[bytes]] = OrderedDict()
        self._growing: set[str] = set()
        self._asked: Counter[str] = Counter()
        self._questions = 0

    def get(self, etag: str) -> list[bytes] | None:
        self._asked[etag] += 1
        self._questions += 1
        if self._questions >= FORGET_AFTER:
            self._questions = 0
            self._asked = Counter(
                {tag: half for tag in self._asked if (half := self._asked[tag] // 2)}
            )
        if (parts := self._kept.get(etag)) is not None:
            self._kept.move_to_end(etag)
        return parts

    def collect(self, etag: str) -> "Collector | None":
        """Someone to keep the parts of an answer that is being given; one for each answer."""
        if self._limit == 0 or etag in self._growing or etag in self._kept:
            return None
        self._growing.add(etag)
        return Collector(self, etag)

    def reserve(self, etag: str, size: int) -> bool:
        """Make room, at the cost of those who were not asked for recently, nor more often."""
        while self._used + size > self._limit and self._kept:
            oldest = next(iter(self._kept))
            if self._asked[oldest] > self._asked[etag] and self._current(oldest, etag):
                return False
            self._used -= sum(map(len, self._kept.pop(oldest)))
        if self._used + size > self._limit:
            return False
        self._used += size
        return True

    @staticmethod
    def _current(oldest: str, etag: str) -> bool:
        """Whether both are of one version of the data."""
        return oldest.split("-")[:2] == etag.split("-")[:2]

    def settle(self, etag: str, parts: list[bytes] | None, size: int) -> None:
        self._growing.discard(etag)
        if parts is None:
            self._used -= size
        else:
            self._kept[etag] = parts


class Collector:
    """The parts of one answer, as long as there is room for them; what it holds counts as used."""

    def __init__(self, cache: Cache, etag: str) -> None:
        self._cache = cache
        self._etag = etag
        self._parts: list[bytes] | None = []
        self._size = 0

    def add(self, part: bytes) -> None:
        if self._parts is None:
            return
        if self._cache.reserve(self._etag, len(part)):
            self._parts.append(part)
            self._size += len(part)
        else:
            self.abandon()

    def keep(self) -> None:
        if self._parts is not None:
            self._cache.settle(self._etag, self._parts, self._size)
            self._parts = None

    def abandon(self) -> None:
        if self._parts is not None:
            self._cache.settle(self._etag, None, self._size)
            self._parts = None
