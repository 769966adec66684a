"""Slow, silent and greedy clients cost only themselves, and are told the true reason."""

import resource
import socket
import statistics
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager

import psycopg
import pytest

from operator_prices.web import server as serving_process
from operator_prices_tests.support import history
from operator_prices_tests.support.web_server import Served, database, serving

MANY = 40
HOST = "127.0.0.1"


@pytest.fixture(scope="module")
def large(server: str, migrated: str) -> Iterator[str]:
    """Enough that an answer of all of it fits in no socket's buffer."""
    with database(server, migrated) as dsn:
        with psycopg.connect(dsn, autocommit=True) as connection:
            history.write(connection, 0, 1499, 24, raw=False)
        yield dsn


@contextmanager
def sockets(
    api: Served, sent: list[bytes], *, buffer: int | None = None
) -> Iterator[list[socket.socket]]:
    """Connections that have sent something each, and read nothing by themselves."""
    with ExitStack() as opened:
        found = []
        for text in sent:
            one = opened.enter_context(socket.socket())
            if buffer:
                one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
            one.settimeout(60)
            one.connect((HOST, api.port))
            one.sendall(text)
            found.append(one)
        yield found


def question(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nhost: x\r\n\r\n".encode()


def statuses(watchers: list[socket.socket]) -> Counter[int]:
    return Counter(int(one.recv(4096).split()[1]) for one in watchers)


def took(api: Served, path: str) -> float:
    begun = time.perf_counter()
    assert api.get(path).status == 200
    return time.perf_counter() - begun


def test_the_head_of_a_stream_ends(api: Served) -> None:
    reply = api.get("/api/stream", method="HEAD", seconds=5)
    assert (reply.status, reply.body) == (200, b"")
    assert reply.headers["content-type"].startswith("text/event-stream")


def test_beyond_their_limit_streams_are_refused_and_other_routes_go_on(filled: str) -> None:
    with (
        serving(filled, descriptors=256) as api,
        sockets(api, [question("/api/stream")] * 300) as watchers,
    ):
        seen = statuses(watchers)
        assert set(seen) == {200, 503}
        assert 30 <= seen[200] <= 80
        for path in ("/api/summary", "/api/epochs/7", "/readyz", "/api/share-prices?format=csv"):
            assert api.get(path).status == 200
        refused = api.get("/api/stream")
        assert refused.status == 503
        assert "event streams" in refused.json["detail"]
        assert "retry-after" in refused.headers


@pytest.mark.e2e
def test_more_watchers_than_select_can_look_at_keep_nobody_from_answers(filled: str) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 4000:
        pytest.skip("this user may not open 4,000 files")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 4000), hard))
    try:
        with (
            serving(filled) as api,
            sockets(api, [question("/api/stream")] * 1100) as watchers,
            ThreadPoolExecutor(MANY) as many,
        ):
            assert statuses(watchers) == {200: 1100}
            paths = ["/api/epochs", "/api/epochs/7", "/api/operators", "/api/summary"] * 50
            assert Counter(many.map(lambda path: api.get(path).status, paths)) == {200: 200}
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.e2e
def test_half_a_request_is_answered_with_408_and_silence_is_closed(filled: str) -> None:
    with (
        serving(filled) as api,
        sockets(api, [b"GET /api/summary HTTP/1.1\r\nhost: x\r\n"] * MANY) as begun,
        sockets(api, [b""] * MANY) as silent,
    ):
        assert max(took(api, "/api/summary") for _ in range(10)) < 1
        begun_at = time.monotonic()
        for one in begun:
            said = one.recv(4096)
            assert b" 408 " in said
            assert b"send it whole" in said
            assert one.recv(4096) == b""
        for one in silent:
            assert one.recv(4096) == b""
        assert time.monotonic() - begun_at < serving_process.SILENT_SECONDS + 15


@pytest.mark.e2e
def test_clients_of_every_unfriendly_kind_leave_the_others_quick(large: str) -> None:
    greedy = [question(f"/api/epochs?from={number}") for number in range(MANY)]
    exports = [
        question(f"/api/operators/{number % 24}/share-prices?format=parquet&from={number}")
        for number in range(MANY)
    ]
    half = [b"GET /api/summary HTTP/1.1\r\n"] * MANY
    with serving(large) as api:
        quiet = max(statistics.median(took(api, "/readyz") for _ in range(20)), 0.025)
    with (
        serving(large) as api,
        sockets(api, half),
        sockets(api, greedy, buffer=4096),
        sockets(api, exports),
        psycopg.connect(large, autocommit=True) as connection,
    ):
        times: dict[str, list[float]] = {"/api/summary": [], "/readyz": []}
        until = time.monotonic() + 8
        while time.monotonic() < until:
            for path, found in times.items():
                found.append(took(api, path))
        for found in times.values():
            assert statistics.median(found) < 4 * quiet
            assert max(found) < 2
        assert len(api.get("/api/epochs?from=1490").json) == 10
        assert len(api.get("/api/share-prices?from=1000").json) == 500 * 24
        held = connection.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
            " AND application_name = 'operator-prices api' AND state <> 'idle'"
        ).fetchone()
        assert held == (0,)


@pytest.mark.e2e
def test_who_reads_nothing_gives_way_to_who_reads(large: str) -> None:
    size = "16000000"
    with serving(large, API_SPOOL_BYTES=size) as api:
        whole = len(api.get("/api/epochs").body)
        greedy = [question(f"/api/epochs?from={number}") for number in range(8)]
        assert whole * len(greedy) > int(size)
        with sockets(api, greedy, buffer=4096):
            time.sleep(4)
            assert len(api.get("/api/epochs?from=9").json) == 1491


def test_an_answer_that_there_is_no_room_for_is_refused_with_the_setting(large: str) -> None:
    with serving(large, API_SPOOL_BYTES="1000000") as api:
        reply = api.get("/api/share-prices?format=csv")
        assert reply.status == 503
        assert "API_SPOOL_BYTES" in reply.json["detail"]
        assert api.get("/api/epochs?limit=5").status == 200


def test_a_request_with_a_body_is_not_waited_for(api: Served) -> None:
    asked = b"GET /healthz HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\nhalf"
    with sockets(api, [asked]) as (one,):
        parts = list(iter(lambda: one.recv(4096), b""))  # until the other side closes
        assert b" 200 " in parts[0]
