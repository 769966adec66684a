"""The queries of `sql/05_verify_migration.sql` find what is wrong, and nothing else."""

import subprocess

import psycopg
import pytest
from psycopg import sql

from operator_prices.legacy.entries import OPERATORS_PREFIX, PRICES_PREFIX
from operator_prices.local.postgres import programs
from operator_prices.store import migrations, objects
from operator_prices_tests.support.schema import keep_epoch, refresh, verified


def offended(dsn: str) -> set[str]:
    return {name for name, found in verified(dsn).items() if name.startswith("no ") and found}


STAKE, SHARES = 2**90 + 1, 2**89


def price_key(operator: int, domain: int, epoch: int) -> str:
    return (
        PRICES_PREFIX
        + (
            operator.to_bytes(8, "little")
            + domain.to_bytes(4, "little")
            + epoch.to_bytes(4, "little")
        ).hex()
    )


def operator_key(operator: int) -> str:
    return OPERATORS_PREFIX + operator.to_bytes(8, "little").hex()


def snapshot(*prices: tuple[str, str]) -> dict[str, object]:
    """An epoch as the old script wrote it, with operator 3 in first place."""
    body = (
        f'{{"nominationTax":7,"currentTotalStake":"0x{STAKE:032x}","currentTotalShares":{SHARES},'
        '"partialStatus":{"registered":null},"totalStorageFeeDeposit":0}'
    )
    return {
        "domainStakingSummary": {
            "currentTotalStake": f"{STAKE:,}",
            "currentOperators": {"3": f"{STAKE:,}"},
            "currentEpochRewards": {},
        },
        "operators": {"entries": [{"key": ["0"], "value": f"{operator_key(3)},{body}"}]},
        "operatorEpochSharePrice": {
            "entries": [
                {"key": [str(place)], "value": f"{key},{price}"}
                for place, (key, price) in enumerate(prices)
            ]
        },
    }


def document(epoch: int, price: str) -> dict[str, object]:
    """An epoch as the pipeline writes it."""
    body = {
        "nominationTax": 7,
        "currentTotalStake": str(STAKE),
        "currentTotalShares": str(SHARES),
        "partialStatus": "Registered",
        "totalStorageFeeDeposit": "0",
    }
    return {
        "domainStakingSummary": {
            "currentTotalStake": str(STAKE),
            "currentOperators": {"3": str(STAKE)},
            "currentEpochRewards": {},
        },
        "operators": {"entries": [{"key": ["3"], "value": body}]},
        "operatorEpochSharePrice": {"entries": [{"key": ["3", f"[0,{epoch}]"], "value": price}]},
    }


def keep_table_rows(connection: psycopg.Connection) -> None:
    """What the tables must say of epochs 0 and 1 as `snapshot` tells them, and 2 as `document`."""
    told = [
        (price_key(3, 0, 0), "999,999,999,999,999,999"),
        (price_key(3, 1, 0), "5"),  # another domain
        (price_key(4, 0, 0), "0"),  # no price
        (price_key(9, 0, 0), "none"),
    ]
    keep_epoch(connection, 0, snapshot(), source="legacy", complete=None)
    keep_epoch(connection, 1, snapshot(*told), source="legacy", complete=None)
    keep_epoch(connection, 2, document(2, "777"))
    for epoch, price, price_source, source in (
        (0, 999999999999999999, "epochs_json", "legacy"),
        (1, SHARES * 10**18 // STAKE, "derived", "legacy"),
        (2, 777, "chain", "chain"),
    ):
        connection.execute(
            "INSERT INTO operator_share_prices (epoch, operator_id, share_price_perq, source)"
            " VALUES (%s, 3, %s, %s)",
            [epoch, price, price_source],
        )
        connection.execute(
            "INSERT INTO operator_shares VALUES"
            " (%s, 3, %s, %s, %s, 0, 0, 7, 'Registered', NULL, NULL, %s)",
            [epoch, SHARES, STAKE, STAKE, source],
        )
    connection.execute("INSERT INTO operators_metadata (operator_id) VALUES (3)")
    refresh(connection)


def test_an_empty_database_offends_in_nothing(dsn: str, database: psycopg.Connection) -> None:
    assert not database.closed
    assert offended(dsn) == set()


def test_tables_that_say_what_the_raw_json_says_offend_in_nothing(
    dsn: str, database: psycopg.Connection
) -> None:
    keep_table_rows(database)
    assert offended(dsn) == set()


@pytest.mark.parametrize(
    ("wrong", "offence"),
    [
        ("DELETE FROM epochs WHERE epoch = 1", "no gap"),
        ("UPDATE epochs SET complete = false WHERE epoch = 2", "no incomplete epoch"),
        ("DELETE FROM operators_metadata", "no operator without metadata"),
        *(
            (
                f"UPDATE operator_shares SET {column} = 11 WHERE epoch = 0",  # noqa: S608
                "no operator differs from the raw JSON",
            )
            for column in (
                *("shares_raw", "stake_raw", "active_stake_raw", "reward_raw"),
                *("storage_fee_deposit_raw", "nomination_tax"),
            )
        ),
        (
            "UPDATE operator_shares SET status = 'Slashed' WHERE epoch = 2",
            "no operator differs from the raw JSON",
        ),
        ("DELETE FROM operator_shares WHERE epoch = 2", "no operator differs from the raw JSON"),
        (
            "UPDATE operator_shares SET operator_id = 0 WHERE epoch = 0",
            "no operator that the raw JSON lacks",
        ),
        (
            "UPDATE operator_share_prices SET share_price_perq = 1 WHERE epoch = 0",
            "no price differs from the raw JSON",
        ),
        (
            "UPDATE operator_share_prices SET share_price_perq = 1 WHERE epoch = 2",
            "no price differs from the raw JSON",
        ),
        (
            "DELETE FROM operator_share_prices WHERE epoch = 0",
            "no price differs from the raw JSON",
        ),
        (
            "UPDATE operator_share_prices SET source = 'epochs_json' WHERE epoch = 1",
            "no price that the raw JSON lacks",
        ),
        (
            "INSERT INTO operator_share_prices VALUES (0, 2, 5, 'derived')",
            "no operator without metadata",
        ),
        (
            "UPDATE operator_share_prices SET (share_price_perq, source) = (5, 'derived')",
            "no derived price differs from its state",
        ),
        ("UPDATE epoch_analytics SET total_stake_raw = 1", "no total differs from the raw JSON"),
        ("UPDATE epoch_analytics SET bundles_count = 1", "no stale analytics"),
        ("DELETE FROM epoch_analytics", "no stale analytics"),
        ("UPDATE operator_share_prices SET share_price_perq = 0", "no value out of range"),
        ("UPDATE operator_shares SET stake_raw = 1", "no value out of range"),
        ("UPDATE epochs SET end_hash = '0x12'", "no value out of range"),
        ("UPDATE epochs SET end_block = 5, transition_block = 6", "no value out of range"),
    ],
)
def test_the_verification_finds_what_is_wrong(
    dsn: str, database: psycopg.Connection, wrong: str, offence: str
) -> None:
    keep_table_rows(database)
    database.execute(sql.SQL(wrong))
    assert offence in offended(dsn)


def test_the_old_view_is_compared_column_by_column(old: str) -> None:
    migrations.migrate(old)
    with psycopg.connect(old, autocommit=True) as connection:
        refresh(connection)
        found = verified(old)["old view against new view"]
        compared = {name: counts for name, *counts, _ in found}
        reasons = {name: reason for name, *_, reason in found}
        assert compared["total_stake_raw"] == [302, 300, 2]
        assert compared["total_stake_tokens"] == [302, 0, 302]  # the old view rounded
        assert compared["network_share_price_ratio"] == [302, 0, 302]
        assert str(reasons["network_share_price_ratio"]).startswith("unknown is NULL now")
        assert "the old view divided" in str(reasons["total_stake_tokens"])
        assert reasons["epoch"] is None
        unexplained = "no difference to the old view without a reason"
        assert verified(old)[unexplained] == []

        connection.execute("UPDATE epoch_analytics SET total_stake_raw = 6 WHERE epoch = 4")
        assert [row[:2] for row in verified(old)[unexplained]] == [
            ("total_stake_raw", 4),
            ("total_stake_tokens", 4),
        ]


def test_the_verification_runs_in_psql(dsn: str, database: psycopg.Connection) -> None:
    keep_table_rows(database)
    psql = [str(programs.binaries() / "psql"), dsn, "-v", "ON_ERROR_STOP=1", "-qf"]
    ran = subprocess.run(
        [*psql, objects.SQL / "05_verify_migration.sql"],
        check=True,
        capture_output=True,
        text=True,
    )
    assert " no gap " in ran.stdout
