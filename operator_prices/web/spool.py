"""Large answers in files: made once for a version of the data, read by any number at their pace.

Postgres writes at its own speed: no connection to it and no process waits for whoever reads.
"""

import asyncio
import fcntl
import os
import shutil
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import gettempdir, mkdtemp
from typing import Self

from operator_prices.web.refusals import RefusedRequestError

PART = 128 * 2**10

STALLED_SECONDS = 3
"""Whoever has taken nothing for so long gives way when room is needed."""

PREFIX = "operator-prices-api-"


class GaveWayError(Exception):
    """The file of a reader who took nothing was removed to make room."""


class Reader:
    """Somebody who is being given an answer."""

    def __init__(self) -> None:
        self.moved = time.monotonic()


class Entry:
    """An answer in a file that may still be growing."""

    def __init__(self, spool: "Spool", etag: str, path: Path) -> None:
        self.etag = etag
        self.path = path
        self.size = 0
        self.readers: set[Reader] = set()
        self.done = False
        self.gone = False
        self.error: Exception | None = None
        self.task: asyncio.Task[None] | None = None
        self._spool = spool
        self._descriptor: int | None = None
        self._changed = asyncio.Event()

    def named(self, etag: str) -> None:
        """Say of which version the answer turned out to be."""
        self._spool.rename(self, etag)

    def write(self, part: bytes) -> None:
        """Add a part; raises `RefusedRequestError` when there is no room for it."""
        self._spool.reserve(len(part))
        if self._descriptor is None:
            self._descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        self.size += len(part)
        view = memoryview(part)
        while view:
            view = view[os.write(self._descriptor, view) :]
        self.changed()

    def rewritten(self, path: Path) -> None:
        """Let another file be the answer."""
        size = path.stat().st_size
        self._spool.reserve(size)
        self._spool.release(self.size)
        path.replace(self.path)
        self.size = size

    def beside(self) -> Path:
        """Where a file may be written that becomes the answer."""
        return self.path.with_suffix(".next")

    def close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
        self.beside().unlink(missing_ok=True)

    def changed(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def begun(self) -> None:
        """Wait for the first part; raises whatever kept it from being made."""
        while not (self.size or self.done or self.error):
            await self._changed.wait()
        if self.error:
            raise self.error

    async def completed(self) -> None:
        """Wait for all of it; raises whatever kept it from being made."""
        while not (self.done or self.error):
            await self._changed.wait()
        if self.error:
            raise self.error

    async def parts(self) -> AsyncGenerator[bytes, None]:
        """What is there, and what comes until all is there."""
        await self.begun()
        descriptor = os.open(self.path, os.O_RDONLY)
        try:
            position = 0
            while True:
                if self.gone:
                    raise GaveWayError
                if position < self.size:
                    part = os.pread(descriptor, min(PART, self.size - position), position)
                    position += len(part)
                    yield part
                elif self.error:
                    raise self.error
                elif self.done:
                    return
                else:
                    await self._changed.wait()
        finally:
            os.close(descriptor)


Make = Callable[[Entry], Awaitable[None]]
"""Fills an entry, all of it before it returns."""


class Spool:
    """A folder of answers, bounded in bytes; those of a former version of the data go first."""

    def __init__(self, limit: int, *, keep: bool = True) -> None:
        self._limit = limit
        self._keep = keep
        self._used = 0
        self._number = 0
        self._entries: dict[str, Entry] = {}
        self._all: set[Entry] = set()
        self._folder = Path()
        self._lock = -1

    async def __aenter__(self) -> Self:
        _sweep()
        self._folder = Path(mkdtemp(prefix=PREFIX))
        self._lock = os.open(self._folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        return self

    async def __aexit__(self, *_: object) -> None:
        tasks = [entry.task for entry in self._all if entry.task]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        shutil.rmtree(self._folder, ignore_errors=True)
        os.close(self._lock)

    @contextmanager
    def reading(self, etag: str, make: Make) -> Iterator[tuple[Entry, Reader]]:
        """The answer of this name, begun now if nobody has asked for it before."""
        entry = self._entries.pop(etag, None)
        if entry is None:
            self._number += 1
            entry = Entry(self, etag, self._folder / str(self._number))
            self._all.add(entry)
            entry.task = asyncio.create_task(self._made(entry, make))
        self._entries[etag] = entry  # the last ones are those asked for last
        reader = Reader()
        entry.readers.add(reader)
        try:
            yield entry, reader
        finally:
            entry.readers.discard(reader)
            if not entry.readers and (entry.done or entry.error) and not self._kept(entry):
                self.remove(entry)

    def rename(self, entry: Entry, etag: str) -> None:
        if etag == entry.etag:
            return
        if self._entries.get(entry.etag) is entry:
            del self._entries[entry.etag]
        entry.etag = etag
        self._entries.setdefault(etag, entry)

    def reserve(self, size: int) -> None:
        """Make room, at the cost of former versions, of answers long unasked for, of who stalls."""
        while self._used + size > self._limit:
            leaving = self._leaving()
            if leaving is None:
                raise RefusedRequestError(
                    503,
                    "Answers that are being read occupy all of the room for large answers"
                    f" (API_SPOOL_BYTES, {self._limit} bytes): try again, or ask for less.",
                )
            self.remove(leaving)
        self._used += size

    def release(self, size: int) -> None:
        self._used -= size

    def remove(self, entry: Entry) -> None:
        """Forget an answer; what its readers have not read is lost to them."""
        if entry not in self._all:
            return
        self._all.discard(entry)
        if self._entries.get(entry.etag) is entry:
            del self._entries[entry.etag]
        self._used -= entry.size
        entry.gone = True
        with suppress(FileNotFoundError):
            os.truncate(entry.path, 0)  # a reader may have it open
            entry.path.unlink()

    def _kept(self, entry: Entry) -> bool:
        return self._keep and entry.done and self._entries.get(entry.etag) is entry

    def _leaving(self) -> Entry | None:
        """Who gives way: an answer that nobody reads, else one whose readers take nothing."""
        for entry in self._entries.values():
            if entry.done and not entry.readers:
                return entry
        long_ago = time.monotonic() - STALLED_SECONDS
        stalled = [
            entry
            for entry in self._all
            if entry.done and all(reader.moved < long_ago for reader in entry.readers)
        ]
        return min(
            stalled,
            key=lambda entry: min((reader.moved for reader in entry.readers), default=0),
            default=None,
        )

    async def _made(self, entry: Entry, make: Make) -> None:
        try:
            await make(entry)
        except Exception as error:  # noqa: BLE001 - whoever asked has to know
            entry.error = error
        else:
            entry.done = True
            self._forget_before(entry.etag)
        finally:
            entry.close()
            entry.changed()
        if entry.error:
            if self._entries.get(entry.etag) is entry:
                del self._entries[entry.etag]
            if not entry.readers:
                self.remove(entry)

    def _forget_before(self, etag: str) -> None:
        """Let go of the answers of other versions of the data that nobody reads any more."""
        version = etag.split("-")[:2]
        for entry in list(self._entries.values()):
            if entry.done and not entry.readers and entry.etag.split("-")[:2] != version:
                self.remove(entry)


def _sweep() -> None:
    """Remove the folders of processes that were killed: nobody holds their locks."""
    for folder in Path(gettempdir()).glob(f"{PREFIX}*"):
        with suppress(OSError):
            lock = os.open(folder / "lock", os.O_RDWR)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(lock)
