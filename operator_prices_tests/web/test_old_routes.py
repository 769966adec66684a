"""The old shape: epochs, summary and health as the old API answered them."""

from pathlib import Path

import psycopg
import pytest

from operator_prices_tests.support import history, legacy_samples, published
from operator_prices_tests.support.published import EPOCHS, OPERATORS
from operator_prices_tests.support.web_server import Served, database, serving

ONE = 10**18


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
    shares = api.rows(
        "SELECT operator_id, active_stake_raw, reward_raw FROM operator_shares WHERE epoch = 7",
    )
    prices = api.rows(
        "SELECT operator_id, share_price_perq FROM operator_share_prices WHERE epoch = 7"
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
    with_a_gap, without = [*range(20), *range(21, 40)], list(range(21, 40))
    for stored, first in ((with_a_gap, 0), (without, 21)):
        step = -(-len(stored) // sample)
        wanted = [epoch for at, epoch in enumerate(stored) if at % step == 0 or epoch == 39]
        rows = api.get(f"/api/epochs?sample={sample}&path={path}&from={first}").json
        assert [row["epoch"] for row in rows] == wanted
        assert {row["meta"]["sampleApplied"] for row in rows} == {step > 1}


def test_chosen_operators_are_the_only_ones_in_the_objects(api: Served) -> None:
    row = api.get("/api/epochs?limit=1&operators=5,2,5").json[0]
    for name in ("operatorStakes", "rewards", "operatorSharePrices"):
        assert list(row[name]) == ["2", "5"]
    assert row["meta"]["sharePricesDefaulted"] == ["2"]
    assert row["operators"] == OPERATORS


@pytest.mark.parametrize(
    "query",
    [
        "to=38",
        "limit=9&to=30",
        "from=3&to=3&operators=1,4",
        "sample=7&to=38",
        "operators=0&to=38",
        "operators=5&limit=30&to=38",
        "operators=3,2,1,0&to=38",
        "operators=0,1,2,3,4&to=38",
        "operators=999&to=38",
        "operators=2&sample=7&to=38",
    ],
)
def test_both_ways_give_the_same_answer_to_the_last_byte(api: Served, query: str) -> None:
    told = api.get(f"/api/epochs?{query}&path=tables").body
    assert api.get(f"/api/epochs?{query}&path=json").body == told


def test_who_left_before_the_epoch_was_over_is_still_told_with_its_reward(
    server: str, migrated: str
) -> None:
    with database(server, migrated) as dsn:
        with psycopg.connect(dsn, autocommit=True) as connection:
            published.fill(connection)
            connection.execute(
                "UPDATE epoch_analytics SET operator_rewards_json = operator_rewards_json"
                """ || '{"99": "12"}' WHERE epoch = 5"""
            )
            connection.execute("SELECT refresh_epoch_documents(0, 39)")
        with serving(dsn) as api:
            five, six = api.get("/api/epochs?from=5&to=6&operators=99").json
            assert (five["rewards"], six["rewards"]) == ({"99": "12"}, {})
            whole = api.get("/api/epochs?from=5&to=5").json[0]
            assert whole["rewards"]["99"] == "12"
            assert five["meta"] == whole["meta"] | {"sharePricesDefaulted": []}


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


def test_what_is_left_empty_is_not_given_and_any_limit_is_capped(api: Served) -> None:
    rows = api.get("/api/epochs").json
    for query in ("sample=&from=&to=&limit=&operators=", "limit=99999999999999999999"):
        assert api.get(f"/api/epochs?{query}").json == rows


@pytest.mark.parametrize("path", ["tables", "json"])
def test_a_sample_that_leaves_nothing_out_is_none(api: Served, path: str) -> None:
    rows = api.get(f"/api/epochs?from=3&to=4&sample=1&path={path}").json
    assert [row["epoch"] for row in rows] == [3, 4]
    assert not any(row["meta"]["sampleApplied"] for row in rows)
