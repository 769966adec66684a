"""New epochs as they arrive: one listener on the database for all who watch."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Self

import psycopg
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from operator_prices.postgres import serving
from operator_prices.postgres.keeping import SilentDatabaseError
from operator_prices.postgres.parts import application_name
from operator_prices.postgres.pooling import Pooling, pooling
from operator_prices.web.database import Database
from operator_prices.web.limits import Places, address
from operator_prices.web.middleware import HEAD_ALONE
from operator_prices.web.queries.status import answered, freshness, listen, new_epochs
from operator_prices.web.unservable import UnservableDatabaseError

LOG = logging.getLogger(__name__)

LOOK_SECONDS = 5
"""How often to look without a notice: poolers and lost connections swallow notices."""

PAUSE_SECONDS = 2

HEARTBEAT_SECONDS = 15
"""A comment this often tells proxies that the stream lives, and us that its client does."""

BEHIND = 1_000
"""As many events wait for a slow client, or are caught up on by one that comes back."""

CONTENT_TYPE = "text/event-stream"


HEADERS = {"cache-control": "no-store", "x-accel-buffering": "no"}


class EventStream(StreamingResponse):
    """Events for one client, who has one of the places for that while it lasts."""

    media_type = CONTENT_TYPE

    def __init__(self, events: AsyncIterator[bytes], places: Places) -> None:
        super().__init__(events, headers=HEADERS)
        self._places = places

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope.get(HEAD_ALONE):  # the events have no end, and nobody wants them
            await Response(media_type=CONTENT_TYPE, headers=HEADERS)(scope, receive, send)
            return
        with self._places.taken(address(scope)):
            await super().__call__(scope, receive, send)


@dataclass(slots=True, eq=False)
class Watcher:
    events: asyncio.Queue[bytes] = field(default_factory=lambda: asyncio.Queue(BEHIND))
    lost: bool = False
    """It was too slow; it is sent away and comes back with the id of the last event it has."""


class Stream:
    """Listens for notices of new epochs while its context lasts, and tells every watcher."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._watchers: set[Watcher] = set()
        self._last: int | None = None
        self._foretold: set[int] = set()
        """Epochs that we looked up before their notices came."""
        self._task: asyncio.Task[None] | None = None
        self._closing = asyncio.Event()

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._listen())
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()
        if self._task:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    def close(self) -> None:
        """Send all watchers away, so that the server can end."""
        self._closing.set()
        for watcher in self._watchers:
            watcher.lost = True
            with suppress(asyncio.QueueFull):
                watcher.events.put_nowait(b"")

    @property
    def watchers(self) -> int:
        return len(self._watchers)

    async def watch(self, after: int | None) -> AsyncIterator[bytes]:
        """Events for one client, beginning after epoch `after` if it says what it has."""
        watcher = Watcher()
        self._watchers.add(watcher)
        try:
            yield b"retry: 2000\n\n"
            sent: set[int] = set()
            while after is not None:
                try:
                    missed = await self._after(after)
                except psycopg.Error as error:
                    LOG.warning("A watcher is sent away to come back (%s).", error)
                    return
                for epoch, timestamp in missed:
                    sent.add(epoch)
                    yield event(epoch, timestamp)
                after = missed[-1][0] if len(missed) == BEHIND else None
            while not watcher.lost and not self._closing.is_set():
                try:
                    async with asyncio.timeout(HEARTBEAT_SECONDS):
                        message = await watcher.events.get()
                except TimeoutError:
                    message = b": here\n\n"
                if message and not (sent and _epoch(message) in sent):
                    yield message
        finally:
            self._watchers.discard(watcher)

    async def _listen(self) -> None:
        lost = False
        while True:
            try:
                if await asyncio.to_thread(pooling, self._database.url) is not Pooling.NONE:
                    lost = False
                    await self._poll()
                async with await serving.connect(
                    self._database.url, application_name=application_name("stream")
                ) as connection:
                    await listen(connection)
                    lost = False
                    self._foretold.clear()  # their notices went with the connection before
                    await self._look()
                    while True:
                        async for notice in connection.notifies(timeout=LOOK_SECONDS):
                            if notice.payload.isdecimal():  # anybody may send a notice
                                await self._heed(int(notice.payload))
                        await answered(connection)  # a silent line tells no notices
                        await self._look()
            except (psycopg.Error, OSError, TimeoutError, UnservableDatabaseError) as error:
                if not lost:  # told once, and not every two seconds until it is back
                    LOG.warning("The stream lost the database (%s); trying again.", error)
                lost = True
                if isinstance(error, SilentDatabaseError):
                    await self._database.renew()
                await asyncio.sleep(PAUSE_SECONDS)

    async def _poll(self) -> None:
        """Tell of new epochs at a pooler, where no notice may come through; ends by an error."""
        self._foretold.clear()
        while True:
            await self._look()
            await asyncio.sleep(PAUSE_SECONDS)

    async def _look(self) -> None:
        """Tell of epochs past the last known one that no notice has told of."""
        async with self._database.cursor() as cursor:
            stored = await freshness(cursor)
        newest = -1 if stored is None else stored[0]
        if self._last is None:
            self._last = newest
        while newest > self._last:
            for epoch, timestamp in await self._after(self._last):
                self._foretold.add(epoch)
                self._tell(epoch, timestamp)

    async def _heed(self, epoch: int) -> None:
        """Tell of the epoch of a notice: its row is there, unless it was removed since."""
        if epoch in self._foretold:
            self._foretold.discard(epoch)
            return
        for found, timestamp in await self._after(epoch - 1, limit=1):
            if found == epoch:
                self._tell(epoch, timestamp)

    def _tell(self, epoch: int, timestamp: int) -> None:
        self._last = max(epoch, -1 if self._last is None else self._last)
        message = event(epoch, timestamp)
        for watcher in self._watchers:
            try:
                watcher.events.put_nowait(message)
            except asyncio.QueueFull:
                watcher.lost = True

    async def _after(self, epoch: int, limit: int = BEHIND) -> list[tuple[int, int]]:
        async with self._database.cursor() as cursor:
            return await new_epochs(cursor, epoch, limit)


def event(epoch: int, timestamp: int) -> bytes:
    r"""A server-sent event.

    >>> event(7, 1000)
    b'id: 7\nevent: epoch\ndata: {"epoch": 7, "timestamp": 1000}\n\n'
    """
    data = json.dumps({"epoch": epoch, "timestamp": timestamp})
    return f"id: {epoch}\nevent: epoch\ndata: {data}\n\n".encode()


def _epoch(message: bytes) -> int | None:
    first = message.partition(b"\n")[0]
    return int(first[4:]) if first.startswith(b"id: ") else None
