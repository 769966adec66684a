"""What the API answers: the old shape, the new one, and a sentence for whatever is no question."""

import asyncio
import csv
import gzip
import io
import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from pathlib import Path

import polars as pl
import psycopg
import pytest
import zstandard
from psycopg import sql
from starlette.requests import Request
from starlette.types import Message

from operator_prices.settings import READER
from operator_prices.web import queries
from operator_prices.web.answers import Answer, Cache
from operator_prices.web.database import STREAMS, Database
from operator_prices_tests.support import history, legacy_samples
from operator_prices_tests.support.web_server import Served, database, reader, serving

EPOCHS = 40
OPERATORS = 6
ONE = 10**18


@pytest.fixture(scope="module")
def filled(server: str, migrated: str) -> Iterator[str]:
    """Forty epochs of six operators; epoch 39 lacks a price of operator 2, epoch 20 is missing."""
    with database(server, migrated) as dsn:
        with psycopg.connect(dsn, autocommit=True) as connection:
            history.write(connection, 0, EPOCHS - 1, OPERATORS)
            for gone in ("operator_shares", "operator_share_prices", "epochs"):
                table = sql.Identifier(gone)
                connection.execute(sql.SQL("DELETE FROM {} WHERE epoch = 20").format(table))
            connection.execute(
                "DELETE FROM operator_share_prices WHERE (epoch, operator_id) = (39, 2)"
            )
            connection.execute("SELECT refresh_epoch_analytics(0, 99)")
        yield dsn


@pytest.fixture(scope="module")
def api(filled: str) -> Iterator[Served]:
    with serving(filled) as served:
        yield served


def facts(api: Served, statement: str) -> list[tuple[object, ...]]:
    with psycopg.connect(api.dsn) as connection:
        return connection.execute(sql.SQL(statement)).fetchall()


def test_an_epoch_has_the_old_keys_in_the_old_order_with_the_old_types(api: Served) -> None:
    rows = api.get("/api/epochs").json
    assert [row["epoch"] for row in rows] == [epoch for epoch in range(EPOCHS) if epoch != 20]
    for row in rows:
        assert list(row) == [
            *("domainId", "epoch", "endBlock", "timestamp", "totalStake", "storageFees"),
            *("operatorStakes", "rewards", "operatorSharePrices", "operators", "meta"),
        ]
        assert list(row["meta"])[:3] == ["rewardsHasAny", "sharePricesHasAny", "sampleApplied"]
        for name in ("domainId", "epoch", "endBlock", "timestamp", "operators"):
            assert type(row[name]) is int
        amounts = [row["totalStake"], row["storageFees"]]
        for name in ("operatorStakes", "rewards", "operatorSharePrices"):
            assert list(row[name]) == [str(number) for number in range(OPERATORS)]
            amounts += row[name].values()
        assert all(type(amount) is str and amount.isdecimal() for amount in amounts)


def test_every_amount_is_what_the_tables_say(api: Served) -> None:
    row = api.get("/api/epochs?from=7&to=7").json[0]
    shares = facts(
        api,
        "SELECT operator_id, active_stake_raw, reward_raw FROM operator_shares WHERE epoch = 7",
    )
    prices = facts(
        api, "SELECT operator_id, share_price_perq FROM operator_share_prices WHERE epoch = 7"
    )
    assert row["operatorStakes"] == {str(key): str(stake) for key, stake, _ in shares}
    assert row["rewards"] == {str(key): str(reward) for key, _, reward in shares}
    assert row["operatorSharePrices"] == {str(key): str(price) for key, price in prices}


def test_an_unknown_price_of_the_first_four_is_defaulted_and_named(api: Served) -> None:
    row = api.get("/api/epochs?limit=1").json[0]
    assert row["operatorSharePrices"]["2"] == str(ONE)
    assert row["meta"]["sharePricesDefaulted"] == ["2"]
    assert api.get("/api/epochs?from=7&to=7").json[0]["meta"]["sharePricesDefaulted"] == []


def test_operators_that_are_not_there_have_the_old_keys(server: str, migrated: str) -> None:
    with database(server, migrated) as dsn:
        with psycopg.connect(dsn, autocommit=True) as connection:
            history.write(connection, 0, 0, 2)
        with serving(dsn) as api:
            row = api.get("/api/epochs").json[0]
    assert row["rewards"]["3"] == "0"
    assert row["operatorSharePrices"]["3"] == str(ONE)
    assert row["meta"]["sharePricesDefaulted"] == ["2", "3"]
    assert list(row["operatorStakes"]) == ["0", "1"]


@pytest.mark.parametrize(
    ("query", "epochs"),
    [
        ("", [*range(20), *range(21, 40)]),
        ("limit=all", [*range(20), *range(21, 40)]),
        ("limit=", [*range(20), *range(21, 40)]),
        ("limit=3", [37, 38, 39]),
        ("limit=99999", [*range(20), *range(21, 40)]),
        ("from=18&to=22", [18, 19, 21, 22]),
        ("from=38", [38, 39]),
        ("to=1", [0, 1]),
        ("to=30&limit=2", [29, 30]),
        ("from=100", []),
    ],
)
def test_limits_and_ranges_choose_epochs(api: Served, query: str, epochs: list[int]) -> None:
    assert [row["epoch"] for row in api.get(f"/api/epochs?{query}").json] == epochs


@pytest.mark.parametrize("path", ["tables", "json"])
@pytest.mark.parametrize("sample", [1, 2, 3, 7, 38, 39, 40, 1000])
def test_a_sample_is_every_nth_row_and_always_the_last(api: Served, sample: int, path: str) -> None:
    stored = [*range(20), *range(21, 40)]
    step = -(-len(stored) // sample)
    wanted = [epoch for at, epoch in enumerate(stored) if at % step == 0 or epoch == 39]
    rows = api.get(f"/api/epochs?sample={sample}&path={path}").json
    assert [row["epoch"] for row in rows] == wanted
    assert {row["meta"]["sampleApplied"] for row in rows} == {step > 1}


def test_chosen_operators_are_the_only_ones_in_the_objects(api: Served) -> None:
    row = api.get("/api/epochs?limit=1&operators=5,2,5").json[0]
    for name in ("operatorStakes", "rewards", "operatorSharePrices"):
        assert list(row[name]) == ["2", "5"]
    assert row["meta"]["sharePricesDefaulted"] == ["2"]
    assert row["operators"] == OPERATORS


@pytest.mark.parametrize(
    "query", ["to=38", "limit=9&to=30", "from=3&to=3&operators=1,4", "sample=7&to=38"]
)
def test_both_ways_give_the_same_answer_to_the_last_byte(api: Served, query: str) -> None:
    told = api.get(f"/api/epochs?{query}&path=tables").body
    assert api.get(f"/api/epochs?{query}&path=json").body == told


@pytest.mark.parametrize("keep_raw", [False, True])
def test_the_old_way_reads_imported_snapshots_too(
    server: str, migrated: str, tmp_path: Path, *, keep_raw: bool
) -> None:
    old = legacy_samples.write_sqlite(tmp_path / "old.db", legacy_samples.history(120))
    with database(server, migrated) as dsn:
        with psycopg.connect(dsn, autocommit=True) as connection:
            legacy_samples.fill(connection, old, 119, keep_raw=keep_raw)
        with serving(dsn) as api:
            for query in ("", "limit=30", "from=90&to=104&operators=1"):
                told = api.get(f"/api/epochs?{query}&path=tables").body
                assert api.get(f"/api/epochs?{query}&path=json").body == told


def test_the_old_way_needs_no_import(server: str, migrated: str) -> None:
    rows = legacy_samples.history(5)
    with database(server, migrated) as dsn:
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.cursor().executemany(
                "INSERT INTO epochs (epoch, end_block, end_hash, timestamp, data)"
                " VALUES (%s, %s, %s, %s, %s)",
                rows,
            )
        with serving(dsn) as api:
            assert api.get("/api/epochs").json == []
            told = api.get("/api/epochs?path=json&limit=2").json
    assert [row["epoch"] for row in told] == [3, 4]
    assert told[0]["operatorSharePrices"]["1"] == str(legacy_samples.price_of(3, 1))


def test_the_summary_is_the_latest_epoch_in_short(api: Served) -> None:
    summary = api.get("/api/summary").json
    latest = api.get("/api/epochs?limit=1").json[0]
    assert summary == {
        **{
            name: latest[name]
            for name in ("epoch", "endBlock", "timestamp", "totalStake", "storageFees")
        },
        "rewardsTotal": str(sum(map(int, latest["rewards"].values()))),
        "operatorSharePrices": latest["operatorSharePrices"],
        "meta": {"sharePricesDefaulted": ["2"]},
    }


def test_health_counts_the_newest_epochs(api: Served) -> None:
    assert api.get("/api/epochs?health=1").json == {
        "sample": 39,
        "rewardsAvailable": 39,
        "normalizedDataAvailable": True,
    }


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


def test_rewards_that_are_not_known_have_no_total(server: str, migrated: str) -> None:
    with database(server, migrated) as dsn, serving(dsn) as api:
        with psycopg.connect(dsn, autocommit=True) as connection:
            history.write(connection, 0, 0, 2)
            known = int(api.get("/api/summary").json["rewardsTotal"])
            connection.execute(
                "UPDATE operator_shares SET reward_raw = NULL WHERE operator_id = 1;"
                " SELECT refresh_epoch_analytics(0, 0)"
            )
        assert known > 0
        assert api.get("/api/summary").json["rewardsTotal"] is None


def test_a_reward_of_an_operator_that_is_gone_by_the_end_of_the_epoch_counts(
    server: str, migrated: str
) -> None:
    with database(server, migrated) as dsn, serving(dsn) as api:
        with psycopg.connect(dsn, autocommit=True) as connection:
            history.write(connection, 0, 0, 2)
            connection.execute(
                "UPDATE epochs SET data = jsonb_set(data,"
                " '{domainStakingSummary,currentEpochRewards,3}', '\"7000000000000000000\"');"
                " SELECT refresh_epoch_analytics(0, 0)"
            )
            told = connection.execute(
                "SELECT operator_2_rewards_tokens, operator_3_rewards_tokens"
                " FROM comprehensive_analytics"
            ).fetchone()
        assert told == (0, 7)
        row = api.get("/api/epochs").json[0]
        assert row["rewards"]["3"] == "7000000000000000000"
        assert int(api.get("/api/summary").json["rewardsTotal"]) == sum(
            map(int, row["rewards"].values())
        )
        assert api.get("/api/epochs/0").json["rewards"]["3"] == "7000000000000000000"
        assert api.get("/api/epochs?path=json").json == [row]


@pytest.mark.parametrize("path", ["/api/epochs", "/api/epochs/7", "/api/operators?format=csv", "/"])
def test_a_head_is_what_a_get_begins_with(api: Served, path: str) -> None:
    whole, head = api.get(path), api.get(path, method="HEAD")
    assert (head.status, head.body) == (200, b"")
    assert head.headers["etag"] == whole.headers["etag"]


def test_what_is_left_empty_is_not_given_and_any_limit_is_capped(api: Served) -> None:
    rows = api.get("/api/epochs").json
    for query in ("sample=&from=&to=&limit=&operators=", "limit=99999999999999999999"):
        assert api.get(f"/api/epochs?{query}").json == rows


@pytest.mark.parametrize("path", ["tables", "json"])
def test_a_sample_that_leaves_nothing_out_is_none(api: Served, path: str) -> None:
    rows = api.get(f"/api/epochs?from=3&to=4&sample=1&path={path}").json
    assert [row["epoch"] for row in rows] == [3, 4]
    assert not any(row["meta"]["sampleApplied"] for row in rows)


@pytest.mark.parametrize(
    ("path", "names"),
    [
        ("/api/epochs?limit=0", "limit"),
        ("/api/epochs?limit=-1", "limit"),
        ("/api/epochs?from=1_0", "from"),
        ("/api/epochs/2_0", "epoch"),
        ("/api/epochs/+2", "epoch"),
        ("/api/operators/2.0", "operator"),
        ("/api/epochs?limit=ten", "limit"),
        ("/api/epochs?limit=1e3", "limit"),
        ("/api/epochs?sample=0", "sample"),
        ("/api/epochs?sample=x", "sample"),
        ("/api/epochs?from=-1", "from"),
        ("/api/epochs?from=5&to=4", "from"),
        ("/api/epochs?to=4294967296", "to"),
        ("/api/epochs?operators=a", "operators"),
        ("/api/epochs?operators=1,,2", "operators"),
        ("/api/epochs?operators=9999999999", "operators"),
        ("/api/epochs?path=sql", "path"),
        ("/api/epochs?health=maybe", "health"),
        ("/api/epochs/x", "epoch"),
        ("/api/epochs/-1", "epoch"),
        ("/api/epochs/1?format=xml", "format"),
        ("/api/operators/x", "operator"),
        ("/api/operators/99999999999", "operator"),
        ("/api/operators/1/share-prices?from=2&to=1", "from"),
        ("/api/share-prices?operators=-1", "operators"),
    ],
)
def test_a_bad_parameter_is_refused_in_a_sentence_that_names_it(
    api: Served, path: str, names: str
) -> None:
    reply = api.get(path)
    assert reply.status == 422
    assert list(reply.json) == ["detail"]
    assert reply.json["detail"].startswith(f"{names} must")


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
    for operator, shares, stake, reward, tax in facts(
        api,
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


@pytest.mark.parametrize("path", ["/api/share-prices", "/api/operators/3/share-prices"])
@pytest.mark.parametrize("form", ["csv", "parquet", "arrow"])
def test_a_table_holds_exactly_what_the_json_says(api: Served, path: str, form: str) -> None:
    told = api.get(f"{path}?from=15&to=25").json
    reply = api.get(f"{path}?from=15&to=25&format={form}")
    assert reply.headers["content-disposition"] == f'attachment; filename="share-prices.{form}"'
    if form == "csv":
        rows = list(csv.DictReader(io.StringIO(reply.body.decode())))
    else:
        read = pl.read_parquet if form == "parquet" else pl.read_ipc_stream
        rows = [
            {name: "" if value is None else str(value) for name, value in row.items()}
            for row in read(io.BytesIO(reply.body)).iter_rows(named=True)
        ]
    names = {
        "epoch": "epoch",
        "operator_id": "operatorId",
        "timestamp": "timestamp",
        "share_price_perq": "sharePricePerq",
        "stake_per_share": "stakePerShare",
        "stake": "stake",
        "shares": "shares",
        "reward": "reward",
        "nomination_tax": "nominationTax",
        "status": "status",
        "source": "source",
    }
    assert rows == [{column: str(point[name]) for column, name in names.items()} for point in told]


def test_amounts_of_128_bits_survive_every_form(server: str, migrated: str) -> None:
    largest = 2**128 - 1
    with database(server, migrated) as dsn:
        with psycopg.connect(dsn, autocommit=True) as connection:
            history.write(connection, 0, 0, 1)
            connection.execute(
                "UPDATE operator_shares SET (stake_raw, active_stake_raw, reward_raw, shares_raw)"
                " = ROW (%(largest)s, %(largest)s, %(largest)s, %(largest)s)",
                {"largest": largest},
            )
            connection.execute("SELECT refresh_epoch_analytics(0, 0)")
        with serving(dsn) as api:
            assert api.get("/api/epochs").json[0]["operatorStakes"] == {"0": str(largest)}
            assert api.get("/api/share-prices").json[0]["stake"] == str(largest)
            for form, read in (("parquet", pl.read_parquet), ("arrow", pl.read_ipc_stream)):
                body = api.get(f"/api/share-prices?format={form}").body
                assert read(io.BytesIO(body))["shares"].to_list() == [str(largest)]
            assert str(largest) in api.get("/api/share-prices?format=csv").body.decode()
            assert api.get("/api/operators/0").json["stake"] == str(largest)


def test_the_form_of_an_answer_is_negotiated(api: Served) -> None:
    for accept, kind in (
        ("text/csv", "text/csv"),
        ("application/json;q=0.5, text/csv", "text/csv"),
        ("*/*", "application/json"),
        ("application/vnd.apache.parquet", "application/vnd.apache.parquet"),
        ("application/vnd.apache.arrow.stream", "application/vnd.apache.arrow.stream"),
    ):
        reply = api.get("/api/operators", accept=accept)
        assert reply.headers["content-type"].startswith(kind)
        assert "Accept" in reply.headers["vary"]
    assert api.get("/api/epochs/7", accept="text/csv").body.startswith(b"epoch,operator_id,")


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


def test_other_sites_may_ask_only_if_they_are_named(filled: str) -> None:
    with serving(filled, CORS_ORIGINS="https://a.example, https://b.example") as api:
        told = api.get("/api/summary", origin="https://b.example").headers
        assert told["access-control-allow-origin"] == "https://b.example"
        told = api.get("/api/summary", origin="https://c.example").headers
        assert "access-control-allow-origin" not in told


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


def test_the_api_refuses_to_write_whatever_its_role_may_do(filled: str) -> None:
    with serving(filled, url=filled) as api:
        ready = api.get("/readyz")
        assert ready.status == 200
        assert "can write" in ready.json["warning"]
        assert READER in ready.json["warning"]
        api.process.terminate()
        said = api.process.stderr.read() if api.process.stderr else ""
        assert "can write" in said
    with serving(filled) as api:
        assert api.get("/readyz").json["warning"] is None


def test_the_role_that_reads_cannot_write(filled: str) -> None:
    with psycopg.connect(reader(filled), autocommit=True) as connection:
        assert connection.execute("SELECT count(*) FROM epochs").fetchone() == (39,)
        for statement in (
            "DELETE FROM epochs",
            "UPDATE data_version SET version = 1",
            "CREATE TABLE public.more (a INTEGER)",
            "SELECT * FROM epochs_original",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(sql.SQL(statement))


def test_metrics_count_requests_by_route_and_rows(filled: str) -> None:
    with serving(filled) as api:
        for epoch in (1, 2, 3):
            api.get(f"/api/epochs/{epoch}")
        api.get("/api/epochs?limit=5")
        api.get("/api/epochs?limit=x")
        told = api.get("/metrics").body.decode()
    assert 'request_seconds_count{route="/api/epochs/{epoch}",status="200"} 3.0' in told
    assert 'request_seconds_count{route="/api/epochs",status="422"} 1.0' in told
    assert 'rows_served_total{route="/api/epochs"} 5.0' in told
    assert "operator_prices_last_epoch 39.0" in told


def test_connections_that_died_with_the_server_cost_no_answer(filled: str) -> None:
    with serving(filled) as api:
        for path in ("/api/epochs/1", "/api/epochs", "/api/operators"):
            assert api.get(path).status == 200
        with psycopg.connect(api.dsn, autocommit=True) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
                " WHERE datname = current_database() AND application_name = 'operator-prices api'"
            )
        for path in ("/api/epochs/2", "/api/epochs?limit=all&to=30", "/api/operators/1", "/readyz"):
            assert api.get(path).status == 200, path


def test_metrics_are_told_and_probes_are_short_while_the_database_is_away(
    server: str, migrated: str
) -> None:
    with database(server, migrated) as dsn, serving(dsn) as api:
        assert "operator_prices_database_up 1.0" in api.get("/metrics").body.decode()
        name = sql.Identifier(str(psycopg.conninfo.conninfo_to_dict(dsn)["dbname"]))
        with psycopg.connect(server, autocommit=True) as admin:
            admin.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS false").format(name))
            admin.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s",
                [name.as_string().strip('"')],
            )
            begun = time.monotonic()
            assert api.get("/readyz").status == 503
            assert "operator_prices_database_up 0.0" in api.get("/metrics").body.decode()
            assert time.monotonic() - begun < 8
            admin.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS true").format(name))
        until = time.monotonic() + 20
        while api.get("/readyz").status != 200:
            assert time.monotonic() < until
            time.sleep(0.2)


def test_readiness_can_depend_on_freshness(filled: str) -> None:
    assert_stale = {"ready": False, "fresh": False, "lastEpoch": 39}
    with serving(filled, API_MAX_LAG_SECONDS="60") as api:
        reply = api.get("/readyz")
        assert reply.status == 503
        assert assert_stale.items() <= reply.json.items()
        assert api.get("/healthz").status == 200


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


HEAVY = ("polars", "pyarrow", "dagster", "substrateinterface", "scalecodec", "numpy", "bokeh")


def test_the_serving_process_loads_nothing_heavy() -> None:
    program = (
        "import sys, operator_prices.web.__main__;"
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_a_client_that_breaks_off_leaves_nothing_behind(api: Served) -> None:
    for _ in range(12):  # more than there are connections for large answers
        with socket.create_connection(("127.0.0.1", api.port)) as connection:
            connection.sendall(b"GET /api/epochs HTTP/1.1\r\nhost: x\r\n\r\n")
    assert len(api.get("/api/epochs").json) == 39


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"API_DATABASE_URL": ""}, "API_DATABASE_URL is not set"),
        ({"API_PORT": "http"}, "API_PORT is 'http'"),
        ({"READ_PATH": "sql"}, "READ_PATH is 'sql'"),
        ({"API_DATABASE_URL": "host=127.0.0.1 port=1"}, "does not answer"),
    ],
)
def test_what_cannot_be_served_ends_in_one_sentence(
    filled: str, settings: dict[str, str], said: str
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "operator_prices.web"],
        env={"API_DATABASE_URL": filled, **settings},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert said in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_a_database_without_our_tables_is_named_as_such(dsn: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "operator_prices.web"],
        env={"API_DATABASE_URL": dsn},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert "operator-prices migrate" in done.stderr


def test_what_a_page_needs_is_served_from_here(api: Served) -> None:
    page = api.get("/").body.decode()
    assert "://" not in page.replace("http://www.w3.org", "")
    for path in ("/static/dashboard.js", "/vendor/bokeh.min.js", "/vendor/swagger-ui-bundle.js"):
        reply = api.get(path, accept_encoding="gzip")
        assert reply.status == 200
        assert api.get(path).body == gzip.decompress(reply.body)
        tag = reply.headers["etag"]
        assert api.get(path, accept_encoding="gzip", if_none_match=tag).status == 304
    assert api.get("/static/none.js").status == 404
    assert api.get("/vendor/../app.py").status == 404
    assert api.get("/docs").status == 200


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
                    lambda cursor, _: queries.chunks(cursor, ENDLESS, queries.Served()),
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
