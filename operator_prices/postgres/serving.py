"""A connection for asyncio whose statements have a deadline."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import psycopg
from psycopg import AsyncConnection
from psycopg.abc import PQGen
from psycopg.rows import TupleRow

from operator_prices.postgres.keeping import Silence, parameters, watched

Result = TypeVar("Result")

SMALL_SECONDS = 5
"""How long a small statement may take, and any before the way to the database is doubted."""

REACH_SECONDS = 5


class ServingLine(AsyncConnection[TupleRow]):
    """A connection that is cut when the database is silent for longer than its patience.

    The patience is for each answer, and for each part of one that comes in parts. After
    `SMALL_SECONDS` of silence a patient connection asks `reachable`, and does not wait any longer
    if nothing can be reached.
    """

    patience: float = SMALL_SECONDS
    reachable: Callable[[], Awaitable[bool]] | None = None

    async def wait(
        self,
        gen: PQGen[Result],
        interval: float = 0.1,
        timeout: float | None = None,  # noqa: ASYNC109 - as psycopg has it
    ) -> Result:
        """As psycopg's, which every statement goes through; raises `SilentDatabaseError`."""
        silence, doubts = Silence(), list[asyncio.Task[None]]()
        patience = self.patience + (timeout or 0)

        def idle() -> None:
            if silence.seconds > patience:
                silence.give_up(self)
            elif silence.seconds > SMALL_SECONDS and timeout is None and not doubts:
                doubts.append(asyncio.create_task(self._doubt(silence)))

        try:
            return await super().wait(watched(gen, silence, idle), interval, timeout)
        except psycopg.Error:
            if silence.given_up:
                raise silence.error() from None
            raise
        finally:
            for doubt in doubts:
                doubt.cancel()

    async def _doubt(self, silence: Silence) -> None:
        if self.reachable is not None and not await self.reachable():
            silence.give_up(self)

    @contextmanager
    def patient(self, seconds: float) -> Iterator[None]:
        """Wait longer than usual for each answer."""
        before, self.patience = self.patience, seconds
        try:
            yield
        finally:
            self.patience = before


class Way:
    """Whether the way to a database is open: tried by a connection of its own, once for all."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._trying: asyncio.Task[bool] | None = None

    async def open(self) -> bool:
        """False if nothing answers; a database that refuses us has answered."""
        if self._trying is None or self._trying.done():
            self._trying = asyncio.create_task(self._try())
        return await asyncio.shield(self._trying)

    async def _try(self) -> bool:
        try:
            connection = await connect(self._dsn, connect_timeout=REACH_SECONDS)
        except psycopg.errors.ConnectionTimeout:
            return False
        except psycopg.Error:
            return True
        await connection.close()
        return True


async def connect(dsn: str, **more: Any) -> ServingLine:  # noqa: ANN401 - what psycopg takes
    """A connection that commits each statement."""
    return await ServingLine.connect(dsn, autocommit=True, **{**parameters(dsn), **more})
