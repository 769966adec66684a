"""Clients that leave, stall or come at the wrong moment cost only themselves."""

import asyncio
import socket

from operator_prices.web.database import Database
from operator_prices_tests.support.web_server import Served


def test_a_client_that_breaks_off_leaves_nothing_behind(api: Served) -> None:
    for _ in range(12):  # more than there are connections for large answers
        with socket.create_connection(("127.0.0.1", api.port)) as connection:
            connection.sendall(b"GET /api/epochs HTTP/1.1\r\nhost: x\r\n\r\n")
    assert len(api.get("/api/epochs").json) == 39


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
