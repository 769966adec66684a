"""Small answers that are kept in memory for whoever asks again."""

from collections import Counter, OrderedDict

FORGET_AFTER = 20_000
"""Questions after which what was asked before counts half."""


class Cache:
    """Answers by their `ETag`, bounded in bytes; what is asked often stays.

    An answer whose version is over is asked for no more, and so gives way to any other.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._used = 0
        self._kept: OrderedDict[str, bytes] = OrderedDict()
        self._asked: Counter[str] = Counter()
        self._questions = 0

    def get(self, etag: str) -> bytes | None:
        self._asked[etag] += 1
        self._questions += 1
        if self._questions >= FORGET_AFTER:
            self._questions = 0
            self._asked = Counter(
                {tag: half for tag in self._asked if (half := self._asked[tag] // 2)}
            )
        if (body := self._kept.get(etag)) is not None:
            self._kept.move_to_end(etag)
        return body

    def keep(self, etag: str, body: bytes) -> None:
        """Keep an answer, at the cost of those not asked for recently, nor more often."""
        if etag in self._kept or len(body) > self._limit:
            return
        while self._used + len(body) > self._limit:
            oldest = next(iter(self._kept))
            if self._asked[oldest] > self._asked[etag] and _same_version(oldest, etag):
                return
            self._used -= len(self._kept.pop(oldest))
        self._used += len(body)
        self._kept[etag] = body


def _same_version(one: str, other: str) -> bool:
    """Whether both are of one version of the data."""
    return one.split("-")[:2] == other.split("-")[:2]
