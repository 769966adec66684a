"""Clients that leave, stall or come at the wrong moment."""

import asyncio
import socket

import pytest
from psycopg import sql
from starlette.requests import Request
from starlette.types import Message

from operator_prices.web.answers import Answer
from operator_prices.web.cache import Cache
from operator_prices.web.database import STREAMS, Database
from operator_prices.web.queries import spans
from operator_prices_tests.support.web_server import Served


def test_a_client_that_breaks_off_leaves_nothing_behind(api: Served) -> None:
    for _ in range(12):  # more than there are connections for large answers
        with socket.create_connection(("127.0.0.1", api.port)) as connection:
            connection.sendall(b"GET /api/epochs HTTP/1.1\r\nhost: x\r\n\r\n")
    assert len(api.get("/api/epochs").json) == 39


class LeftError(Exception):
    """The client is gone."""


ENDLESS = sql.SQL(
    "COPY (SELECT 1::bigint, decode(repeat('2c', 100000), 'hex') FROM generate_series(1, 100000))"
    " TO STDOUT (FORMAT binary)"
).format()


def test_a_client_that_leaves_in_the_middle_of_an_answer_gives_its_connection_back(
    filled: str,
) -> None:
    async def give_up(message: Message) -> None:
        if message.get("body"):
            raise LeftError

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    async def leave() -> None:
        request = Request({"type": "http", "method": "GET", "path": "/", "headers": []})
        async with Database(filled) as data:
            for _ in range(2 * STREAMS):
                answer = Answer(
                    request,
                    data,
                    Cache(0),
                    lambda cursor, _: spans.chunks(cursor, ENDLESS, spans.Served()),
                    key="endless",
                    media_type="application/json",
                    large=True,
                )
                with pytest.raises(LeftError):
                    await answer({}, receive, give_up)

    asyncio.run(asyncio.wait_for(leave(), 20))


def test_nobody_waits_for_a_reader_that_has_left(filled: str) -> None:
    """Whoever asks in the very turn of the loop in which the readers end has one started."""

    async def ask() -> None:
        async with Database(filled) as data:
            for turns in range(60):
                first = [asyncio.create_task(data.epoch(epoch)) for epoch in (1, 2)]
                await asyncio.wait(first)
                for _ in range(turns % 6):
                    await asyncio.sleep(0)
                version, text = await asyncio.wait_for(data.epoch(3), 5)
                assert text is not None, version

    asyncio.run(ask())
