"""Answers: named by the version of the data, read only if neither client nor cache has them."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from hashlib import blake2b

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from operator_prices.web.cache import Cache
from operator_prices.web.compression import Parts, compressed, squeezer
from operator_prices.web.database import Cursor, Database, Version
from operator_prices.web.headers import coding, known_tags, matches

STALL_SECONDS = 30
"""How long a client may leave us waiting before its answer is given up."""

ANSWER_SECONDS = 600
"""How long a client may take over an answer, which holds one of a few connections."""

CACHE_CONTROL = "public, max-age=0, must-revalidate"
"""Whoever keeps an answer asks each time whether it still holds, which costs a millisecond."""

Producer = Callable[[Cursor, Version], Parts]
"""What an answer is made of, in parts of 128 kB or more, at one version of the data."""

Missing = Callable[[Cursor], Awaitable[Exception]]
"""What is said when there is no such thing."""


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
            await _start(send, 304, etag, "application/json", given)
            await send({"type": "http.response.body", "body": b""})
            return
        squeeze, finish = squeezer(given)
        body = squeeze(text.encode()) + finish()
        self._counted()
        await _start(send, 200, etag, "application/json", given, len(body))
        await _patiently(send, body, more=False)


class Answer(Response):
    """An answer that is read from the database only if neither client nor cache has it already."""

    def __init__(
        self,
        request: Request,
        database: Database,
        cache: Cache,
        source: Producer,
        *,
        key: str,
        media_type: str,
        large: bool = False,
        filename: str | None = None,
    ) -> None:
        self.background = None
        self.status_code = 200
        self._request = request
        self._database = database
        self._cache = cache
        self._source = source
        self._key = key
        self._type = media_type
        self._large = large
        self._filename = filename
        self._coding = coding(request.headers.get("accept-encoding", ""))

    async def __call__(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        version = await self._database.version()
        etag = self._etag(version)
        if matches(known_tags(self._request), etag):
            await self._start(send, 304, etag)
            await send({"type": "http.response.body", "body": b""})
        elif (parts := self._cache.get(etag)) is not None:
            await self._start(send, 200, etag, sum(map(len, parts)))
            for part in parts:
                await _patiently(send, part, more=True)
            await _patiently(send, b"", more=False)
        else:
            # Whoever leaves us in the middle of a COPY would keep its connection for ever, were the
            # source not closed before its transaction.
            async with (
                self._database.snapshot(large=self._large) as (cursor, seen),
                aclosing(self._source(cursor, seen)) as source,
            ):
                async with asyncio.timeout(ANSWER_SECONDS):
                    await self._give(send, self._etag(seen), source)

    async def _give(self, send: Send, etag: str, source: Parts) -> None:
        collector = self._cache.collect(etag)
        try:
            parts = compressed(source, self._coding)
            before = await anext(parts, b"")
            started = False
            async for part in parts:
                if not started:
                    await self._start(send, 200, etag)
                    started = True
                if collector:
                    collector.add(before)
                await _patiently(send, before, more=True)
                before = part
            if not started:
                await self._start(send, 200, etag, len(before))
            if collector:
                collector.add(before)
                collector.keep()
            await _patiently(send, before, more=False)
        finally:
            if collector:
                collector.abandon()

    async def _start(self, send: Send, status: int, etag: str, length: int | None = None) -> None:
        await _start(send, status, etag, self._type, self._coding, length, self._filename)

    def _etag(self, version: Version) -> str:
        digest = blake2b(self._key.encode(), digest_size=8).hexdigest()
        return f'"{version.tag}-{digest}-{self._coding}"'


async def _start(  # noqa: PLR0917
    send: Send,
    status: int,
    etag: str,
    media_type: str,
    given: str,
    length: int | None = None,
    filename: str | None = None,
) -> None:
    headers = {"etag": etag, "cache-control": CACHE_CONTROL, "vary": "Accept, Accept-Encoding"}
    if status == 200:  # noqa: PLR2004
        headers["content-type"] = media_type
        if given != "identity":
            headers["content-encoding"] = given
        if length is not None:
            headers["content-length"] = str(length)
        if filename:
            headers["content-disposition"] = f'attachment; filename="{filename}"'
    raw = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": raw})


async def _patiently(send: Send, body: bytes, *, more: bool) -> None:
    async with asyncio.timeout(STALL_SECONDS):
        await send({"type": "http.response.body", "body": body, "more_body": more})
