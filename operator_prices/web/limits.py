"""How much runs at a time, so that whoever asks for much waits or is sent away by itself."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass

from starlette.types import Scope

from operator_prices.web.refusals import RefusedRequestError

DESCRIPTORS = 64
"""What the process itself holds open: connections to Postgres, workers, its log."""


@dataclass(frozen=True, slots=True)
class Room:
    """How many of each there may be, by the descriptors that the process may have open."""

    connections: int
    streams: int
    readers: int

    @classmethod
    def of(cls, descriptors: int, streams: int) -> "Room":
        """At most `streams` event streams, and never so many that other routes find no room.

        >>> Room.of(256, 4000), Room.of(65536, 4000)
        (Room(connections=160, streams=80, readers=32), Room(connections=65216, streams=4000, readers=256))
        """  # noqa: E501
        readers = min(256, descriptors // 8)
        connections = max(8, descriptors - DESCRIPTORS - readers)
        return cls(connections, min(streams, connections // 2), readers)


class Turns:
    """So many at a time; a bounded number waits for its turn, and none of them for long."""

    def __init__(self, what: str, *, at_once: int, waiting: int, seconds: float) -> None:
        self._what = what
        self._most = waiting
        self._seconds = seconds
        self._at_once = at_once
        self._free = asyncio.Semaphore(at_once)
        self._waiting = 0

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait for a turn and have it; raises `RefusedRequestError` where that would take long."""
        if self._waiting >= self._most:
            raise self._busy()
        self._waiting += 1
        try:
            async with asyncio.timeout(self._seconds):
                await self._free.acquire()
        except TimeoutError:
            raise self._busy() from None
        finally:
            self._waiting -= 1
        try:
            yield
        finally:
            self._free.release()

    def _busy(self) -> RefusedRequestError:
        return RefusedRequestError(
            503,
            f"{self._at_once} {self._what} are made at a time, and too many wait for it: try again"
            " in a few seconds.",
        )


class Places:
    """So many at a time, half of them at most for one address; nobody waits for a place."""

    def __init__(self, what: str, limit: int) -> None:
        self._what = what
        self._limit = limit
        self._taken: Counter[str] = Counter()

    @contextmanager
    def taken(self, address: str) -> Iterator[None]:
        """Take a place while the context lasts; raises `RefusedRequestError` if none is left."""
        each = max(1, self._limit // 2)
        if self._taken.total() >= self._limit:
            raise RefusedRequestError(
                503, f"All {self._limit} places for {self._what} are taken: try again later."
            )
        if self._taken[address] >= each:
            raise RefusedRequestError(
                503,
                f"Your address has {each} {self._what} open, which is all that one may have: close"
                " some of them.",
            )
        self._taken[address] += 1
        try:
            yield
        finally:
            self._taken[address] -= 1
            if not self._taken[address]:
                del self._taken[address]


def address(scope: Scope) -> str:
    """Whose request it is: the client's address, as a named proxy tells it."""
    client: tuple[str, int] | None = scope.get("client")
    return client[0] if client else ""
