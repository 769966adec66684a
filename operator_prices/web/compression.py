"""Answers in the coding that a client accepts."""

from collections.abc import AsyncGenerator, Callable

import zstandard
from isal import isal_zlib

GZIP = 31
"""The window bits that make zlib write gzip."""

Parts = AsyncGenerator[bytes, None]

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
    """The same bytes in another coding, none of the parts empty."""
    squeeze, finish = squeezer(coding)
    async for part in parts:
        if ready := squeeze(part):
            yield ready
    if rest := finish():
        yield rest
