"""The connections of the serving process, the version of the data, and snapshots to answer from."""

import asyncio
import math
import select
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Self, TypeVar

from psycopg import AsyncCursor, IsolationLevel, sql
from psycopg.rows import TupleRow
from psycopg_pool import AsyncConnectionPool

from operator_prices.postgres.keeping import SilentDatabaseError, parameters
from operator_prices.postgres.parts import API_LARGE, API_SMALL, application_name
from operator_prices.postgres.serving import REACH_SECONDS, ServingLine, Way
from operator_prices.settings import READER
from operator_prices.web.queries.versioned import EPOCH_AT_VERSION, HIDDEN, VERSION
from operator_prices.web.unservable import NO_VERSION, UnservableDatabaseError

Cursor = AsyncCursor[TupleRow]
Pool = AsyncConnectionPool[ServingLine]
Result = TypeVar("Result")

STATEMENT_SECONDS, ANSWER_SECONDS = 55, 60
"""When the server gives up an answer; and when we do, if it has not told us by then."""

PATIENCE_SECONDS = 5
"""How long a request waits for a connection."""

SHARED_SECONDS = 10
"""How long a request waits for a reading that it shares with others."""

RENEW_SECONDS = 5
"""How often the pools are emptied at most, when their connections turn out to be silent."""

RECONNECT_SECONDS = 3
"""How long the pool tries by itself; later it is the next request that has it try again."""

READERS, BATCH = 2, 16
"""How many statements for single epochs run at a time, and how many epochs each asks for."""

RIGHTS = sql.SQL(
    "SELECT current_user, coalesce(string_agg(relname, ', ' ORDER BY relname), '') FROM pg_class"
    " WHERE relkind IN ('r', 'p', 'v', 'm')"
    " AND relnamespace = (SELECT relnamespace FROM pg_class WHERE oid = 'epochs'::regclass)"
    " AND has_table_privilege(pg_class.oid, 'INSERT, UPDATE, DELETE, TRUNCATE')"
)

BOUND = sql.SQL("SELECT set_config('statement_timeout', {}, true)").format(f"{STATEMENT_SECONDS}s")
"""For the rest of a transaction."""


@dataclass(frozen=True, slots=True)
class Version:
    """What the published data is a function of."""

    lineage: str
    number: int
    document_bytes: int
    """The size of the newest prepared document, to choose the size of chunks by."""

    @property
    def tag(self) -> str:
        return f"{self.lineage[:8]}-{self.number}"


Told = tuple[Version, str | None]


class Database:
    """Pools of connections that only read."""

    def __init__(self, url: str) -> None:
        options = {
            **parameters(url),
            "autocommit": True,
            "application_name": application_name("api"),
            "connect_timeout": REACH_SECONDS,
        }
        self._way = Way(url)
        self._renewed = -math.inf
        self._small, self._large = (
            AsyncConnectionPool(
                url,
                connection_class=ServingLine,
                kwargs=options,
                min_size=1,
                max_size=size,
                timeout=PATIENCE_SECONDS,
                max_waiting=1000,
                open=False,
                configure=self._configured,
                check=_alive,
                reconnect_timeout=RECONNECT_SECONDS,
                name=name,
            )
            for name, size in (("small", API_SMALL), ("large", API_LARGE))
        )
        self.url = url
        self._wanted: asyncio.Future[Version] | None = None
        self._reading: asyncio.Task[None] | None = None
        self._asked: dict[int, asyncio.Future[Told]] = {}
        self._readers: set[asyncio.Task[None] | None] = set()

    async def __aenter__(self) -> Self:
        await self._small.open()
        await self._large.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._large.close()
        await self._small.close()

    async def version(self) -> Version:
        """The version of the data, read after this was called.

        Whoever asks while a reading is under way shares the next one, so that any number of
        requests costs the database one at a time.
        """
        if self._wanted is None:
            self._wanted = asyncio.get_running_loop().create_future()
            if self._reading is None:
                self._reading = asyncio.create_task(self._read())
        return await _shared(self._wanted)

    async def _read(self) -> None:
        while (wanted := self._wanted) is not None:
            self._wanted = None
            try:
                try:
                    async with self.cursor() as cursor:
                        version = await version_of(cursor)
                except SilentDatabaseError:  # that connection was; a new one may not be
                    async with self.cursor() as cursor:
                        version = await version_of(cursor)
            except BaseException as error:  # noqa: BLE001 - whoever asked has to know
                wanted.set_exception(error)
                wanted.exception()  # they may all have gone
            else:
                wanted.set_result(version)
        self._reading = None

    async def epoch(self, epoch: int) -> Told:
        """One epoch as JSON, None if it is not stored, and the version; read after this was called.

        Epochs that are asked for while others are being read are read together.
        """
        if epoch not in self._asked:
            self._asked[epoch] = asyncio.get_running_loop().create_future()
            if len(self._readers) < READERS:
                self._readers.add(asyncio.create_task(self._read_epochs()))
        return await _shared(self._asked[epoch])

    async def _read_epochs(self) -> None:
        while self._asked:
            batch = {epoch: self._asked.pop(epoch) for epoch in list(self._asked)[:BATCH]}
            try:
                try:
                    async with self.cursor() as cursor:
                        rows = await epochs_of(cursor, list(batch))
                except SilentDatabaseError:
                    async with self.cursor() as cursor:
                        rows = await epochs_of(cursor, list(batch))
                for epoch, told in rows:
                    batch[epoch].set_result(told)
            except BaseException as error:  # noqa: BLE001 - whoever asked has to know
                for asked in batch.values():
                    if not asked.done():
                        asked.set_exception(error)
                        asked.exception()  # they may all have gone
        # Not by a callback: whoever asks until it is called would wait for a reader that has left.
        self._readers.discard(asyncio.current_task())

    @asynccontextmanager
    async def cursor(self, seconds: float = PATIENCE_SECONDS) -> AsyncIterator[Cursor]:
        """A cursor for one small statement; `seconds` are to wait for a connection."""
        async with self._renewing(), self._small.connection(seconds) as connection:
            if _pooled(connection):
                async with _reading(connection) as cursor:
                    yield cursor
            else:
                async with connection.cursor() as cursor:
                    yield cursor

    @asynccontextmanager
    async def snapshot(self, *, large: bool) -> AsyncIterator[tuple[Cursor, Version]]:
        """A cursor whose statements all see the data at one version, and that version."""
        pool = self._large if large else self._small
        async with self._renewing(), AsyncExitStack() as entered:
            try:
                begun = await self._begun(entered, pool)
            except SilentDatabaseError:
                await entered.aclose()
                await self.renew()
                begun = await self._begun(entered, pool)
            yield begun

    @staticmethod
    async def _begun(entered: AsyncExitStack, pool: Pool) -> tuple[Cursor, Version]:
        connection = await entered.enter_async_context(pool.connection())
        cursor = await entered.enter_async_context(_reading(connection))
        version = await version_of(cursor)
        entered.enter_context(connection.patient(ANSWER_SECONDS))
        return cursor, version

    @asynccontextmanager
    async def _renewing(self) -> AsyncIterator[None]:
        try:
            yield
        except SilentDatabaseError:
            await self.renew()
            raise

    async def renew(self) -> None:
        """Let go of all connections: what made one of them silent may have made all of them."""
        now = asyncio.get_running_loop().time()
        if now - self._renewed > RENEW_SECONDS:
            self._renewed = now
            await self._small.drain()
            await self._large.drain()

    async def _configured(self, connection: ServingLine) -> None:
        connection.reachable = self._way.open
        await _read_only(connection)

    async def complaint(self, seconds: float = PATIENCE_SECONDS) -> str | None:
        """What is wrong with the role we were given, in a sentence with the fix."""
        async with self.cursor(seconds) as cursor:
            await cursor.execute(RIGHTS)
            role, writable = await cursor.fetchone() or ("", "")
        if not writable:
            return None
        return (
            f"API_DATABASE_URL gives the API the role {role}, which can write ({writable}): give"
            f" it {READER}, which the migrations create (an administrator lets it log in with"
            f" ALTER ROLE {READER} PASSWORD '...')."
        )


async def epochs_of(cursor: Cursor, wanted: list[int]) -> list[tuple[int, Told]]:
    await cursor.execute(EPOCH_AT_VERSION, [wanted], prepare=True)
    return [
        (epoch, (await _version(cursor, *version), text))
        for epoch, *version, text in await cursor.fetchall()
    ]


async def version_of(cursor: Cursor) -> Version:
    """The version of the data. Raises `UnservableDatabaseError` where not all of it is seen."""
    await cursor.execute(VERSION, prepare=True)
    row = await cursor.fetchone()
    return await _version(cursor, *(row or (None, None, 0, "")))


_sound: set[tuple[str, str | None, str]] = set()
"""The last role, database and state of row-level security that was found to hide nothing."""


async def _version(
    cursor: Cursor, lineage: str | None, number: int | None, size: int, state: str
) -> Version:
    """What is hidden would read like an empty table: it is an error before it is an answer."""
    role = cursor.connection.info.user
    if (role, lineage, state) not in _sound:
        await cursor.execute(HIDDEN)
        hidden, now = await cursor.fetchone() or (None, "")
        if hidden is not None or now != state:
            raise UnservableDatabaseError(
                f"Row-level security hides the rows of {hidden or 'some tables'} from the role"
                f" {role}: run `operator-prices migrate` as the tables' owner, which puts its"
                " policies back."
            )
        _sound.clear()
        _sound.add((role, lineage, state))
    if lineage is None or number is None:
        raise UnservableDatabaseError(NO_VERSION)
    return Version(lineage, number, size)


async def _shared(asked: asyncio.Future[Result]) -> Result:
    """The result of a reading that requests share: one that gives up cancels it for nobody."""
    try:
        async with asyncio.timeout(SHARED_SECONDS):
            return await asyncio.shield(asked)
    except TimeoutError:
        raise SilentDatabaseError(f"the database has been silent for {SHARED_SECONDS} s") from None


async def _alive(connection: ServingLine) -> None:
    """Raise for a connection that the server has ended; one that is silent costs no question."""
    ready = select.poll()  # select() cannot look at descriptors above 1023
    ready.register(connection.fileno(), select.POLLIN)
    if ready.poll(0):
        await AsyncConnectionPool.check_connection(connection)


async def _read_only(connection: ServingLine) -> None:
    """Whatever the role may do, this process only reads, and everything at one moment.

    On a connection to a pooler that holds for each transaction by itself: the session may go to
    somebody else after it, so it is told nothing and prepares nothing.
    """
    await connection.set_isolation_level(IsolationLevel.REPEATABLE_READ)
    await connection.set_read_only(True)
    cursor = await connection.execute("SELECT pg_backend_pid()")
    if await cursor.fetchone() != (connection.info.backend_pid,):
        connection.prepare_threshold = None
        return
    await connection.execute(
        sql.SQL(
            "SELECT set_config('default_transaction_read_only', 'on', false),"
            " set_config('statement_timeout', {}, false)"
        ).format(f"{STATEMENT_SECONDS}s")
    )


def _pooled(connection: ServingLine) -> bool:
    """Whether `_read_only` found a pooler in between."""
    return connection.prepare_threshold is None


@asynccontextmanager
async def _reading(connection: ServingLine) -> AsyncIterator[Cursor]:
    """A cursor within a transaction that only reads, and that bounds its statements by itself."""
    async with connection.transaction(), connection.cursor() as cursor:
        if _pooled(connection):
            await cursor.execute(BOUND)
        yield cursor
