"""A small proxy as companies have one: CONNECT, plain HTTP that is passed on, and SOCKS 5."""

import asyncio
import threading
from base64 import b64encode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from urllib.parse import urlsplit


@dataclass
class Proxy:
    """Knows the hosts that it lets pass, and where they really are."""

    hosts: Mapping[str, int]
    """Names that only this proxy can resolve, and their ports on this machine."""
    user: str | None = None
    """Who may pass, as `user:password`; None is everybody."""
    port: int = 0
    seen: list[str] = field(default_factory=list)
    """The first line of each request, or `SOCKS host:port`."""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            first = await reader.readexactly(1)
            if first == b"\x05":
                await self._socks(reader, writer)
            else:
                await self._http(first, reader, writer)
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # who asked has left
        finally:
            await _closed(writer)

    async def _socks(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly((await reader.readexactly(1))[0])
        writer.write(b"\x05\x00")
        *_, length = await reader.readexactly(5)
        host = (await reader.readexactly(length)).decode()
        port = int.from_bytes(await reader.readexactly(2), "big")
        self.seen.append(f"SOCKS {host}:{port}")
        writer.write(b"\x05\x00\x00\x01" + bytes(6))
        await self._pass_on(host, b"", reader, writer)

    async def _http(
        self, first: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        head = (first + await reader.readuntil(b"\r\n\r\n")).decode()
        line = head.split("\r\n")[0]
        self.seen.append(line)
        method, target, _ = line.split()
        if self.user and f"Basic {b64encode(self.user.encode()).decode()}" not in head:
            writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
            return
        if method == "CONNECT":
            host, rest = target.partition(":")[0], b""
        else:
            host = urlsplit(target).hostname or ""
            rest = head.replace(target, urlsplit(target).path or "/", 1).encode()
            rest = rest.replace(b"\r\n", b"\r\nConnection: close\r\n", 1)
        if host not in self.hosts:
            writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
            return
        if method == "CONNECT":
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        await self._pass_on(host, rest, reader, writer)

    async def _pass_on(
        self, host: str, begun: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        from_node, to_node = await asyncio.open_connection("127.0.0.1", self.hosts[host])
        to_node.write(begun)
        ways = [
            asyncio.create_task(_pump(reader, to_node)),
            asyncio.create_task(_pump(from_node, writer)),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            to_node.close()  # before anything is waited for: that may be called off
            await asyncio.gather(*ways, return_exceptions=True)
            await _closed(to_node)


async def _closed(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with suppress(ConnectionError, asyncio.CancelledError):
        await writer.wait_closed()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while part := await reader.read(65536):
        writer.write(part)
        await writer.drain()


@contextmanager
def proxying(hosts: Mapping[str, int], *, user: str | None = None) -> Iterator[Proxy]:
    """A proxy on a port of its own until the block is left."""
    proxy = Proxy(hosts, user)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="proxy", daemon=True)
    thread.start()

    async def start() -> asyncio.Server:
        return await asyncio.start_server(proxy.serve, "127.0.0.1", 0)

    async def stop(server: asyncio.Server) -> None:
        server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    server = asyncio.run_coroutine_threadsafe(start(), loop).result()
    proxy.port = server.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        asyncio.run_coroutine_threadsafe(stop(server), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
