"""What the API says while its line to the database is frozen, lost, torn or led elsewhere."""

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from tempfile import TemporaryDirectory

import psycopg
import pytest

from operator_prices.local.postgres import embedded
from operator_prices.store import migrations
from operator_prices_tests.support import history
from operator_prices_tests.support.lines import Line, line
from operator_prices_tests.support.web_server import Served, database, reader, serving

pytestmark = pytest.mark.e2e

EPOCHS = 40

ROUTES = (
    *("/api/epochs?limit=3", "/api/epochs/3", "/api/operators", "/api/operators/1"),
    *("/api/status", "/api/summary", "/api/share-prices", "/api/share-prices?format=parquet"),
)

WITHIN, TRUTH = 15, 10
"""Seconds until there is an answer or a 503, and until `/readyz` tells the truth."""


@pytest.fixture
def filled(server: str, migrated: str) -> Iterator[str]:
    with database(server, migrated) as dsn:
        fill(dsn)
        yield dsn


@pytest.fixture
def served(filled: str) -> Iterator[tuple[Line, Served]]:
    with line(reader(filled)) as between, serving(filled, between.url) as api:
        assert statuses(api) == [200] * len(ROUTES)
        yield between, api


def fill(dsn: str, epochs: int = EPOCHS) -> None:
    with psycopg.connect(dsn, autocommit=True) as connection:
        history.write(connection, 0, epochs - 1, 4)
        connection.execute("SELECT refresh_epoch_analytics(0, 99)")


def change(dsn: str) -> None:
    """From here on what was answered before is no answer any more."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("UPDATE data_version SET version = version + 1")


def timed(api: Served, path: str) -> tuple[int, float, str]:
    begun = time.monotonic()
    reply = api.get(path, seconds=60)
    return reply.status, time.monotonic() - begun, reply.body.decode(errors="replace")


def asked(api: Served, paths: Sequence[str] = ROUTES) -> list[tuple[int, float, str]]:
    """All at once, as a page asks."""
    with ThreadPoolExecutor(len(paths)) as pool:
        return list(pool.map(partial(timed, api), paths))


def statuses(api: Served) -> list[int]:
    return [status for status, _, _ in asked(api)]


def well_again(api: Served, seconds: float) -> float:
    """Seconds until every route answers."""
    begun = time.monotonic()
    while statuses(api) != [200] * len(ROUTES):
        assert time.monotonic() - begun < seconds
        time.sleep(0.1)
    return time.monotonic() - begun


def test_a_frozen_line_costs_seconds_and_is_told_by_its_reason(
    served: tuple[Line, Served],
) -> None:
    between, api = served
    between.freeze()
    for status, seconds, said in asked(api):
        assert (status, seconds < WITHIN) == (503, True), (seconds, said)
        assert "The database does not answer (" in said, said
    ready, alive = timed(api, "/readyz"), timed(api, "/healthz")
    assert (ready[0], ready[1] < TRUTH) == (503, True)
    assert (alive[0], alive[1] < 1) == (200, True)
    assert "operator_prices_database_up 0.0" in timed(api, "/metrics")[2]
    between.thaw()
    assert well_again(api, 10) < 5
    assert timed(api, "/readyz")[0] == 200


def test_connections_that_the_network_forgot_are_replaced_and_the_question_is_answered(
    served: tuple[Line, Served],
) -> None:
    between, api = served
    between.forget()
    for status, seconds, said in asked(api):
        assert (status, seconds < WITHIN) == (200, True), (seconds, said[:200])
    assert max(seconds for _, seconds, _ in asked(api)) < 3
    assert timed(api, "/readyz")[0] == 200


def test_an_answer_under_way_is_given_up_when_nothing_can_be_reached(
    filled: str, served: tuple[Line, Served]
) -> None:
    between, api = served
    change(filled)
    trap = between.trap("jsonb_each_text", "mute")  # of the summary, after its version
    status, seconds, said = timed(api, "/api/summary")
    assert trap.sprung.is_set()
    assert (status, seconds < WITHIN) == (503, True), (seconds, said)
    between.thaw()
    assert well_again(api, 10) < 5


def test_an_answer_that_is_slow_is_not_taken_for_a_dead_line(
    filled: str, served: tuple[Line, Served]
) -> None:
    _, api = served
    change(filled)
    with psycopg.connect(filled) as holder, ThreadPoolExecutor(1) as pool:
        holder.execute("LOCK TABLE operators_metadata IN ACCESS EXCLUSIVE MODE")
        answer = pool.submit(timed, api, "/api/operators")
        time.sleep(9)
        holder.rollback()
        status, seconds, _ = answer.result()
    assert (status, seconds > 8) == (200, True)


def test_a_line_that_is_cut_or_refused_is_made_again(served: tuple[Line, Served]) -> None:
    between, api = served
    between.cut()
    assert statuses(api) == [200] * len(ROUTES)
    between.refuse()
    for status, seconds, said in asked(api):
        assert (status, seconds < WITHIN) == (503, True), (seconds, said)
    between.accept()
    assert well_again(api, 10) < 5


def test_half_an_answer_is_never_taken_for_a_whole_one(served: tuple[Line, Served]) -> None:
    between, api = served
    whole = timed(api, "/api/share-prices?to=30")[2]
    between.trap("generate_series(0::bigint, 29::bigint", "tear")
    try:
        status, _, body = timed(api, "/api/share-prices?to=29")
    except HTTPException:
        pass
    else:
        assert status == 503, body[:200]
    assert timed(api, "/api/share-prices?to=30")[2] == whole
    assert well_again(api, 10) < 5


def test_a_slow_line_is_a_slow_answer(filled: str, served: tuple[Line, Served]) -> None:
    between, api = served
    change(filled)
    between.delay(0.2)
    status, seconds, _ = timed(api, "/api/operators")
    assert (status, seconds > 1) == (200, True)
    assert timed(api, "/readyz")[0] == 200


def test_the_stream_tells_of_epochs_when_the_line_of_its_listener_is_lost(
    filled: str, served: tuple[Line, Served]
) -> None:
    between, api = served
    watching = HTTPConnection("127.0.0.1", api.port, timeout=40)
    watching.request("GET", "/api/stream")
    events = watching.getresponse()
    assert events.readline().startswith(b"retry")
    between.forget()
    with psycopg.connect(filled, autocommit=True) as connection:
        history.write(connection, EPOCHS, EPOCHS, 4)
        connection.execute("SELECT refresh_epoch_analytics(40, 40)")
    begun = time.monotonic()
    while not events.readline().startswith(b"id: 40"):
        assert time.monotonic() - begun < 20
    watching.close()


@contextmanager
def cluster(epochs: int) -> Iterator[tuple[Path, str]]:
    """A server of its own, which a test may stop."""
    with TemporaryDirectory(prefix="lines-", ignore_cleanup_errors=True) as folder:
        with embedded.server(Path(folder)) as dsn:
            migrations.migrate(dsn)
            fill(dsn, epochs)
            reader(dsn)
        yield Path(folder), dsn
        embedded.remove(Path(folder))


def test_a_server_that_is_restarted_or_replaced_by_another_is_served_from_at_once() -> None:
    with (
        cluster(EPOCHS) as (first, dsn),
        cluster(EPOCHS + 1) as (second, _),
        line(dsn) as between,
        embedded.server(first),
        serving(dsn, between.url) as api,
    ):
        assert timed(api, "/api/summary")[0] == 200
        with embedded.server(second) as other:
            between.server = other
            between.forget()  # the old server is gone without a word
            told = timed(api, "/api/summary")
            assert (told[0], told[1] < WITHIN) == (200, True)
            assert f'"epoch":{EPOCHS}' in told[2]
        stopped = timed(api, "/api/summary")
        assert (stopped[0], stopped[1] < WITHIN) == (503, True)
        assert "does not answer (" in stopped[2]
        with embedded.server(second):
            begun = time.monotonic()
            while timed(api, "/api/summary")[0] != 200:
                assert time.monotonic() - begun < 10
                time.sleep(0.1)
