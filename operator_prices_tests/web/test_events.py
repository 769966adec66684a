"""What has happened to an operator, as JSON and as a feed that readers take."""

from collections.abc import Iterator
from datetime import UTC, datetime
from xml.etree import ElementTree as ET

import feedparser
import psycopg
import pytest

from operator_prices.web.atom import ATOM, MEDIA_TYPE, feed
from operator_prices.web.queries.events import Event, Named
from operator_prices_tests.support import history
from operator_prices_tests.support.reading import rows_read
from operator_prices_tests.support.web_server import Served, database, serving

NAME = "Nadelöhr & <Söhne>\x07"


@pytest.fixture(scope="module")
def eventful(server: str, migrated: str) -> Iterator[Served]:
    with database(server, migrated) as dsn:
        with psycopg.connect(dsn, autocommit=True) as connection:
            history.write(connection, 0, 29, 3, raw=False)
            connection.execute("INSERT INTO chain_identity VALUES ('0xabc', 0)")
            connection.execute(
                "UPDATE operators_metadata SET name = %s WHERE operator_id = 1", [NAME]
            )
            for change in ("nomination_tax = 9", "nomination_tax = 12", "status = 'Slashed'"):
                connection.execute(
                    f"UPDATE operator_shares SET {change} WHERE operator_id = 1 AND epoch >= %s",  # noqa: S608
                    [{"nomination_tax = 9": 10, "nomination_tax = 12": 15}.get(change, 20)],
                )
            connection.execute(
                "UPDATE operator_share_prices SET share_price_perq = 5 WHERE operator_id = 2"
            )
            connection.execute(
                "UPDATE operator_shares SET owned_by = 'suNew' WHERE operator_id = 0 AND epoch > 6"
            )
            connection.execute("UPDATE epoch_documents SET from_chain = false WHERE epoch = 10")
            connection.execute("UPDATE epoch_documents SET timestamp = NULL WHERE epoch = 15")
        with serving(dsn, ALERT_PRICE_EPOCHS="25") as api:
            yield api


def test_events_are_told_the_newest_first(eventful: Served) -> None:
    told = eventful.get("/api/operators/1/events").json
    assert [(one["epoch"], one["kind"], one["before"], one["after"]) for one in told] == [
        (20, "slashed", "Registered", "Slashed"),
        (15, "taxRaised", "9", "12"),
        (10, "taxRaised", "1", "9"),
        (0, "known", None, "Registered"),
    ]
    assert told[0]["text"] == "Status changed from registered to slashed: slashed"
    assert told[1]["timestamp"] is None
    assert [one["timestampFromChain"] for one in told] == [True, True, False, True]
    owned = eventful.get("/api/operators/0/events").json[0]
    assert (owned["epoch"], owned["kind"], owned["after"]) == (7, "ownerChanged", "suNew")
    still = eventful.get("/api/operators/2/events").json[0]
    assert (still["epoch"], still["text"]) == (
        25,
        "Share price has not moved for 25 epochs, since epoch 0",
    )


def test_a_feed_reader_takes_the_feed(eventful: Served) -> None:
    reply = eventful.get("/api/operators/1/feed.atom")
    assert reply.headers["content-type"] == MEDIA_TYPE
    read = feedparser.parse(reply.body, response_headers={"content-type": MEDIA_TYPE})
    assert (read.bozo, read.version) == (False, "atom10")
    assert read.feed.title == "Operator 1 (Nadelöhr & <Söhne> ): events"
    assert [entry.title.partition("): ")[2] for entry in read.entries] == [
        one["text"] for one in eventful.get("/api/operators/1/events").json
    ]
    ended = datetime.fromtimestamp((history.BEGUN + 20 * history.EPOCH) / 1000, UTC)
    assert read.entries[0].updated == read.feed.updated
    assert read.entries[0].updated_parsed[:6] == ended.timetuple()[:6]
    assert "nobody has said when that ended" in read.entries[1].summary
    assert read.entries[1].updated_parsed[:6] > read.entries[2].updated_parsed[:6]
    assert "clock of a legacy snapshot" in read.entries[2].summary


def test_a_feed_has_all_that_the_standard_demands(eventful: Served) -> None:
    root = ET.fromstring(eventful.get("/api/operators/1/feed.atom").body)  # noqa: S314
    one = f"{{{ATOM}}}"
    assert root.tag == f"{one}feed"
    ids = [element.text or "" for element in root.iter(f"{one}id")]
    assert len(set(ids)) == len(ids) == 5
    assert all(text.startswith("urn:uuid:") for text in ids)
    for part in (root, *root.findall(f"{one}entry")):
        for name in ("id", "title", "updated"):
            assert len(part.findall(f"{one}{name}")) == 1
        assert [link.get("rel") for link in part.findall(f"{one}link")].count("alternate") == 1
    assert root.find(f"{one}author/{one}name") is not None
    links = {link.get("rel"): link.get("href") for link in root.findall(f"{one}link")}
    assert links == {
        "self": "../../../api/operators/1/feed.atom",
        "alternate": "../../../#/operator/1",
    }


def test_no_text_of_a_feed_has_what_its_readers_cannot_parse() -> None:
    odd = Event(3, "status", "Registered", "Odd\x07", "Status changed to Odd\x07", 0, True, 0)  # noqa: FBT003
    read = feedparser.parse(feed(Named(1, NAME, "0xabc", 0), [odd], "./"))
    assert not read.bozo
    assert read.entries[0].summary.startswith("Status changed to Odd . Epoch 3")


def test_a_feed_is_sent_again_only_when_something_has_changed(eventful: Served) -> None:
    path = "/api/operators/0/feed.atom"
    first = eventful.get(path)
    assert eventful.get(path, if_none_match=first.headers["etag"]).status == 304
    head = eventful.get(path, method="HEAD")
    assert (head.body, head.headers["etag"]) == (b"", first.headers["etag"])
    with psycopg.connect(eventful.dsn, autocommit=True) as connection:
        connection.execute(
            "UPDATE operator_shares SET nomination_tax = 3 WHERE operator_id = 0 AND epoch = 29"
        )
        later = eventful.get(path, if_none_match=first.headers["etag"])
        connection.execute(
            "UPDATE operator_shares SET nomination_tax = 0 WHERE operator_id = 0 AND epoch = 29"
        )
    assert later.status == 200
    before, after = (feedparser.parse(one.body).entries for one in (first, later))
    assert [entry.id for entry in after[1:]] == [entry.id for entry in before]


def test_where_the_site_is_known_its_feeds_name_it(eventful: Served) -> None:
    path = "/api/operators/1/feed.atom"
    with serving(eventful.dsn, API_URL="https://prices.example/p/", ALERT_PRICE_EPOCHS="25") as api:
        first = api.get(path)
        assert eventful.get(path, if_none_match=first.headers["etag"]).status == 200
    read = feedparser.parse(first.body)
    assert read.entries[0].link == "https://prices.example/p/#/operator/1"
    assert read.feed.links[0].href == "https://prices.example/p/api/operators/1/feed.atom"


@pytest.mark.parametrize("part", ["events", "feed.atom"])
def test_events_are_sent_again_when_a_price_stands_still_after_another_time(
    eventful: Served, part: str
) -> None:
    path = f"/api/operators/2/{part}"
    tag = eventful.get(path).headers["etag"]
    with serving(eventful.dsn, ALERT_PRICE_EPOCHS="10") as api:
        again = api.get(path, if_none_match=tag)
    assert (again.status, b"has not moved for 10 epochs" in again.body) == (200, True)


@pytest.mark.parametrize("part", ["events", "feed.atom"])
def test_an_operator_that_is_none_has_no_events(eventful: Served, part: str) -> None:
    reply = eventful.get(f"/api/operators/9/{part}")
    assert reply.status == 404
    assert "operators up to 2 are known" in reply.json["detail"]
    assert eventful.get(f"/api/operators/1/{part}?fromat=csv").status == 422
    assert eventful.get(f"/api/operators/one/{part}").status == 422


def test_the_events_of_an_epoch_are_found_without_reading_the_history(
    server: str, migrated: str
) -> None:
    with database(server, migrated) as dsn, psycopg.connect(dsn, autocommit=True) as connection:
        history.write(connection, 0, 999, 2, raw=False)
        connection.execute("ANALYZE")
        of_one_epoch = rows_read(connection, "SELECT operator_events(999, 999, NULL, 100)")
        of_one_operator = rows_read(connection, "SELECT operator_events(0, 999, 1, 100)")
    assert of_one_epoch < 50
    assert of_one_operator < 3_000
