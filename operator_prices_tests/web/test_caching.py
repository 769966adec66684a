"""Answers that still hold are not sent again, and those that do not are never kept."""

import gzip

import psycopg
import pytest
import zstandard
from psycopg import sql

from operator_prices_tests.support import history
from operator_prices_tests.support.web_server import Served, database, serving


@pytest.mark.parametrize("path", ["/api/epochs", "/api/epochs/7", "/api/operators?format=csv", "/"])
def test_a_head_is_what_a_get_begins_with(api: Served, path: str) -> None:
    whole, head = api.get(path), api.get(path, method="HEAD")
    assert (head.status, head.body) == (200, b"")
    assert head.headers["etag"] == whole.headers["etag"]


def test_an_answer_that_still_holds_is_not_sent_again(api: Served) -> None:
    for path in ("/api/epochs?limit=5", "/api/epochs/7", "/api/operators", "/api/summary"):
        first = api.get(path)
        etag = first.headers["etag"]
        assert etag.startswith('"')
        again = api.get(path, if_none_match=etag)
        assert (again.status, again.body) == (304, b"")
        assert again.headers["etag"] == etag
        assert first.headers["cache-control"] == "public, max-age=0, must-revalidate"
        assert api.get(path, if_none_match='"other"').body == first.body


@pytest.mark.parametrize("coding", ["gzip", "zstd"])
def test_an_answer_is_packed_for_whoever_takes_it(api: Served, coding: str) -> None:
    plain = api.get("/api/epochs?limit=30")
    for _ in range(2):  # the second one is from the cache
        packed = api.get("/api/epochs?limit=30", accept_encoding=coding)
        assert packed.headers["content-encoding"] == coding
        assert packed.headers["etag"] != plain.headers["etag"]
        unpacked = (
            gzip.decompress(packed.body)
            if coding == "gzip"
            else zstandard.ZstdDecompressor().decompressobj().decompress(packed.body)
        )
        assert unpacked == plain.body


def test_every_change_of_the_data_changes_the_etag(server: str, migrated: str) -> None:
    with database(server, migrated) as dsn, serving(dsn) as api:
        with psycopg.connect(dsn, autocommit=True) as connection:
            history.write(connection, 0, 5, 2)
            tags = [api.get("/api/epochs").headers["etag"]]
            for change in (
                "UPDATE operators_metadata SET name = 'a name' WHERE operator_id = 1",
                "UPDATE operator_shares SET stake_raw = 7 WHERE (epoch, operator_id) = (3, 1)",
                "SELECT refresh_epoch_analytics(0, 99)",
                "DELETE FROM epochs WHERE epoch = 5",
                "TRUNCATE quarantine",
            ):
                connection.execute(sql.SQL(change))
                tags.append(api.get("/api/epochs").headers["etag"])
            assert len(set(tags)) == len(tags)
            for nothing in (
                "SELECT refresh_epoch_analytics(0, 4)",
                "UPDATE operators_metadata SET name = 'other' WHERE operator_id = 99",
            ):
                connection.execute(sql.SQL(nothing))
                assert api.get("/api/epochs").headers["etag"] == tags[-1]
            assert connection.execute("SELECT count(*) FROM data_changes").fetchone() == (0,)
        assert api.get("/api/operators/1").json["name"] == "a name"


def test_a_change_that_is_rolled_back_changes_no_etag(api: Served) -> None:
    before = api.get("/api/epochs").headers["etag"]
    with psycopg.connect(api.dsn) as connection:
        connection.execute("DELETE FROM operator_shares")
        assert api.get("/api/epochs").headers["etag"] == before
        connection.rollback()
    assert api.get("/api/epochs").headers["etag"] == before
