"""Event streams: each new epoch once, and none after the server has ended."""

import io
import json
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.client import HTTPConnection

import psycopg

from operator_prices_tests.support import history
from operator_prices_tests.support.web_server import Served, database, serving


@contextmanager
def events(api: Served, **headers: str) -> Iterator[io.BufferedIOBase]:
    connection = HTTPConnection("127.0.0.1", api.port, timeout=20)
    told = {name.replace("_", "-"): text for name, text in headers.items()}
    connection.request("GET", "/api/stream", headers=told)
    answer = connection.getresponse()
    assert answer.getheader("content-type", "").startswith("text/event-stream")
    with closing(connection), answer:
        yield answer


def epochs_of(stream: io.BufferedIOBase, count: int) -> list[int]:
    found: list[int] = []
    while len(found) < count:
        line = stream.readline()
        if line.startswith(b"data: "):
            found.append(json.loads(line[6:])["epoch"])
    return found


def test_the_stream_tells_of_each_new_epoch_once(server: str, migrated: str) -> None:
    with (
        database(server, migrated) as dsn,
        psycopg.connect(dsn, autocommit=True) as connection,
    ):
        history.write(connection, 0, 3, 2)
        with (
            serving(dsn) as api,
            events(api, last_event_id="1") as late,
            events(api) as stream,
        ):
            assert epochs_of(late, 2) == [2, 3]
            assert stream.readline() == b"retry: 2000\n"
            history.write(connection, 4, 5, 2)
            connection.execute("SELECT refresh_epoch_analytics(0, 99)")
            history.write(connection, 6, 6, 2)
            assert epochs_of(stream, 3) == [4, 5, 6]
            assert epochs_of(late, 3) == [4, 5, 6]
            assert "operator_prices_stream_listeners 2.0" in api.get("/metrics").body.decode()


def test_a_server_that_is_watched_can_be_stopped(filled: str) -> None:
    with serving(filled) as api, events(api) as stream:
        stream.readline()
        api.process.terminate()
        assert api.process.wait(timeout=10) in {0, -15}
