"""Snapshots that list deposits and withdrawals, put into the tables of those read from a chain."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import psycopg
import pytest

from operator_prices import store
from operator_prices.chain import Entry, Pair, entries_of
from operator_prices.chain.substrate.stakes import keys_of
from operator_prices.devchain.chain import DevChain
from operator_prices.devchain.scenario import Scenario
from operator_prices.epochs.windows import EpochWindow
from operator_prices.legacy.nominator_tables import keep_listed
from operator_prices.legacy.nominators import SECTIONS, listed
from operator_prices_tests.support.followed import follow, stored_positions, true_positions

WINDOW = EpochWindow(0)
KEY = keys_of((7, "0x" + "ab" * 32))
DEPOSIT = {"known": {"shares": "0x0000ff", "storageFeeDeposit": "1,000"}, "pending": None}

TOMORROW = {"effectiveDomainEpoch": [0, 4], "amount": 1, "storageFeeDeposit": 0}


def section(*entries: tuple[str, object]) -> dict[str, Any]:
    """As the old system wrote it: the index for a key, and the storage key in the value."""
    told = [
        {"key": [str(nth)], "value": f"{key},{json.dumps(value)}"}
        for nth, (key, value) in enumerate(entries)
    ]
    return {"count": len(told), "entries": told}


def written(entries: dict[Pair, Entry]) -> dict[str, Any]:
    """The three sections of a snapshot."""
    deposits, withdrawals, held = [], [], []
    for pair, entry in sorted(entries.items()):
        key = keys_of(pair)
        pending = {
            "effectiveDomainEpoch": [0, entry.pending_epoch],
            "amount": hex(entry.pending or 0),
            "storageFeeDeposit": str(entry.pending_storage_fee),
        }
        if entry.shares is not None:
            known = {
                "shares": f"{entry.shares:,}",
                "storageFeeDeposit": str(entry.storage_fee_deposit),
            }
            there = None if entry.pending is None else pending
            deposits.append((key[0], {"known": known, "pending": there}))
        if entry.unlocking is not None:
            leaving = {
                "domainEpoch": [0, entry.withdrawing_epoch],
                "unlockAtConfirmedDomainBlockNumber": entry.withdrawing_block,
                "shares": str(entry.withdrawing_shares),
                "storageFeeRefund": str(entry.withdrawing_storage_fee),
            }
            waiting = [
                {
                    "unlockAtConfirmedDomainBlockNumber": one.block,
                    "amountToUnlock": str(one.amount),
                    "storageFeeRefund": hex(one.storage_fee_refund),
                }
                for one in entry.unlocking
            ]
            shares = None if entry.withdrawing_shares is None else leaving
            withdrawals.append((key[1], {"withdrawals": waiting, "withdrawalInShares": shares}))
        if entry.on_hold is not None:
            held.append((key[2], str(entry.on_hold)))
    listings = (section(*deposits), section(*withdrawals), section(*held))
    return dict(zip(SECTIONS, listings, strict=True))


def as_snapshots(database: psycopg.Connection) -> None:
    """Make snapshots of what was read from a chain, and forget what was read of nominators."""
    epochs = database.execute("SELECT epoch FROM epochs ORDER BY epoch").fetchall()
    states = {}
    for (epoch,) in epochs:
        known = store.nominators_before(database, epoch + 1)
        assert known is not None
        states[epoch] = entries_of(known.entries)
    for epoch, entries in states.items():
        database.execute(
            "UPDATE epochs SET data = data || %s::jsonb, source = 'legacy' WHERE epoch = %s",
            [json.dumps(written(entries)), epoch],
        )
    database.execute(
        "TRUNCATE nominator_epochs, raw_nominators, nominator_positions, nominator_accounts"
    )


def test_snapshots_tell_every_position_of_every_epoch(
    database: psycopg.Connection, tmp_path: Path
) -> None:
    chain = DevChain(Scenario(seconds_per_block=0, epochs=20, operators=4, locking_epochs=6))
    follow(chain, database, tmp_path, [0])
    before = database.execute("SELECT count(*) FROM nominator_positions").fetchone()
    as_snapshots(database)

    kept = keep_listed(database, WINDOW, again=False)

    assert (kept.listings, kept.doubted_listings) == (len(true_positions(chain)), 0)
    store.refresh_positions(database, WINDOW)
    assert stored_positions(database) == true_positions(chain)
    assert database.execute("SELECT count(*) FROM nominator_positions").fetchone() == before
    assert keep_listed(database, WINDOW, again=False).listings == 0
    assert keep_listed(database, WINDOW, again=True).changed_nominators == 0


def test_a_listing_that_does_not_add_up_is_doubted_as_a_whole(
    database: psycopg.Connection, tmp_path: Path
) -> None:
    chain = DevChain(Scenario(seconds_per_block=0, epochs=9, operators=2))
    follow(chain, database, tmp_path, [0])
    as_snapshots(database)
    database.execute(
        "UPDATE epochs SET data = jsonb_set(data, '{operators,entries,0,value,"
        "totalStorageFeeDeposit}', '\"5\"') WHERE epoch = 4"
    )

    kept = keep_listed(database, WINDOW, again=False)

    assert kept.doubted_listings == 1
    assert kept.first_doubt is not None
    assert kept.first_doubt.startswith("epoch 4: the storage fee deposits of operator 0 add up to")
    assert kept.first_doubt.endswith("and it says 5")
    known = database.execute("SELECT array_agg(epoch ORDER BY epoch) FROM nominator_epochs")
    assert known.fetchone() == ([0, 1, 2, 3, 5, 6, 7, 8],)


SPOILT = range(8, 12)
"""Epochs at whose end something of an operator or of its accounts cannot be read."""

STAKED = """
SELECT operator_id, nominator FROM nominator_positions_by_epoch
WHERE epoch BETWEEN %s AND %s AND shares_raw > 0 AND unlocking_raw > 0
GROUP BY operator_id, nominator HAVING count(*) = %s ORDER BY 1, 2 LIMIT 1
"""


def cut_value(entry: dict[str, Any], key: str) -> dict[str, Any]:
    return entry | {"value": f"{key},{{"}


def cut_key(entry: dict[str, Any], key: str) -> dict[str, Any]:
    return entry | {"value": entry["value"].replace(key, key[:-2])}


@pytest.mark.e2e
@pytest.mark.parametrize(
    ("spoil", "section_of"),
    [(cut_value, "deposits"), (cut_key, "deposits"), (cut_key, "withdrawals")],
    ids=["a value", "a key", "the key of a withdrawal"],
)
@pytest.mark.parametrize("gap", [False, True], ids=["in a row of snapshots", "after a gap"])
def test_who_cannot_be_read_has_what_he_had(
    spoil: Callable[[dict[str, Any], str], dict[str, Any]],
    section_of: str,
    *,
    gap: bool,
    database: psycopg.Connection,
    tmp_path: Path,
) -> None:
    chain = DevChain(Scenario(seconds_per_block=0, epochs=20, operators=4, locking_epochs=6))
    follow(chain, database, tmp_path, [0])
    row = database.execute(STAKED, [SPOILT[0] - 2, SPOILT[-1] + 1, len(SPOILT) + 3]).fetchone()
    assert row is not None
    pair = (int(row[0]), str(row[1]))
    as_snapshots(database)
    key = keys_of(pair)[0 if section_of == "deposits" else 1]
    for epoch in SPOILT:
        told = database.execute(
            "SELECT data -> %s FROM epochs WHERE epoch = %s", [section_of, epoch]
        ).fetchone()
        assert told is not None
        entries = [
            spoil(one, key) if one["value"].startswith(key) else one for one in told[0]["entries"]
        ]
        database.execute(
            "UPDATE epochs SET data = jsonb_set(data, %s, %s) WHERE epoch = %s",
            [[section_of, "entries"], json.dumps(entries), epoch],
        )
    if gap:
        database.execute("DELETE FROM epochs WHERE epoch = %s", [SPOILT[0] - 1])

    kept = keep_listed(database, WINDOW, again=False)

    assert kept.doubted_listings == 0
    store.refresh_positions(database, WINDOW)
    stored, true = stored_positions(database), true_positions(chain)
    had = true[SPOILT[0] - (2 if gap else 1)][pair]
    for epoch, positions in stored.items():
        others = {one: has for one, has in positions.items() if one != pair}
        assert others == {one: has for one, has in true[epoch].items() if one != pair}
        if epoch in SPOILT:
            assert (positions[pair][0], positions[pair][5]) == (had[0], had[5])
            assert {*cast("tuple[object]", had[4])} <= {*cast("tuple[object]", positions[pair][4])}
        else:
            assert positions.get(pair) == true[epoch].get(pair)
    incomplete = database.execute(
        "SELECT array_agg(epoch ORDER BY epoch) FROM nominator_epochs WHERE NOT complete"
    )
    assert incomplete.fetchone() == ([*SPOILT],)


def test_who_has_staked_on_an_operator_that_is_not_understood_has_it_still(
    database: psycopg.Connection, tmp_path: Path
) -> None:
    chain = DevChain(Scenario(seconds_per_block=0, epochs=20, operators=4, locking_epochs=6))
    follow(chain, database, tmp_path, [0])
    as_snapshots(database)
    for epoch in SPOILT:
        database.execute(
            "UPDATE epochs SET data = data #- '{operators,entries,0}' WHERE epoch = %s", [epoch]
        )

    keep_listed(database, WINDOW, again=False)

    store.refresh_positions(database, WINDOW)
    assert stored_positions(database) == true_positions(chain)


@pytest.mark.parametrize("fault", [10**30, 1], ids=["more", "less"])
def test_one_entry_that_is_not_understood_hides_no_doubt_of_the_others(fault: int) -> None:
    other = keys_of((8, "0x" + "cd" * 32))[0]
    found = listed(
        3, {"deposits": section((KEY[0], "?"), (other, DEPOSIT)), "withdrawals": section()}
    )
    assert found is not None
    assert found.doubt({7: fault, 8: 1000}) is None
    assert "operator 8 add up to 1000" in str(found.doubt({7: fault, 8: fault}))


def test_an_entry_of_nobody_known_excuses_what_is_missing_and_not_what_is_too_much() -> None:
    found = listed(
        3, {"deposits": section(("0x00", "?"), (KEY[0], DEPOSIT)), "withdrawals": section()}
    )
    assert found is not None
    assert found.doubt({7: 1001}) is None
    assert "add up to 1000, and it says 999" in str(found.doubt({7: 999}))


@pytest.mark.parametrize(
    "told",
    [None, {}, {"count": 1, "entries": []}, {"count": 0}, {"entries": "none"}],
)
def test_what_is_no_listing_tells_of_nobody(told: object) -> None:
    assert listed(3, {"deposits": told, "withdrawals": section()}) is None
    assert listed(3, {"deposits": section(), "withdrawals": told}) is None


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        ((KEY[1], DEPOSIT), "has no storage key of an account"),
        ((KEY[0], {"known": {"shares": "-1", "storageFeeDeposit": 0}, "pending": None}), "number"),
        (
            (
                KEY[0],
                DEPOSIT
                | {
                    "pending": {"effectiveDomainEpoch": [0, 4], "amount": 1, "storageFeeDeposit": 0}
                },
            ),
            "is of epoch 4 at the end of epoch 3",
        ),
    ],
)
def test_an_entry_that_is_not_understood_is_named(entry: tuple[str, object], reason: str) -> None:
    found = listed(3, {"deposits": section(entry), "withdrawals": section()})
    assert found is not None
    assert found.entries == {}
    (offender,) = found.offenders
    assert (offender.epoch, offender.path) == (3, "data.deposits.entries[0]")
    assert reason in offender.reason
