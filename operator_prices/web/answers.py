"""Answers: named by the version of the data, streamed, compressed, kept for who asks again."""

import asyncio
from collections import Counter, OrderedDict
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from hashlib import blake2b

import zstandard
from isal import isal_zlib
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from operator_prices.web.database import Cursor, Database, Version

STALL_SECONDS = 30
"""How long a client may leave us waiting before its answer is given up."""

ANSWER_SECONDS = 600
"""How long a client may take over an answer, which holds one of a few connections."""

CACHE_CONTROL = "public, max-age=0, must-revalidate"
"""Whoever keeps an answer asks each time whether it still holds, which costs a millisecond."""

GZIP = 31
"""The window bits that make zlib write gzip."""

Parts = AsyncGenerator[bytes, None]

Source = Callable[[Cursor, Version], Parts]
"""What an answer is made of, in parts of 128 kB or more, at one version of the data."""


FORGET_AFTER = 20_000
"""Questions after which what was asked before counts half."""


Missing = Callable[[Cursor], Awaitable[Exception]]
"""What is said when there is no such thing."""


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


class Point(Response):
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
        if matches(asked(self._request), etag):
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
        source: Source,
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
        if matches(asked(self._request), etag):
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


def coding(accepted: str) -> str:
    """The best of what a client accepts and we can write: zstd, gzip, else identity.

    >>> coding("gzip, deflate, br, zstd"), coding("gzip;q=1.0, zstd;q=0"), coding("br")
    ('zstd', 'gzip', 'identity')
    """
    weights: dict[str, float] = {}
    for item in accepted.lower().split(","):
        name, _, parameters = item.partition(";")
        weight = parameters.replace(" ", "").partition("q=")[2] or "1"
        try:
            weights[name.strip()] = float(weight)
        except ValueError:
            weights[name.strip()] = 0
    known = {name: weights.get(name, weights.get("*", 0)) for name in ("zstd", "gzip")}
    best = max(known, key=lambda name: known[name])
    return best if known[best] > 0 else "identity"


def asked(request: Request) -> str:
    """All that `If-None-Match` names, in however many lines."""
    return ",".join(request.headers.getlist("if-none-match"))


def matches(asked: str | None, etag: str) -> bool:
    """Whether `If-None-Match` names the answer that would be given.

    Not by `*`: that would need to know first whether there is any.

    >>> matches('"a", W/"b"', '"b"'), matches("*", '"b"'), matches(None, '"b"')
    (True, False, False)
    """
    return etag in {tag.strip().removeprefix("W/") for tag in (asked or "").split(",")}


Squeezer = tuple[Callable[[bytes], bytes], Callable[[], bytes]]


def squeezer(coding: str) -> Squeezer:
    """What takes the parts of an answer, and what ends it, fast before small."""
    if coding == "zstd":
        zstd = zstandard.ZstdCompressor(level=1).compressobj()
        return zstd.compress, zstd.flush
    if coding == "gzip":
        gzip = isal_zlib.compressobj(1, isal_zlib.DEFLATED, GZIP)
        return gzip.compress, gzip.flush
    return bytes, bytes


async def compressed(parts: Parts, coding: str) -> Parts:
    """The same bytes in the coding that the client accepts, none of the parts empty."""
    squeeze, finish = squeezer(coding)
    async for part in parts:
        if ready := squeeze(part):
            yield ready
    if rest := finish():
        yield rest
