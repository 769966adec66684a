"""The new shape: epochs, operators and share prices, and what is said of those that are none."""

import psycopg
from psycopg import sql

from operator_prices.web.queries.operators import OPERATORS, WORTH
from operator_prices_tests.support import history
from operator_prices_tests.support.reading import rows_read
from operator_prices_tests.support.web_server import Served, database, serving

ONE = 10**18


def test_an_empty_database_has_empty_answers(server: str, migrated: str) -> None:
    with database(server, migrated) as dsn, serving(dsn) as api:
        assert api.get("/api/epochs").json == []
        assert api.get("/api/epochs?sample=3").json == []
        assert api.get("/api/summary").body == b"null"
        assert api.get("/api/operators").json == []
        assert api.get("/api/share-prices").json == []
        assert api.get("/api/epochs?health=1").json["sample"] == 0
        assert api.get("/api/epochs/0").status == 404
        assert api.get("/readyz").status == 200
        assert api.get("/api/status").json["lastEpoch"] is None
        assert "operator_prices_last_epoch -1.0" in api.get("/metrics").body.decode()


def test_what_is_not_there_is_said_with_what_is(api: Served) -> None:
    assert api.get("/api/epochs/99").json == {
        "detail": "Epoch 99 is not stored: epochs 0 to 39 are stored."
    }
    assert api.get("/api/epochs/99?format=csv").status == 404
    for path in ("/api/operators/77", "/api/operators/77/share-prices"):
        reply = api.get(path)
        assert reply.status == 404
        assert reply.json["detail"].endswith("operators up to 5 are known.")


def test_an_epoch_tells_all_of_its_facts_exactly(api: Served) -> None:
    told = api.get("/api/epochs/7").json
    assert (told["previous"], told["next"], told["complete"]) == (6, 8, True)
    assert api.get("/api/epochs/19").json["next"] == 21
    for operator, shares, stake, reward, tax in api.rows(
        "SELECT operator_id, shares_raw, stake_raw, reward_raw, nomination_tax"
        " FROM operator_shares WHERE epoch = 7",
    ):
        worth = (int(str(stake)) + int(str(reward)) - int(str(reward)) * int(str(tax)) // 100) * ONE
        assert told["stakePerShare"][str(operator)] == str(worth // int(str(shares)))
        assert told["operatorShares"][str(operator)] == str(shares)


def test_share_prices_say_price_worth_reward_and_source(api: Served) -> None:
    points = api.get("/api/share-prices?from=39&operators=2,3").json
    assert [point["operatorId"] for point in points] == [2, 3]
    lacking, known = points
    assert lacking["sharePricePerq"] is None
    assert lacking["source"] is None
    assert lacking["stakePerShare"].isdecimal()
    assert known["source"] in {"chain", "derived"}
    assert int(known["sharePricePerq"]) < ONE < int(known["stakePerShare"])


def test_operators_come_with_exact_returns_and_none_that_history_is_too_short_for(
    server: str, migrated: str
) -> None:
    epochs = 8 * 86_400_000 // history.EPOCH
    with database(server, migrated) as dsn:
        with psycopg.connect(dsn, autocommit=True) as connection:
            history.write(connection, 0, epochs, 2, raw=False)
        with serving(dsn) as api:
            told = api.get("/api/operators/1").json
            assert list(told["returns"]) == ["1d", "7d"]
            day = told["returns"]["1d"]
            assert day["toEpoch"] == epochs
            assert 86_400_000 <= day["milliseconds"] < 86_400_000 + history.EPOCH
            first, last = (
                int(api.get(f"/api/epochs/{day[end]}").json["stakePerShare"]["1"])
                for end in ("fromEpoch", "toEpoch")
            )
            digits = round((last - first) * ONE / first)
            assert abs(int(day["return"].replace(".", "")) - digits) <= digits // 10**12
            with psycopg.connect(dsn, autocommit=True) as connection:
                connection.execute("UPDATE epochs SET source = 'legacy'")
                connection.execute("SELECT refresh_epoch_analytics(0, %s)", [epochs])
            assert api.get("/api/operators/1").json["returns"] == {}


def test_incomplete_epochs_and_gaps_are_told(server: str, migrated: str) -> None:
    with database(server, migrated) as dsn, serving(dsn) as api:
        with psycopg.connect(dsn, autocommit=True) as connection:
            history.write(connection, 0, 5, 2)
            history.write(connection, 8, 9, 2)
            connection.execute("UPDATE epochs SET complete = false WHERE epoch = 4")
            connection.execute(
                "INSERT INTO quarantine (epoch, item, reason, source)"
                " VALUES (4, 'Operators', 'seven bytes too many', 'chain')"
            )
            connection.execute("INSERT INTO skipped_epochs (epoch, reason) VALUES (7, 'forced')")
        status = api.get("/api/status").json
        assert status["incomplete"] == [4]
        assert status["gaps"] == [[6, 6]]
        assert status["skipped"] == [7]
        assert status["quarantined"] == [{"epoch": 4, "values": 1}]
        told = api.get("/api/epochs/4").json
        assert told["complete"] is False
        assert told["quarantined"][0]["reason"] == "seven bytes too many"
        assert api.get("/api/epochs/7").json["detail"] == "Epoch 7 was skipped: forced."


def test_what_operators_were_worth_is_found_without_reading_the_time_since(
    server: str, migrated: str
) -> None:
    with database(server, migrated) as dsn, psycopg.connect(dsn, autocommit=True) as connection:
        history.write(connection, 0, 999, 8, raw=False)
        history.settle(connection)
        asked = {"days": sql.Literal([1, 7]), "worth": WORTH, "chosen": sql.SQL("true")}
        read = rows_read(connection, OPERATORS.format(**asked))
    assert read < 8 * 20
