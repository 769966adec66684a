"""A line to Postgres that freezes, forgets, delays, tears and is cut: a TCP proxy of our own.

A frozen proxy keeps its connections and takes new ones, and the kernel acknowledges whatever is
sent to it: to those who use it, the far side looks alive and says nothing.
"""

import asyncio
import socket
import threading
from collections.abc import Coroutine, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from typing import Self, TypeVar

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

T = TypeVar("T")

PART = 64 * 2**10

TABLES = (
    *("epochs", "operator_share_prices", "operator_shares", "operators_metadata"),
    *("epoch_analytics", "quarantine", "skipped_epochs", "chain_identity"),
)


@dataclass(eq=False, slots=True)
class _Through:
    """One connection through the proxy, and how many bytes of answers it may still carry."""

    client: asyncio.StreamWriter
    far: asyncio.StreamWriter | None = None
    lost: bool = False
    """Nothing is forwarded any more, whatever becomes of the line."""
    tear_after: int | None = None


@dataclass(slots=True)
class Trap:
    """What the line does when a client sends some text."""

    text: bytes
    deed: str
    """`freeze` all before the text is forwarded, `mute` all once it is; `lose` this connection
    before that, `swallow` its answer, `cut` it, `tear` its answer after three bytes."""
    times: int = 1
    sprung: threading.Event = field(default_factory=threading.Event)


class Line:
    """A proxy between clients and a server, which may be changed for another one."""

    def __init__(self, dsn: str) -> None:
        self.dsn = dsn
        self.server = dsn
        """Where new connections lead: a server that fails over is another one by the same name."""
        self._loop = asyncio.new_event_loop()
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._through: set[_Through] = set()
        self._traps: list[Trap] = []
        self._seconds = 0.0
        self._refusing = False
        self._listener: asyncio.Server | None = None
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        with closing(socket.socket()) as found:
            found.bind(("127.0.0.1", 0))
            self.port = int(found.getsockname()[1])

    @property
    def url(self) -> str:
        """The database as seen through this line."""
        return self.to(self.dsn)

    def to(self, dsn: str) -> str:
        """Any database of the server as seen through this line."""
        return make_conninfo(dsn, host="127.0.0.1", port=self.port)

    @property
    def connections(self) -> int:
        return len(self._through)

    def freeze(self) -> None:
        """Forward nothing more, and keep everything that comes."""
        self._call(self._freeze())

    def thaw(self) -> None:
        """Forward again, also what was kept."""
        self._call(self._thaw())

    def forget(self) -> None:
        """Never forward anything again on the connections there are, as a NAT that lost them."""
        self._call(self._lose())

    def cut(self) -> None:
        """Reset the connections there are; new ones go through."""
        self._call(self._cut())

    def refuse(self) -> None:
        """Reset the connections there are, and take no new ones until `accept`."""
        self._call(self._refuse())

    def accept(self) -> None:
        self._call(self._listen())

    def delay(self, seconds: float) -> None:
        """Hold up each part of what is sent, in both directions."""
        self._seconds = seconds

    def tear(self, after: int) -> None:
        """Of each connection, forward so many bytes of answers more, then end it."""
        self._call(self._tear(after))

    def trap(self, text: str, deed: str, times: int = 1) -> Trap:
        """Do something the next times that a client sends a text."""
        trap = Trap(text.encode(), deed, times)
        self._traps.append(trap)
        return trap

    def _call(self, doing: Coroutine[object, object, T]) -> T:
        return asyncio.run_coroutine_threadsafe(doing, self._loop).result(30)

    def __enter__(self) -> Self:
        self._thread.start()
        self._call(self._listen())
        return self

    def __exit__(self, *_: object) -> None:
        self._call(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _listen(self) -> None:
        self._listener = await asyncio.start_server(self._taken, "127.0.0.1", self.port)

    async def _refuse(self) -> None:
        if self._listener:
            self._listener.close()
        await self._cut()

    async def _freeze(self) -> None:
        self._flowing.clear()

    async def _thaw(self) -> None:
        self._flowing.set()

    async def _lose(self) -> None:
        for through in self._through:
            through.lost = True

    async def _tear(self, after: int) -> None:
        for through in self._through:
            through.tear_after = after

    async def _cut(self) -> None:
        for through in list(self._through):
            self._reset(through)

    async def _end(self) -> None:
        await self._refuse()
        self._flowing.set()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    @staticmethod
    def _reset(through: _Through) -> None:
        for writer in (through.client, through.far):
            if writer is not None:
                with suppress(OSError):
                    linger = b"\x01\x00\x00\x00\x00\x00\x00\x00"  # on, for no time: a reset
                    held = writer.get_extra_info("socket")
                    if held.family != socket.AF_UNIX:
                        held.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                writer.transport.abort()

    async def _taken(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        through = _Through(writer)
        self._through.add(through)
        try:
            await self._flowing.wait()
            known = conninfo_to_dict(self.server)
            host, port = str(known["host"]), int(known.get("port") or 5432)
            if host.startswith("/"):
                far = await asyncio.open_unix_connection(f"{host}/.s.PGSQL.{port}")
            else:
                far = await asyncio.open_connection(host, port)
            through.far = far[1]
            async with asyncio.TaskGroup() as both:
                both.create_task(self._questions(through, reader, far[1]))
                both.create_task(self._answers(through, far[0], writer))
        except* (OSError, EOFError, asyncio.CancelledError):
            pass
        finally:
            self._through.discard(through)
            self._reset(through)

    async def _questions(
        self, through: _Through, reader: asyncio.StreamReader, far: asyncio.StreamWriter
    ) -> None:
        while part := await self._part(reader):
            sprung = self._sprung(part)
            if sprung == "freeze":
                self._flowing.clear()
            elif sprung == "lose":
                through.lost = True
            elif sprung == "cut":
                raise EOFError
            elif sprung == "tear":
                through.tear_after = 3
            await self._pass(through, part, far)
            if sprung == "mute":
                self._flowing.clear()
            elif sprung == "swallow":
                through.lost = True
        raise EOFError

    async def _answers(
        self, through: _Through, reader: asyncio.StreamReader, client: asyncio.StreamWriter
    ) -> None:
        while part := await self._part(reader):
            if through.tear_after is None:
                await self._pass(through, part, client)
                continue
            await self._pass(through, part[: through.tear_after], client)
            through.tear_after -= min(through.tear_after, len(part))
            if through.tear_after == 0:
                break
        raise EOFError

    async def _part(self, reader: asyncio.StreamReader) -> bytes:
        part = await reader.read(PART)
        if self._seconds:
            await asyncio.sleep(self._seconds)
        return part

    async def _pass(self, through: _Through, part: bytes, writer: asyncio.StreamWriter) -> None:
        await self._flowing.wait()
        if through.lost:
            await asyncio.Event().wait()
        writer.write(part)
        await writer.drain()

    def _sprung(self, part: bytes) -> str | None:
        for trap in self._traps:
            if trap.times and trap.text in part:
                trap.times -= 1
                trap.sprung.set()
                return trap.deed
        return None


@contextmanager
def line(dsn: str) -> Iterator[Line]:
    """A line to a database, over TCP, that does what a test wants."""
    with Line(dsn) as between:
        yield between


def contents(dsn: str) -> dict[str, list[tuple[object, ...]]]:
    """All that is stored of epochs, but for the times at which it was."""
    told = {}
    with psycopg.connect(dsn) as connection:
        for table in TABLES:
            columns = connection.execute(
                "SELECT array_agg(attname ORDER BY attnum) FROM pg_attribute WHERE attnum > 0"
                " AND attrelid = %s::regclass AND NOT attisdropped AND attname NOT LIKE '%%\\_at'",
                [table],
            ).fetchone()
            assert columns
            query = sql.SQL("SELECT {columns} FROM {table} ORDER BY {columns}").format(
                columns=sql.SQL(", ").join(
                    sql.SQL("{}::text").format(sql.Identifier(name)) for name in columns[0]
                ),
                table=sql.Identifier(table),
            )
            told[table] = connection.execute(query).fetchall()
    return told
