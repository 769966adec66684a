"""Answers: named by the version of the data, read only if neither client nor cache has them."""

import asyncio
import re
import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from hashlib import blake2b

from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.types import Message, Receive, Scope, Send

from operator_prices.postgres.parts import API_LARGE
from operator_prices.web.cache import Cache
from operator_prices.web.compression import Parts, compressed, squeezer
from operator_prices.web.database import Cursor, Database, Version
from operator_prices.web.headers import coding, known_tags, matches
from operator_prices.web.limits import Places, Turns, address
from operator_prices.web.middleware import HEAD_ALONE
from operator_prices.web.spool import Entry, Spool

ANSWER_SECONDS = 600
"""How long a client may take over a large answer."""

CACHE_CONTROL = "public, max-age=0, must-revalidate"
"""Whoever keeps an answer asks each time whether it still holds, which costs a millisecond."""

Producer = Callable[[Cursor, Version], Parts]
"""What an answer is made of, in parts of 128 kB or more, at one version of the data."""

Missing = Callable[[Cursor], Awaitable[Exception]]
"""What is said when there is no such thing."""


@dataclass(frozen=True, slots=True)
class Question:
    """What an answer, together with the version of the data, is determined by."""

    key: str
    media_type: str
    filename: str | None = None

    def etag(self, version: Version, given: str) -> str:
        digest = blake2b(self.key.encode(), digest_size=8).hexdigest()
        return f'"{version.tag}-{digest}-{given}"'

    def headers(self, etag: str, given: str, length: int | None = None) -> dict[str, str]:
        headers = {
            "etag": etag,
            "cache-control": CACHE_CONTROL,
            "vary": "Accept, Accept-Encoding",
            "content-type": self.media_type,
        }
        if given != "identity":
            headers["content-encoding"] = given
        if length is not None:
            headers["content-length"] = str(length)
        if self.filename:
            headers["content-disposition"] = f'attachment; filename="{self.filename}"'
        return headers


class Kitchen:
    """What answers are made with: the database, what is kept, and how much is made at a time."""

    def __init__(self, database: Database, cache: Cache, spool: Spool, readers: int) -> None:
        self.database = database
        self.cache = cache
        self.spool = spool
        self.places = Places("large answers", readers)
        self.large_turns = Turns("large answers", at_once=API_LARGE, waiting=100, seconds=10)
        self.worker_turns = Turns("tables", at_once=2, waiting=60, seconds=60)
        self.small: dict[str, asyncio.Task[tuple[str, bytes]]] = {}


Write = Callable[[Entry, Kitchen, Question, str], Awaitable[None]]
"""Fills an entry with a table in a coding."""


class Answer(Response, ABC):
    """What the answers to questions have in common: an `ETag`, and nothing for who has it."""

    def __init__(self, request: Request, kitchen: Kitchen, question: Question) -> None:
        self.background = None
        self.status_code = 200
        self._request = request
        self._kitchen = kitchen
        self._question = question
        self._coding = self._chosen_coding()

    def _chosen_coding(self) -> str:
        return coding(self._request.headers.get("accept-encoding", ""))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        version = await self._kitchen.database.version()
        etag = self._question.etag(version, self._coding)
        if matches(known_tags(self._request), etag):
            await not_modified(send, etag)
        else:
            await self._give(scope, receive, send, etag)

    @abstractmethod
    async def _give(self, scope: Scope, receive: Receive, send: Send, etag: str) -> None:
        """What each kind of answer does in its own way."""


class SmallAnswer(Answer):
    """An answer that is put together in memory, once for all who ask for it at the same time."""

    def __init__(
        self, request: Request, kitchen: Kitchen, question: Question, producer: Producer
    ) -> None:
        super().__init__(request, kitchen, question)
        self._producer = producer

    async def _give(self, _scope: Scope, _receive: Receive, send: Send, etag: str) -> None:
        body = self._kitchen.cache.get(etag) or b""
        if not body:  # no answer is empty
            making = self._kitchen.small.get(etag)
            if making is None:
                making = asyncio.create_task(self._made())
                self._kitchen.small[etag] = making
                making.add_done_callback(lambda task: self._over(etag, task))
            etag, body = await asyncio.shield(making)
        await start(send, self._question.headers(etag, self._coding, len(body)))
        await send({"type": "http.response.body", "body": body})

    async def _made(self) -> tuple[str, bytes]:
        async with (
            self._kitchen.database.snapshot(large=False) as (cursor, seen),
            aclosing(self._producer(cursor, seen)) as parts,
        ):
            body = b"".join([part async for part in compressed(parts, self._coding)])
        etag = self._question.etag(seen, self._coding)
        self._kitchen.cache.keep(etag, body)
        return etag, body

    def _over(self, etag: str, task: asyncio.Task[tuple[str, bytes]]) -> None:
        del self._kitchen.small[etag]
        if not task.cancelled():
            task.exception()  # whoever asked may have gone


class SpooledAnswer(Answer):
    """An answer that is read into a file by one, at the speed of Postgres, and sent from there."""

    @abstractmethod
    async def _make(self, entry: Entry) -> None:
        """What each kind of answer does in its own way."""

    async def _give(self, scope: Scope, receive: Receive, send: Send, etag: str) -> None:
        with (
            self._kitchen.places.taken(address(scope)),
            self._kitchen.spool.reading(etag, self._make) as (entry, reader),
        ):

            async def noted(message: Message) -> None:
                await send(message)
                reader.moved = time.monotonic()

            async with asyncio.timeout(ANSWER_SECONDS):
                await self._read(scope, receive, noted, entry)

    @abstractmethod
    async def _read(self, scope: Scope, receive: Receive, send: Send, entry: Entry) -> None:
        """What each kind of answer does in its own way."""


class LargeAnswer(SpooledAnswer):
    """A large answer, sent while it is still being made."""

    def __init__(
        self, request: Request, kitchen: Kitchen, question: Question, producer: Producer
    ) -> None:
        super().__init__(request, kitchen, question)
        self._producer = producer

    async def _make(self, entry: Entry) -> None:
        async with (
            self._kitchen.large_turns.turn(),
            self._kitchen.database.snapshot(large=True) as (cursor, seen),
            aclosing(self._producer(cursor, seen)) as parts,
        ):
            entry.named(self._question.etag(seen, self._coding))
            async for part in compressed(parts, self._coding):
                entry.write(part)

    async def _read(self, scope: Scope, _receive: Receive, send: Send, entry: Entry) -> None:
        await entry.begun()
        length = entry.size if entry.done else None
        await start(send, self._question.headers(entry.etag, self._coding, length))
        if not scope.get(HEAD_ALONE):
            async with aclosing(entry.parts()) as parts:
                async for part in parts:
                    await send({"type": "http.response.body", "body": part, "more_body": True})
        await send({"type": "http.response.body", "body": b""})


class TableAnswer(SpooledAnswer):
    """A table for tools: its length is known, and any part of it can be asked for."""

    def __init__(
        self, request: Request, kitchen: Kitchen, question: Question, write: Write
    ) -> None:
        super().__init__(request, kitchen, question)
        self._write = write

    async def _make(self, entry: Entry) -> None:
        await self._write(entry, self._kitchen, self._question, self._coding)

    def _chosen_coding(self) -> str:
        """None for whoever asks for a range; a Parquet file is compressed within."""
        if "range" in self._request.headers or "parquet" in self._question.media_type:
            return "identity"
        return super()._chosen_coding()

    async def _read(self, scope: Scope, receive: Receive, send: Send, entry: Entry) -> None:
        await entry.completed()
        headers = self._question.headers(entry.etag, self._coding)
        if self._coding != "identity":
            headers["accept-ranges"] = "none"
        response = FileResponse(
            entry.path,
            headers=headers,
            media_type=self._question.media_type,
            stat_result=entry.path.stat(),
        )
        del response.headers["last-modified"]  # of the file, not of the data
        method = "HEAD" if scope.get(HEAD_ALONE) else "GET"
        asked = [pair for pair in scope["headers"] if pair[0] not in {b"range", b"if-range"}]
        if (wanted := self._range(entry.etag)) is not None:
            asked.append((b"range", wanted.encode("latin-1")))
        await response({**scope, "method": method, "headers": asked}, receive, send)

    def _range(self, etag: str) -> str | None:
        """The part that is asked for, None for all: ranges of what the client has no more."""
        headers = self._request.headers
        wanted = headers.get("range", "")
        if headers.get("if-range", etag) != etag or not re.match(r"bytes\s*=", wanted):
            return None
        return wanted


class EpochAnswer(Response):
    """Everything about one epoch, together with the version that it is of."""

    def __init__(
        self,
        request: Request,
        database: Database,
        epoch: int,
        missing: Missing,
        counted: Callable[[], None],
    ) -> None:
        self.background = None
        self.status_code = 200
        self._request = request
        self._database = database
        self._epoch = epoch
        self._missing = missing
        self._counted = counted

    async def __call__(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        version, text = await self._database.epoch(self._epoch)
        if text is None:
            async with self._database.cursor() as cursor:
                raise await self._missing(cursor)
        given = coding(self._request.headers.get("accept-encoding", ""))
        etag = f'"{version.tag}-{given}"'
        if matches(known_tags(self._request), etag):
            await not_modified(send, etag)
            return
        squeeze, finish = squeezer(given)
        body = squeeze(text.encode()) + finish()
        self._counted()
        question = Question("", "application/json")
        await start(send, question.headers(etag, given, len(body)))
        await send({"type": "http.response.body", "body": body})


async def start(send: Send, headers: dict[str, str], status: int = 200) -> None:
    raw = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": raw})


async def not_modified(send: Send, etag: str) -> None:
    headers = {"etag": etag, "cache-control": CACHE_CONTROL, "vary": "Accept, Accept-Encoding"}
    await start(send, headers, 304)
    await send({"type": "http.response.body", "body": b""})
