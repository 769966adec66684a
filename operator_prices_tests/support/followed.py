"""Positions as the development chain has noted them down, and as they are stored."""

from collections.abc import Sequence
from pathlib import Path

import psycopg

from operator_prices import store
from operator_prices.defs.checks import NOMINATORS
from operator_prices.devchain.chain import DevChain
from operator_prices.devchain.serving import serving
from operator_prices.epochs.windows import EpochWindow
from operator_prices_tests.support.filling import fill
from operator_prices_tests.support.samples import reading

Positions = dict[tuple[int, str], tuple[object, ...]]

STORED = """
SELECT stored.epoch, operator_id, nominator, stored.shares_raw, stake_raw, stored.pending_raw,
       stored.withdrawing_shares_raw, unlocking, stored.storage_fee_deposit_raw, stored.on_hold_raw
FROM nominator_positions_by_epoch AS stored
JOIN nominator_positions AS change USING (operator_id, nominator)
WHERE stored.epoch >= change.epoch
  AND (until_epoch IS NULL OR stored.epoch < until_epoch)
"""


def true_positions(chain: DevChain) -> dict[int, Positions]:
    """What everybody has at every completed epoch, in the order of `stored_positions`."""
    return {
        told.epoch: {
            (operator, f"0x{account.hex()}"): (
                *(has.shares, has.stake, has.pending, has.withdrawing_shares),
                *(tuple(sorted(has.unlocking)), has.storage_fee_deposit, has.on_hold),
            )
            for (operator, account), has in positions.items()
        }
        for told, positions in chain.positions()
    }


def stored_positions(database: psycopg.Connection) -> dict[int, Positions]:
    """What is stored of every epoch, by operator and account."""
    found: dict[int, Positions] = {}
    known = database.execute("SELECT epoch FROM nominator_epochs").fetchall()
    for (epoch,) in known:
        found[epoch] = {}
    for epoch, operator, nominator, *amounts in database.execute(STORED).fetchall():
        unlocking = tuple(sorted((one["block"], int(one["amount"])) for one in amounts[4]))
        found[epoch][operator, nominator] = (*amounts[:4], unlocking, *amounts[5:])
    return found


def follow(
    chain: DevChain, database: psycopg.Connection, cache: Path, windows: Sequence[int]
) -> int:
    """Read windows in some order, and bring all tables up to date; the requests it took."""
    with serving(chain) as node, reading(node.url, cache) as reader:
        for first in windows:
            fill(reader, database, EpochWindow(first), nominators=True)
        return reader.requests


def offending(database: psycopg.Connection, first: int = 0) -> dict[str, int]:
    """How much each check of nominators finds in a window, of those that find something."""
    return {
        check.name: len(found)
        for check in NOMINATORS
        if (found := store.offenders(database, check.name, EpochWindow(first)))
    }
