"""Positions of nominators: every one of every epoch against the truth, in any order of windows."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from operator_prices import store
from operator_prices.devchain.chain import DevChain
from operator_prices.devchain.scenario import Scenario
from operator_prices.epochs.windows import EpochWindow
from operator_prices_tests.support.followed import (
    follow,
    offending,
    stored_positions,
    true_positions,
)
from operator_prices_tests.support.samples import UPGRADED

LONG = Scenario(seconds_per_block=0, epochs=230, operators=6, jumps=(99, 130))
WINDOWS = (0, 100, 200)

ROWS = """
SELECT operator_id, nominator, epoch, until_epoch, ended, shares_raw, pending_raw,
       withdrawing_shares_raw, unlocking, storage_fee_deposit_raw, on_hold_raw, deposited_raw,
       deposited_storage_fee_raw, tax_raw, tax_storage_fee_raw, withdrawn_shares_raw, released_raw,
       released_storage_fee_raw
FROM nominator_positions ORDER BY operator_id, nominator, epoch
"""

WRONG = {
    "shares_add_up": "UPDATE nominator_positions SET shares_raw = shares_raw + 10 ^ 9",
    "storage_fees_add_up": "UPDATE nominator_positions SET storage_fee_deposit_raw ="
    " storage_fee_deposit_raw + 1 WHERE epoch = 7",
    "values_within_stake": "UPDATE nominator_positions SET shares_raw = shares_raw * 2",
    "pending_has_no_price": "UPDATE nominator_positions SET pending_raw = 5"
    " WHERE pending_raw = 0 AND shares_raw > 0",
    "nominators_as_listed": "INSERT INTO quarantine (epoch, item, reason, source)"
    " VALUES (3, 'NominatorListing', 'it was missed', 'chain')",
    "nominators_understood": "INSERT INTO quarantine (epoch, item, reason, source)"
    " VALUES (3, 'Deposits', 'too short', 'chain')",
}
"""What each check must find."""


@pytest.mark.e2e
@pytest.mark.parametrize(
    ("scenario", "windows"),
    [
        (LONG, WINDOWS),
        (replace(LONG, locking_epochs=9, operators=9, jumps=()), (100, 200, 0)),
        (UPGRADED, (0,)),
    ],
    ids=["with jumps", "out of order, unlocked soon", "three runtimes, two domains"],
)
def test_every_position_of_every_epoch_is_true(
    scenario: Scenario, windows: tuple[int, ...], database: psycopg.Connection, tmp_path: Path
) -> None:
    chain = DevChain(scenario)
    follow(chain, database, tmp_path, windows)
    stored, true = stored_positions(database), true_positions(chain)
    assert stored.keys() == true.keys()
    for epoch, positions in true.items():
        assert stored[epoch] == positions, epoch
    assert sum(map(len, true.values())) > 1000
    for first in windows:
        assert offending(database, first) == {}


def test_the_first_epochs_are_true_and_each_check_finds_what_is_not(
    database: psycopg.Connection, tmp_path: Path
) -> None:
    chain = DevChain(Scenario(seconds_per_block=0, epochs=24, operators=4, locking_epochs=6))
    follow(chain, database, tmp_path, [0])
    assert stored_positions(database) == true_positions(chain)
    assert offending(database) == {}
    for check, change in WRONG.items():
        with database.transaction(force_rollback=True):
            database.execute(change)
            assert check in offending(database), check


@pytest.mark.e2e
def test_a_deposit_that_stays_pending_is_found_in_each_window_in_which_it_does(
    database: psycopg.Connection, tmp_path: Path
) -> None:
    follow(DevChain(LONG), database, tmp_path, WINDOWS)
    row = database.execute(
        "SELECT operator_id, nominator, epoch FROM nominator_positions"
        " WHERE epoch < 98 AND pending_raw > 0 AND until_epoch = epoch + 1"
        " ORDER BY epoch DESC LIMIT 1"
    ).fetchone()
    assert row is not None
    for until, found_in in ((None, WINDOWS), (201, WINDOWS), (200, (0, 100)), (98, (0,))):
        with database.transaction(force_rollback=True):
            database.execute(
                "DELETE FROM nominator_positions WHERE (operator_id, nominator) = (%s, %s)"
                " AND epoch > %s",
                row,
            )
            database.execute(
                "UPDATE nominator_positions SET until_epoch = %s"
                " WHERE (operator_id, nominator, epoch) = (%s, %s, %s)",
                [until, *row],
            )
            database.execute(
                "DELETE FROM raw_nominators WHERE (operator_id, nominator) = (%s, %s)"
                " AND epoch > %s",
                row,
            )
            assert [
                first
                for first in WINDOWS
                if store.offenders(database, "pending_has_no_price", EpochWindow(first))
            ] == [*found_in]


@pytest.mark.e2e
@pytest.mark.parametrize(
    ("scenario", "orders"),
    [
        (LONG, [WINDOWS, (200, 0, 100), (100, 200, 0)]),
        (replace(LONG, operators=2, jumps=()), [WINDOWS, (0, 200, 100)]),
    ],
    ids=["with jumps", "an operator that is seen first after a gap"],
)
def test_rows_are_the_same_whatever_the_order_of_windows(
    scenario: Scenario,
    orders: Sequence[Sequence[int]],
    database: psycopg.Connection,
    tmp_path: Path,
) -> None:
    chain = DevChain(scenario)
    found = []
    for order in orders:
        follow(chain, database, tmp_path, order)
        found.append(database.execute(ROWS).fetchall())
        database.execute(
            "TRUNCATE epochs, skipped_epochs, operator_shares, operator_share_prices,"
            " operators_metadata, nominator_epochs, raw_nominators, nominator_positions"
        )
    assert all(rows == found[0] for rows in found)
    assert len(found[0]) > 200


def test_what_is_held_is_what_was_paid_in_and_minted(
    database: psycopg.Connection, tmp_path: Path
) -> None:
    """Flows against another item of the chain, which the pallet keeps by itself."""
    chain = DevChain(Scenario(seconds_per_block=0, epochs=36, operators=8))
    follow(chain, database, tmp_path, [0])
    rows = database.execute(
        "SELECT on_hold_raw - lag(on_hold_raw, 1, 0::numeric) OVER pair, deposited_raw + tax_raw,"
        " tax_raw, released_raw FROM nominator_positions WHERE on_hold_raw IS NOT NULL"
        " WINDOW pair AS (PARTITION BY operator_id, nominator ORDER BY epoch)"
    ).fetchall()
    kept = [(held, came) for held, came, _, released in rows if released == 0]
    assert [held for held, _ in kept] == [came for _, came in kept]
    assert len(kept) > 50
    assert any(tax for _, _, tax, _ in rows)
    assert sum(came > 0 for _, came in kept) > 20
    [[unearned]] = database.execute(
        "SELECT count(*) FROM nominator_positions AS position WHERE tax_raw > 0 AND NOT EXISTS ("
        "  SELECT FROM operator_shares AS share WHERE share.operator_id = position.operator_id"
        "  AND share.epoch < position.epoch AND share.reward_raw > 0)"
    ).fetchall()
    assert unearned == 0


def test_what_was_released_is_what_the_chain_has_paid_out(
    database: psycopg.Connection, tmp_path: Path
) -> None:
    """Each payout by itself; one with shares and all, after a deregistration, is not known."""
    chain = DevChain(Scenario(seconds_per_block=0, epochs=60, operators=4, locking_epochs=8))
    follow(chain, database, tmp_path, [0])
    ends: dict[int, int] = dict(database.execute("SELECT end_block, epoch FROM epochs").fetchall())
    payouts: dict[tuple[int, int, str], list[int]] = {}
    for one in chain.domains[0].staking.journal.payouts:
        end = min((block for block in ends if block >= one.block), default=None)
        if end is not None:
            at = (ends[end], one.operator_id, f"0x{one.account.hex()}")
            paid = payouts.setdefault(at, [0, 0])
            paid[0] += one.released + one.minted
            paid[1] += one.refunded
    stored = {
        (epoch, operator, nominator): [released, refunded]
        for epoch, operator, nominator, released, refunded in database.execute(
            "SELECT epoch, operator_id, nominator, released_raw, released_storage_fee_raw"
            " FROM nominator_positions WHERE released_raw IS DISTINCT FROM 0"
        ).fetchall()
    }
    assert stored.keys() == payouts.keys()
    unknown = {at for at, (released, _) in stored.items() if released is None}
    left = chain.domains[0].staking
    assert all(left.operator(operator) is None for _, operator, _ in unknown)
    known = stored.keys() - unknown
    assert {at: stored[at] for at in known} == {at: payouts[at] for at in known}
    assert len(known) > 5
