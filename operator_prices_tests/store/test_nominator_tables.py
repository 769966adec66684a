"""The tables and views of nominators: the chain's conversions, and every epoch out of changes."""

import random

import psycopg

from operator_prices import store
from operator_prices.epochs.windows import EpochWindow

ONE = 10**18
NOMINATOR = "0x" + "ab" * 32


def test_shares_are_worth_what_the_chain_pays_for_them(database: psycopg.Connection) -> None:
    draw = random.Random(3)  # noqa: S311
    cases = [(draw.getrandbits(draw.randint(1, 127)), draw.randint(1, ONE)) for _ in range(500)]
    cases += [(0, 5), (2**127, ONE - 1), (2**127, ONE), (7, 1)]
    for shares, price in cases:
        row = database.execute(
            "SELECT shares_to_stake(%(n)s, %(p)s), stake_to_shares(%(n)s, %(p)s)",
            {"n": shares, "p": price},
        ).fetchone()
        worth = shares if price == ONE else shares * ONE // (price + 1)
        assert row == (worth, shares * price // ONE)


def test_without_a_price_nothing_is_worth_anything_known(database: psycopg.Connection) -> None:
    assert database.execute("SELECT shares_to_stake(5, NULL)").fetchone() == (None,)


def test_a_change_holds_until_the_next_and_each_epoch_has_its_own_value(
    database: psycopg.Connection,
) -> None:
    database.execute(
        "INSERT INTO nominator_epochs SELECT e, '0x', false, true, 'chain'"
        " FROM generate_series(3, 8) AS e WHERE e <> 5"
    )
    database.execute(
        "INSERT INTO operator_share_prices VALUES (3, 1, %s), (4, 1, 500000000000000000)", [ONE]
    )
    database.execute("INSERT INTO nominator_accounts VALUES (%s, 'su1')", [NOMINATOR])
    for epoch, until, ended, shares in ((3, 6, False, 1001), (6, 8, False, 7), (8, None, True, 0)):
        database.execute(
            "INSERT INTO nominator_positions (operator_id, nominator, epoch, until_epoch, ended,"
            " shares_raw, pending_raw, withdrawing_shares_raw, unlocking_raw, unlocking,"
            " storage_fee_deposit_raw, source)"
            " VALUES (1, %s, %s, %s, %s, %s, 0, 0, 0, '[]', 0, 'chain')",
            [NOMINATOR, epoch, until, ended, shares],
        )
    values = database.execute(
        "SELECT epoch, shares_raw, stake_raw FROM nominator_positions_by_epoch ORDER BY epoch"
    ).fetchall()
    assert values == [
        (3, 1001, 1001),
        (4, 1001, 1001 * ONE // (ONE // 2 + 1)),
        (6, 7, None),
        (7, 7, None),
    ]
    assert database.execute("SELECT * FROM nominators").fetchall() == [(NOMINATOR, "su1", 3, 7)]


def test_a_stronger_row_stays_as_it_is_and_holds_until_the_next_one(
    database: psycopg.Connection,
) -> None:
    database.execute(
        "INSERT INTO nominator_epochs SELECT e, '0x', true, true, 'legacy'"
        " FROM generate_series(0, 2) AS e"
    )
    for epoch, shares in ((0, 10), (1, 20), (2, 30)):
        database.execute(
            "INSERT INTO raw_nominators (epoch, operator_id, nominator, shares_raw,"
            " storage_fee_deposit_raw, source) VALUES (%s, 1, %s, %s, 0, 'legacy')",
            [epoch, NOMINATOR, shares],
        )
    database.execute(
        "INSERT INTO nominator_positions (operator_id, nominator, epoch, ended, shares_raw,"
        " pending_raw, withdrawing_shares_raw, unlocking_raw, unlocking, storage_fee_deposit_raw,"
        " source) VALUES (1, %s, 1, false, 21, 0, 0, 0, '[]', 0, 'chain')",
        [NOMINATOR],
    )
    store.refresh_positions(database, EpochWindow(0))
    rows = "SELECT epoch, until_epoch, shares_raw, source FROM nominator_positions ORDER BY epoch"
    assert database.execute(rows).fetchall() == [
        (0, 1, 10, "legacy"),
        (1, 2, 21, "chain"),
        (2, None, 30, "legacy"),
    ]
    assert store.refresh_positions(database, EpochWindow(0)) == 0
