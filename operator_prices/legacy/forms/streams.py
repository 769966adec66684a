"""Bytes as they come, unpacked: gzip and zstd undone, byte order marks read, all of it streamed."""

import codecs
import gzip
import io
import zlib
from collections.abc import Callable
from typing import BinaryIO

import zstandard

from operator_prices.legacy.forms.items import BrokenFormError

HEAD = 64 * 2**10
"""Bytes of the beginning that a form is told by."""

CHUNK = 256 * 2**10

LAYERS = 4
"""As many packings inside each other are undone."""

GZIP, ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"

MARKS = (
    (codecs.BOM_UTF8, None),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
"""What a text may begin with, and the encoding that is told by it; longer marks come first."""


class Stream(io.RawIOBase):
    """Bytes from a function that returns the next piece, empty at the end; `head` was looked at."""

    def __init__(self, read: Callable[[], bytes], head: bytes = b"") -> None:
        self._read = read
        self._left = head
        self._ended = False
        self.head = head

    def look(self, size: int = HEAD) -> bytes:
        """The first bytes, which are still to be read."""
        while len(self._left) < size and not self._ended:
            piece = self._read()
            self._ended = not piece
            self._left += piece
        self.head = self._left[:size]
        return self.head

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        view = memoryview(buffer).cast("B")  # type: ignore[arg-type]
        if not self._left and not self._ended:
            self._left = self._read()
            self._ended = not self._left
        piece = self._left[: len(view)]
        view[: len(piece)] = piece
        self._left = self._left[len(piece) :]
        return len(piece)


def unpacked(file: BinaryIO) -> tuple[io.BufferedReader, bytes, list[str]]:
    """The stream below all packings, its first bytes, and the names of the packings.

    Reading raises `BrokenFormError` where a packing is broken or cut off.
    """
    stream = Stream(lambda: file.read(CHUNK))
    packings: list[str] = []
    while len(packings) < LAYERS:
        head = stream.look(len(ZSTD))
        if head[: len(GZIP)] == GZIP:
            stream = Stream(_gunzipped(stream))
            packings.append("gzip")
        elif head == ZSTD:
            stream = Stream(_unzstd(stream))
            packings.append("zstd")
        else:
            break
    head = stream.look()
    for mark, encoding in MARKS:
        if head.startswith(mark):
            stream.read(len(mark))
            if encoding is not None:
                stream = Stream(_transcoded(stream, encoding))
                packings.append(encoding.upper())
            head = stream.look()
            break
    return io.BufferedReader(stream, CHUNK), head, packings


def _gunzipped(stream: Stream) -> Callable[[], bytes]:
    file = gzip.GzipFile(fileobj=io.BufferedReader(stream, CHUNK))

    def read() -> bytes:
        try:
            return file.read(CHUNK)
        except EOFError as error:
            raise BrokenFormError("is cut off: its gzip has no end") from error
        except (OSError, zlib.error) as error:
            raise BrokenFormError(f"is broken gzip ({error})") from error

    return read


def _unzstd(stream: Stream) -> Callable[[], bytes]:
    """One frame after the other; the library's own reader takes one that is cut off for whole."""
    packed = io.BufferedReader(stream, CHUNK)
    frame = zstandard.ZstdDecompressor().decompressobj()
    begun = False
    left = b""

    def read() -> bytes:
        nonlocal frame, begun, left
        try:
            while True:
                if frame.eof:
                    left = frame.unused_data
                    frame = zstandard.ZstdDecompressor().decompressobj()
                    begun = False
                piece = left or packed.read1(CHUNK)
                left = b""
                if not piece:
                    if begun:
                        raise BrokenFormError("is cut off: its zstd has no end")
                    return b""
                begun = True
                if found := frame.decompress(piece):
                    return found
        except zstandard.ZstdError as error:
            raise BrokenFormError(f"is broken zstd ({error})") from error

    return read


def _transcoded(stream: Stream, encoding: str) -> Callable[[], bytes]:
    decoder = codecs.getincrementaldecoder(encoding)()
    ended = False

    def read() -> bytes:
        nonlocal ended
        text = ""
        try:
            while not text and not ended:
                piece = stream.read(CHUNK)
                ended = not piece
                text = decoder.decode(piece or b"", final=ended)
        except UnicodeDecodeError as error:
            raise BrokenFormError(f"is no {encoding.upper()} ({error.reason})") from error
        return text.encode(errors="surrogatepass")

    return read
