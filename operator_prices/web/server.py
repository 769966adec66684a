"""The server: how long a connection may take to ask, and how many there may be."""

import asyncio
import contextlib
import logging
import resource
import socket
from typing import Any

import orjson
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from operator_prices.web.limits import Room
from operator_prices.web.middleware import ABORT, SAFETY
from operator_prices.web.stream import Stream

LOG = logging.getLogger(__name__)

HEAD_SECONDS = 10
"""How long the head of a request may take from its first byte."""

SILENT_SECONDS = 30
"""How long a new connection may wait with its first request: browsers open some in advance."""

CLOSING_SECONDS = 5
"""How long a connection that ends may take to send what is left."""

DESCRIPTORS = 65_536
"""More than that many open files are of no use to us."""


def descriptors() -> int:
    """How many files we may have open, after asking for all that we may ask for."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return DESCRIPTORS if soft == resource.RLIM_INFINITY else soft


class Connection(HttpToolsProtocol):
    """One connection, whose state of asking can be looked at from outside."""

    most = DESCRIPTORS
    """How many there may be."""

    head_since: float | None = None
    """Since when it has been waited for the head of a request, None if it is not waited for."""

    head_begun = False
    closing_since: float | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.head_since = self.loop.time()
        if len(self.connections) > self.most:
            self.turn_away(503, f"All {self.most} connections are taken: try again later.")

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["extensions"] = {ABORT: self.transport.abort}  # type: ignore[dict-item]
        self.head_since = self.loop.time()
        self.head_begun = True

    def on_headers_complete(self) -> None:
        self.head_since = None
        super().on_headers_complete()

    def turn_away(self, status: int, sentence: str) -> None:
        """Answer what was not asked to the end, and close the connection."""
        body = orjson.dumps({"detail": sentence})
        head = [
            f"HTTP/1.1 {status} {REASONS[status]}".encode(),
            b"content-type: application/json",
            f"content-length: {len(body)}".encode(),
            b"connection: close",
            *(name + b": " + value for name, value in SAFETY),
        ]
        self.transport.write(b"\r\n".join(head) + b"\r\n\r\n" + body)
        self.transport.close()

    def watch(self, now: float) -> None:
        """End the connection if it has taken too long to ask, or to end."""
        if self.transport.is_closing():
            self.closing_since = self.closing_since or now
            if now - self.closing_since > CLOSING_SECONDS:
                self.transport.abort()
        elif self.head_since is None:
            return
        elif self.head_begun and now - self.head_since > HEAD_SECONDS:
            self.turn_away(
                408, f"The head of the request did not come within {HEAD_SECONDS} s: send it whole."
            )
        elif not self.head_begun and now - self.head_since > SILENT_SECONDS:
            self.transport.close()


REASONS = {408: "Request Timeout", 503: "Service Unavailable"}


class Server(uvicorn.Server):
    """Watches its connections, and sends those who watch the stream away before it ends."""

    def __init__(self, config: uvicorn.Config, stream: Stream, room: Room) -> None:
        super().__init__(config)
        Connection.most = room.connections
        self._stream = stream
        self._watch: asyncio.Task[None] | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._watch = asyncio.create_task(self._watched())

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._stream.close()
        if self._watch:
            self._watch.cancel()
        await super().shutdown(sockets)

    async def _watched(self) -> None:
        while True:
            await asyncio.sleep(1)
            now = asyncio.get_running_loop().time()
            connections: list[Any] = list(self.server_state.connections)
            for connection in connections:
                connection.watch(now)
