"""The API through the real PgBouncer, which has another session for each transaction."""

import asyncio
import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection

import psycopg
import pytest

from operator_prices.web.database import Database
from operator_prices_tests.support import history
from operator_prices_tests.support.pgbouncer import needs_pgbouncer, pgbouncer
from operator_prices_tests.support.web_server import HOST, Served, database, serving

EPOCHS = 40

ASKED = (
    *("/api/summary", "/api/epochs?limit=5", "/api/epochs/7", "/api/operators"),
    *("/api/epochs", "/api/share-prices?from=30&to=39", "/api/operators/1", "/readyz"),
    *("/api/operators?format=parquet", "/api/status"),
)


@pytest.fixture(scope="module")
def filled(server: str, migrated: str) -> Iterator[str]:
    with database(server, migrated) as dsn:
        with psycopg.connect(dsn, autocommit=True) as connection:
            history.write(connection, 0, EPOCHS - 1, 6)
        yield dsn


@pytest.fixture(scope="module", params=["transaction", "session"])
def pooled(filled: str, request: pytest.FixtureRequest) -> Iterator[str]:
    """The pooler has few sessions, and none of them is reset."""
    with pgbouncer(filled, request.param, size=8, reset="") as address:
        yield address


@pytest.fixture(scope="module")
def api(filled: str, pooled: str) -> Iterator[Served]:
    with serving(filled, pooled) as served:
        yield served


@needs_pgbouncer
def test_every_answer_under_load_is_right(api: Served) -> None:
    alone = {path: api.get(path).body for path in ASKED if path not in {"/readyz", "/api/status"}}

    def asked(number: int) -> tuple[int, bool]:
        path = ASKED[number % len(ASKED)]
        reply = api.get(path)
        return reply.status, alone.get(path, reply.body) == reply.body

    with ThreadPoolExecutor(12) as many:
        assert Counter(many.map(asked, range(360))) == {(200, True): 360}


@needs_pgbouncer
def test_other_clients_of_the_pooler_find_their_sessions_untouched(
    api: Served, pooled: str
) -> None:
    for path in ASKED:
        assert api.get(path).status == 200
    with psycopg.connect(pooled, autocommit=True, prepare_threshold=None) as other:
        for _ in range(20):
            other.execute("CREATE TABLE IF NOT EXISTS somebody_elses (id int)")
            other.execute("INSERT INTO somebody_elses VALUES (1)")
            told = other.execute(
                "SELECT current_setting('default_transaction_read_only'),"
                " current_setting('statement_timeout'), current_setting('transaction_isolation'),"
                " (SELECT count(*) FROM pg_prepared_statements),"
                " (SELECT count(*) FROM pg_listening_channels())"
            ).fetchone()
            assert told == ("off", "0", "read committed", 0, 0)
        other.execute("DROP TABLE somebody_elses")


@pytest.mark.e2e
@needs_pgbouncer
def test_new_epochs_arrive_in_the_stream(api: Served, filled: str) -> None:
    heard: list[int] = []

    def listen() -> None:
        connection = HTTPConnection(HOST, api.port, timeout=20)
        connection.request("GET", "/api/stream")
        answer = connection.getresponse()
        while line := answer.readline():
            if line.startswith(b"data: "):
                heard.append(json.loads(line[6:])["epoch"])
                break
        connection.close()

    with psycopg.connect(filled, autocommit=True) as connection:
        row = connection.execute("SELECT max(epoch) FROM epochs").fetchone()
        assert row is not None
        listener = threading.Thread(target=listen)
        listener.start()
        time.sleep(1)
        history.write(connection, row[0] + 1, row[0] + 1, 6)
        listener.join(20)
    assert heard == [row[0] + 1]


@needs_pgbouncer
def test_the_api_cannot_write_whatever_its_role_may(api: Served, pooled: str) -> None:
    assert "can write" in api.get("/readyz").json["warning"]

    async def write() -> None:
        async with Database(pooled) as reading, reading.cursor() as cursor:
            await cursor.execute("DELETE FROM epochs")

    with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
        asyncio.run(write())
