"""Whether what is served is as new as its source: the rule, and where it is told."""

from dataclasses import replace

import psycopg
import pytest

from operator_prices import store
from operator_prices.web.freshness import Situation, judged
from operator_prices_tests.support import history
from operator_prices_tests.support.web_server import database, serving

MINUTE = 60
PACE = 12 * MINUTE * 1000
NOW = 1_800_000_000.0
FOLLOWED = Situation(
    epoch=100,
    timestamp=int(NOW - 14 * MINUTE) * 1000,
    from_chain=True,
    now=NOW,
    pace=PACE,
    heard=9,
    still=6,
    completed=100,
)
IMPORTED = replace(FOLLOWED, heard=None, still=None, completed=None)


def aged(minutes: float, seen: Situation) -> Situation:
    return replace(seen, timestamp=int((NOW - minutes * MINUTE) * 1000))


@pytest.mark.parametrize(
    ("seen", "state", "words"),
    [
        (FOLLOWED, "current", "Up to date"),
        (replace(FOLLOWED, completed=101), "current", "Up to date"),
        (replace(FOLLOWED, completed=103), "late", "3 completed epochs"),
        (replace(FOLLOWED, heard=600), "stopped", "not answered for 10 minutes"),
        (replace(FOLLOWED, still=3600), "stopped", "no new block for 60 minutes"),
        (aged(60 * 24 * 365, FOLLOWED), "past", "11 months behind"),
        (aged(20, IMPORTED), "current", "Up to date"),
        (aged(37, IMPORTED), "late", "2 epochs should be here"),
        (aged(60 * 24 * 365, IMPORTED), "stopped", "no epoch has come"),
        (replace(IMPORTED, from_chain=False), "unknown", "no source is followed"),
        (replace(IMPORTED, pace=None), "unknown", "no source is followed"),
        (replace(FOLLOWED, epoch=None, timestamp=None), "empty", "No epoch"),
    ],
)
def test_an_epoch_is_late_by_the_pace_of_its_chain_and_by_what_its_source_says(
    seen: Situation, state: str, words: str
) -> None:
    verdict = judged(seen)
    assert verdict.state == state
    assert words in verdict.sentence
    assert (verdict.advice is None) == (state in {"current", "empty"})


def test_ten_minutes_are_late_on_a_chain_of_fast_epochs() -> None:
    assert judged(replace(aged(10, IMPORTED), pace=20_000)).state == "stopped"


def test_freshness_is_told_to_readers_and_the_remedy_to_the_operator(
    server: str, migrated: str
) -> None:
    with (
        database(server, migrated) as dsn,
        psycopg.connect(dsn, autocommit=True) as connection,
        serving(dsn) as api,
    ):
        assert api.get("/api/freshness").json["state"] == "empty"
        history.write(connection, 0, 9, 2, raw=False)
        assert api.get("/api/freshness").json["state"] == "stopped"
        assert "operator-prices up" in api.get("/readyz").json["source"]["advice"]
        store.note_head(connection, 5_000, 13)
        told = api.get("/api/freshness").json
        assert (told["state"], told["missing"], told["lastEpoch"]) == ("late", 4, 9)
        assert told["epochMilliseconds"] == history.EPOCH
        store.note_head(connection, 5_001, 9)
        assert api.get("/api/freshness").json["state"] == "past"
        connection.execute("UPDATE source_head SET grown_at = now() - INTERVAL '10 minutes'")
        store.note_head(connection, 5_001, 9)
        assert "10 minutes" in api.get("/api/freshness").json["sentence"]
        assert "ARCHIVE_NODE_URL" in api.get("/readyz").json["source"]["advice"]
        store.note_head(connection, 5_002, 9)
        assert api.get("/api/freshness").json["state"] == "past"
        connection.execute("UPDATE source_head SET heard_at = now() - INTERVAL '3 minutes'")
        assert "not answered for 3 minutes" in api.get("/api/freshness").json["sentence"]
