"""A window that is filled for the first time: as it always was, byte for byte, whoever is at it."""

import time
from concurrent.futures import ThreadPoolExecutor

import psycopg
from psycopg import sql

from operator_prices_tests.support.schema import keep_epoch, keep_operator, refresh

PUBLISHED = ("epoch_analytics", "epoch_documents", "operator_points")

REWARDS = {"0": "5", "2": "1,000", "9": "0x10", "70": "about 5", "3": ""}

FILTERED = """
SELECT epoch_document(fact, wanted) FROM epoch_analytics AS fact,
  (VALUES ('{{}}'::text[]), ('{{0,2,70}}'), ('{{3,1,9}}'), ('{{1,1}}')) AS filters (wanted)
ORDER BY fact.epoch, wanted
"""

WAITS = "SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = %s"


def keep_odd_rows(connection: psycopg.Connection) -> None:
    """Epochs with something unknown, lost, gone, or unlike the others."""
    told = {
        "domainStakingSummary": {"currentTotalStake": "0x2a", "currentEpochRewards": REWARDS},
        "accumulatedTreasuryFunds": "1,000",
        "domainChainRewards": 5,
        "deposits": {"count": 3},
        "quarantined": [{"item": "Operators", "operatorId": "7"}],
    }
    keep_epoch(connection, 1, told)
    keep_epoch(connection, 2, {**told, "quarantined": "none"}, complete=False)
    keep_epoch(connection, 3, {})
    keep_epoch(connection, 4, "no object", source="legacy", complete=None)
    keep_epoch(connection, 5, {"domainStakingSummary": {"currentEpochRewards": []}}, complete=None)
    for epoch in (1, 2, 5, 6):  # nobody has told the raw epoch 6
        for operator in (0, 1, 2, 3, 10, 63):
            amount = 10**24 + 7919 * operator
            keep_operator(
                connection, epoch, operator, shares=amount, stake=amount * 2, active=9, reward=11
            )
            connection.execute(
                "INSERT INTO operator_share_prices (epoch, operator_id, share_price_perq, source)"
                " VALUES (%s, %s, %s, 'derived')",
                [epoch, operator + 1, amount],
            )
    connection.execute(
        "UPDATE operator_shares SET shares_raw = 0, status = 'he said \"no\"' WHERE operator_id = 2"
    )
    connection.execute(
        "UPDATE operator_shares SET (shares_raw, stake_raw, active_stake_raw, reward_raw,"
        " storage_fee_deposit_raw, nomination_tax, status) = ROW (NULL, NULL, NULL, NULL, NULL,"
        " NULL, NULL) WHERE epoch = 5 OR operator_id = 3"
    )
    connection.execute("UPDATE epochs SET timestamp = NULL WHERE epoch = 2")


def published(connection: psycopg.Connection) -> list[list[tuple[object, ...]]]:
    """Every published row as text, and documents of some operators."""
    queries = [
        sql.SQL("SELECT fact::text FROM {} AS fact ORDER BY epoch, fact::text").format(
            sql.Identifier(name)
        )
        for name in PUBLISHED
    ]
    queries.append(sql.SQL(FILTERED).format())
    return [connection.execute(query).fetchall() for query in queries]


def test_faster_functions_say_what_those_before_them_said(database: psycopg.Connection) -> None:
    keep_odd_rows(database)
    refresh(database)
    faster = published(database)
    assert [len(rows) for rows in faster] == [5, 5, 36, 20]
    assert refresh(database) == 0

    before = database.execute(
        "SELECT name, definition FROM before_migration WHERE kind = 'definition before 24'"
    ).fetchall()
    assert len(before) == 4
    for name, definition in before:
        now = database.execute("SELECT pg_get_functiondef(%s::regprocedure)", [name]).fetchone()
        assert now != (definition,), name
        database.execute(definition.encode())
    database.execute("TRUNCATE epoch_analytics, epoch_documents, operator_points")
    refresh(database)
    assert published(database) == faster


def test_a_point_that_somebody_else_writes_meanwhile_is_put_right(
    dsn: str, database: psycopg.Connection
) -> None:
    keep_epoch(database, 1, {})
    for operator in range(5):
        keep_operator(database, 1, operator, shares=5, stake=5, active=5, reward=0)

    def work() -> int:
        with psycopg.connect(dsn) as connection:
            return refresh(connection)

    with ThreadPoolExecutor() as pool, psycopg.connect(dsn) as other:
        other.execute("INSERT INTO operator_points VALUES (1, 3, 'from another version')")
        filled = pool.submit(work)
        deadline = time.monotonic() + 30
        while database.execute(WAITS, [database.info.dbname]).fetchone() is None:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        other.commit()
        assert filled.result() == 1
    points = database.execute("SELECT operator_id, left(point, 25) FROM operator_points ORDER BY 1")
    assert points.fetchall() == [(one, f'{{"epoch":1,"operatorId":{one}') for one in range(5)]
    assert refresh(database) == 0


def test_the_index_of_points_by_operator_finds_them_and_does_not_repeat_them(
    database: psycopg.Connection,
) -> None:
    database.execute(
        "INSERT INTO operator_points SELECT epoch, operator, repeat('x', 250)"
        " FROM generate_series(1, 300) AS epoch, generate_series(1, 30) AS operator"
    )
    database.execute("VACUUM ANALYZE operator_points")
    sizes = database.execute(
        "SELECT pg_relation_size('operator_points_by_operator') < pg_relation_size(%s) / 4",
        ["operator_points"],
    )
    assert sizes.fetchone() == (True,)
    plan = database.execute(
        "EXPLAIN SELECT point FROM operator_points WHERE operator_id = 3 AND epoch > 250"
    ).fetchall()
    assert "operator_points_by_operator" in str(plan)
