"""The view `comprehensive_analytics`: exact, and unknown rather than zero."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime
from decimal import Decimal

import psycopg
import pytest
from psycopg import sql

from operator_prices_tests.support.schema import keep_epoch, keep_operator, refresh

VIEW_COLUMNS = """
epoch end_block timestamp epoch_datetime epoch_date
total_stake_raw total_stake_tokens total_shares_raw total_shares_tokens network_share_price_ratio
treasury_funds_raw treasury_funds_tokens chain_rewards_raw chain_rewards_tokens
storage_fee_fund_raw storage_fee_fund_tokens storage_fee_percentage
operator_0_stake_tokens operator_1_stake_tokens operator_2_stake_tokens operator_3_stake_tokens
operator_0_rewards_tokens operator_1_rewards_tokens
operator_2_rewards_tokens operator_3_rewards_tokens
operator_0_shares_raw operator_1_shares_raw operator_2_shares_raw operator_3_shares_raw
operator_0_share_price_tokens operator_1_share_price_tokens
operator_2_share_price_tokens operator_3_share_price_tokens
operator_count deposits_count withdrawals_count bundles_count
operator_share_prices_json operator_stakes_json operator_rewards_json operator_shares_json
operator_stake_per_share_json
operator_total_stakes_json operator_price_sources_json operator_statuses_json domain_id
"""


def view(connection: psycopg.Connection, epoch: int, columns: str) -> tuple[object, ...]:
    """Some columns of the view, named in one text, of an epoch."""
    row = connection.execute(
        sql.SQL("SELECT {} FROM comprehensive_analytics WHERE epoch = {}").format(
            sql.SQL(", ").join(map(sql.Identifier, columns.split())), epoch
        )
    ).fetchone()
    assert row
    return row


def test_the_view_has_the_published_columns_in_their_order(database: psycopg.Connection) -> None:
    cursor = database.execute("SELECT * FROM comprehensive_analytics")
    assert [column.name for column in cursor.description or []] == VIEW_COLUMNS.split()


def test_tokens_are_exact_beyond_64_bits(database: psycopg.Connection) -> None:
    stake, shares, reward = 2**128 - 1, 2**64 + 1, 2**65 + 3
    told = {
        "domainStakingSummary": {"currentTotalStake": f"{stake:,}"},
        "accumulatedTreasuryFunds": "18446744073709551617",
        "domainChainRewards": 5,
    }
    keep_epoch(database, 1, told)
    keep_operator(database, 1, 0, shares=shares, stake=stake, active=stake - 1, reward=reward)
    keep_operator(database, 1, 2, shares=0, stake=7, active=0, reward=0)
    refresh(database)

    whole = "total_stake_raw total_shares_raw operator_0_shares_raw storage_fee_fund_raw"
    assert view(database, 1, whole) == (stake, shares, shares, stake // 4 + 1)
    tokens = "total_stake_tokens treasury_funds_tokens chain_rewards_tokens operator_0_stake_tokens"
    assert view(database, 1, tokens + " operator_0_rewards_tokens operator_2_stake_tokens") == (
        Decimal("340282366920938463463.374607431768211455"),
        Decimal("18.446744073709551617"),
        Decimal("0.000000000000000005"),
        Decimal("340282366920938463463.374607431768211454"),
        Decimal("36.893488147419103235"),
        0,
    )
    ratios = "operator_0_share_price_tokens network_share_price_ratio storage_fee_percentage"
    worth = stake + reward - reward * 10 // 100
    assert view(database, 1, ratios) == tuple(
        Decimal(text)  # and not scaleb, which rounds to 28 digits
        for text in (
            f"{worth * 10**18 // shares}e-18",
            f"{stake * 10**18 // shares}e-18",
            f"{(stake // 4 + 1) * 10**20 // stake}e-18",
        )
    )
    assert view(database, 1, "operator_1_shares_raw operator_2_share_price_tokens") == (None, None)


def test_every_operator_is_in_the_json_as_text(database: psycopg.Connection) -> None:
    keep_epoch(database, 1, {})
    for operator in (0, 63):
        keep_operator(database, 1, operator, shares=10**24, stake=2 * 10**24, active=0, reward=0)
        database.execute(
            "INSERT INTO operator_share_prices (epoch, operator_id, share_price_perq, source)"
            " VALUES (1, %s, 500000000000000000, 'derived')",
            [operator],
        )
    keep_operator(database, 1, 5, shares=0, stake=0, active=0, reward=9)
    refresh(database)

    def told(value: object) -> dict[str, str]:
        return {"0": str(value), "63": str(value)}

    def of(name: str) -> object:
        return view(database, 1, name)[0]

    assert of("operator_share_prices_json") == told(5 * 10**17)
    assert of("operator_price_sources_json") == told("derived")
    assert of("operator_stake_per_share_json") == told(2 * 10**18)
    assert of("operator_stakes_json") == {**told(0), "5": "0"}
    assert of("operator_total_stakes_json") == {**told(2 * 10**24), "5": "0"}
    assert of("operator_rewards_json") == {**told(0), "5": "9"}
    assert of("operator_shares_json") == {**told(10**24), "5": "0"}
    assert of("operator_statuses_json") == {**told("Registered"), "5": "Registered"}
    assert of("operator_count") == 3


@pytest.mark.parametrize(
    "data", [{"domainStakingSummary": {"currentTotalStake": "about 5"}}, "no object", None, {}]
)
def test_what_is_unknown_is_null_and_never_zero(database: psycopg.Connection, data: object) -> None:
    keep_epoch(database, 1, data, source=None, complete=None)
    refresh(database)
    told = VIEW_COLUMNS.split()[5:-1]
    assert view(database, 1, " ".join(told)) == (None,) * len(told)


def test_an_epoch_without_operators_has_none_if_it_is_complete(
    database: psycopg.Connection,
) -> None:
    keep_epoch(database, 1, {"deposits": {"count": 0}, "withdrawals": {"count": None}})
    refresh(database)
    totals = "operator_count total_shares_raw storage_fee_fund_raw network_share_price_ratio"
    assert view(database, 1, totals) == (0, 0, 0, None)
    assert view(database, 1, "operator_shares_json operator_share_prices_json") == ({}, {})
    assert view(database, 1, "deposits_count withdrawals_count bundles_count") == (0, None, None)


def test_no_total_is_told_without_an_operator_that_is_in_quarantine(
    database: psycopg.Connection,
) -> None:
    lost = {"item": "Operators", "operatorId": "7", "reason": "too long"}
    keep_epoch(database, 1, {"quarantined": [lost]}, complete=False)
    keep_epoch(database, 2, {"quarantined": [{**lost, "operatorId": "0"}]}, complete=False)
    for epoch in (1, 2):
        keep_operator(database, epoch, 0, shares=5, stake=5, active=5, reward=0)
    refresh(database)
    totals = "operator_count total_shares_raw network_share_price_ratio storage_fee_fund_raw"
    assert view(database, 1, totals + " operator_0_shares_raw") == (None, None, None, None, 5)
    assert view(database, 2, totals) == (1, 5, 1, 1)


@pytest.mark.parametrize("zone", ["UTC", "Pacific/Kiritimati", "Pacific/Niue"])
def test_times_are_the_same_in_every_time_zone(database: psycopg.Connection, zone: str) -> None:
    keep_epoch(database, 1, {})
    keep_epoch(database, 2, {})
    database.execute("UPDATE epochs SET timestamp = 1756252799999 WHERE epoch = 1")
    database.execute("UPDATE epochs SET timestamp = 1756252800000 WHERE epoch = 2")
    database.execute("SELECT set_config('timezone', %s, false)", [zone])
    refresh(database)
    assert view(database, 1, "epoch_datetime epoch_date") == (
        datetime(2025, 8, 26, 23, 59, 59, 999_000, UTC),
        date(2025, 8, 26),
    )
    assert view(database, 2, "epoch_datetime epoch_date") == (
        datetime(2025, 8, 27, tzinfo=UTC),
        date(2025, 8, 27),
    )


def test_a_refresh_touches_only_what_differs(database: psycopg.Connection) -> None:
    for epoch in (5, 6, 7):
        keep_epoch(database, epoch, {})
    assert refresh(database, 0, 6) == 2
    assert refresh(database, 0, 6) == 0
    places = "SELECT epoch, ctid FROM epoch_analytics ORDER BY epoch"
    before = database.execute(places).fetchall()

    keep_operator(database, 6, 0, shares=5, stake=5, active=5, reward=0)
    keep_operator(database, 7, 0, shares=5, stake=5, active=5, reward=0)
    assert refresh(database, 0, 6) == 1
    assert database.execute(places).fetchall()[0] == before[0]
    assert view(database, 6, "operator_count") == (1,)

    database.execute("DELETE FROM epochs WHERE epoch = 5")
    assert refresh(database, 5, 5) == 1
    assert database.execute("SELECT epoch FROM comprehensive_analytics").fetchall() == [(6,)]


def test_two_refreshes_at_once_agree(dsn: str, database: psycopg.Connection) -> None:
    for epoch in range(50):
        keep_epoch(database, epoch, {})
        keep_operator(database, epoch, 0, shares=5, stake=5, active=5, reward=0)

    def work(_: int) -> int:
        with psycopg.connect(dsn) as connection:
            return refresh(connection)

    with ThreadPoolExecutor() as pool:
        assert max(pool.map(work, range(4))) == 50
    assert refresh(database) == 0
