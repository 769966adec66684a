"""The first generation of the old system: prices had back exactly, and what it lacks is NULL."""

import json
from pathlib import Path

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from operator_prices import store
from operator_prices.amounts import ONE
from operator_prices.epochs import tables
from operator_prices.epochs.windows import EpochWindow
from operator_prices.legacy.doubles import DIFFERS
from operator_prices.legacy.first_generation import DISAGREES, price_of
from operator_prices.legacy.numbers import NotANumberError
from operator_prices.legacy.read_paths import compare
from operator_prices.store import migrations
from operator_prices_tests.support.legacy_forms import item, json_lines, reciprocal
from operator_prices_tests.support.legacy_imports import (
    EPOCHS,
    Bring,
    Import,
    failed,
    forget_all,
    keep_as_read,
    prices,
    published,
    rows,
)
from operator_prices_tests.support.legacy_samples import (
    document,
    operator_entry,
    price_entry,
    row,
    write_sqlite,
)

SHARES = (
    "SELECT epoch, operator_id, shares_raw, stake_raw, active_stake_raw, reward_raw,"
    " nomination_tax, status, source FROM operator_shares ORDER BY 1, 2"
)


NO_PRICE = "is the reciprocal of no price"


def written(file: Path, *items: object) -> Path:
    file.write_text(json.dumps(items))
    return file


@given(st.integers(1, ONE))
def test_every_price_is_had_back_from_its_reciprocal(price: int) -> None:
    assert price_of(reciprocal(price)) == price or ONE * ONE // price == ONE * ONE // price_of(
        reciprocal(price)
    )


@given(st.integers(10**17, ONE))
def test_a_price_as_they_are_is_had_back_to_the_last_digit(price: int) -> None:
    assert price_of(reciprocal(price)) == price


@pytest.mark.parametrize(
    "value", ["0", "999999999999999999", "", "1.5", None, -5, True, str(10**37), [1], "1e18"]
)
def test_what_is_the_reciprocal_of_no_price_is_refused(value: object) -> None:
    with pytest.raises(NotANumberError):
        price_of(value)


def test_prices_are_had_back_and_what_is_not_told_is_null(
    database: psycopg.Connection, bring: Bring, tmp_path: Path
) -> None:
    done = bring(
        written(
            tmp_path / "old.json",
            item(0, operatorSharePrices=None, operatorStakes={"0": "1000"}),
            item(1, rewards={"0": "7", "5": "1"}),
            item(2),
        )
    )
    assert done.forms == {"JSON of the first generation": [3, 3, 0]}
    assert prices(database, 0, 1, 2) == [
        (ONE - 1_001, "epochs_json"),
        (ONE - 1_002, "epochs_json"),
        (ONE - 2_001, "epochs_json"),
        (ONE - 2_002, "epochs_json"),
    ]
    unknown = (None, None)
    assert rows(database, SHARES) == [
        (0, 0, *unknown, 1000, 7, *unknown, "legacy"),
        (1, 0, *unknown, 1000, 7, *unknown, "legacy"),
        (1, 1, *unknown, 2000, 0, *unknown, "legacy"),
        (2, 0, *unknown, 1000, 7, *unknown, "legacy"),
        (2, 1, *unknown, 2000, 0, *unknown, "legacy"),
    ]
    assert rows(
        database,
        "SELECT epoch, end_block, timestamp, source, complete FROM epochs ORDER BY 1",
    ) == [(epoch, 100 * epoch + 100, None, "legacy", False) for epoch in range(3)]
    assert rows(
        database,
        "SELECT total_stake_raw, total_shares_raw, operator_count, epoch_date,"
        " operator_rewards_json, operator_shares_json FROM comprehensive_analytics"
        " WHERE epoch = 1",
    ) == [(3000, None, None, None, {"0": "7", "1": "0", "5": "1"}, {})]
    ((told,),) = rows(database, "SELECT document FROM epoch_documents WHERE epoch = 1")
    served = json.loads(str(told))
    assert (served["timestamp"], served["operators"]) == (None, None)
    assert served["operatorStakes"] == {"0": "1000", "1": "2000"}
    assert rows(database, "SELECT FROM quarantine") == []
    assert list(compare(database, 0, 9)) == []
    assert failed(database).keys() == {"no incomplete epoch"}


def test_what_does_not_fit_is_named_by_its_own_path_and_the_rest_is_imported(
    database: psycopg.Connection, bring: Bring, tmp_path: Path
) -> None:
    twice = item(5)
    file = written(
        tmp_path / "old.json",
        item(0, operatorSharePrices={"0": "5", "1": reciprocal(7), "x": "1"}),
        item(1, operatorStakes={"0": "1000", "1": "a lot"}, totalStake=None),
        item(2, endBlock=250),
        item(3),
        item(4, endHash="0x12"),
        twice,
        twice,
        item(6),
        item(6, rewards={}),
        item(7, endHash=None),
        item(8, domainId=1),
        {"note": "no epoch"},
    )
    done = bring(file)
    assert rows(
        database, "SELECT epoch, item, path, operator_id, reason FROM quarantine ORDER BY 1, 3"
    ) == [
        (0, "OperatorEpochSharePrice", "data.operatorSharePrices.0", 0, NO_PRICE),
        (0, "OperatorEpochSharePrice", "data.operatorSharePrices.x", None, "is no number"),
        (1, "DomainStakingSummary", "data.operatorStakes.1", 1, "is no number"),
        (1, "DomainStakingSummary", "data.totalStake", None, "is missing"),
        (2, "EpochEnd", "data.endBlock", None, DISAGREES),
        (4, "epochs", "end_hash", None, "is no block hash"),
        (6, "epochs", "epoch", None, DIFFERS),
        (6, "epochs", "epoch", None, DIFFERS),
        (None, "epochs", f"{file}: item 12", None, "names no epoch"),
    ]
    assert (done.epochs, done.quarantined, done.foreign) == (6, 9, 4)
    assert rows(database, "SELECT epoch, end_hash IS NULL FROM epochs ORDER BY 1") == [
        (0, False),
        (1, False),
        (2, False),
        (3, False),
        (5, False),
        (7, True),
    ]
    assert prices(database, 0) == [(7, "epochs_json")]
    assert list(compare(database, 0, 9)) == []


def full(epochs: int) -> list[object]:
    return [
        row(
            epoch,
            document(
                epoch,
                operators=[operator_entry(operator) for operator in (0, 1)],
                prices=[price_entry(0, epoch - 1, ONE - 77)] if epoch else [],
            ),
        )
        for epoch in range(epochs)
    ]


@pytest.mark.e2e
@pytest.mark.parametrize("keep_raw", [False, True])
def test_a_fuller_source_fills_what_is_not_told_in_either_order(
    database: psycopg.Connection, bring: Bring, imported: Import, tmp_path: Path, *, keep_raw: bool
) -> None:
    first = written(tmp_path / "first.json", *map(item, range(5)))
    fuller = write_sqlite(tmp_path / "full.db", full(3))  # type: ignore[arg-type]

    bring(first)
    imported(fuller, keep_raw=keep_raw)
    told = [rows(database, EPOCHS), *published(database)]
    assert prices(database, 1) == [(ONE - 77, "epochs_json"), (ONE - 1_002, "epochs_json")]
    assert rows(database, "SELECT epoch, timestamp IS NULL, complete FROM epochs ORDER BY 1") == [
        (0, False, True),
        (1, False, True),
        (2, False, True),
        (3, True, False),
        (4, True, False),
    ]
    keys = "SELECT operator_id, signing_key IS NULL, status FROM operators_metadata ORDER BY 1"
    assert rows(database, keys) == [(0, False, "Registered"), (1, False, "Registered")]

    forget_all(database)
    imported(fuller, keep_raw=keep_raw)
    bring(first)
    assert [rows(database, EPOCHS), *published(database)] == told
    assert failed(database).keys() == {"no incomplete epoch"}
    assert list(compare(database, 0, 9)) == []


def test_in_one_folder_a_snapshot_stands_above_an_item_which_adds_its_price(
    database: psycopg.Connection, bring: Bring, tmp_path: Path
) -> None:
    (tmp_path / "folder").mkdir()
    written(tmp_path / "folder" / "a", *map(item, range(4)))
    (tmp_path / "folder" / "b").write_bytes(json_lines(full(3)))  # type: ignore[arg-type]
    done = bring(tmp_path / "folder")
    assert done.found == {"JSON lines": 3, "JSON of the first generation": 4}
    assert (done.epochs, done.quarantined) == (4, 0)
    assert prices(database, 2) == [(ONE - 2_001, "epochs_json"), (ONE - 2_002, "epochs_json")]
    assert rows(database, "SELECT count(*) FROM operator_shares WHERE shares_raw IS NOT NULL") == [
        (6,)
    ]


def test_the_chain_stands_above_the_first_generation(
    database: psycopg.Connection, bring: Bring, imported: Import, tmp_path: Path
) -> None:
    imported(write_sqlite(tmp_path / "full.db", full(3)))  # type: ignore[arg-type]
    frame = store.read(database, tables.EPOCHS, EpochWindow(0))
    chain = frame.with_columns(source=frame["source"].replace("legacy", "chain"))
    forget_all(database)
    bring(written(tmp_path / "first.json", *map(item, range(4))))
    keep_as_read(database, chain)
    assert rows(database, "SELECT epoch, source, complete FROM epochs ORDER BY 1") == [
        (0, "chain", True),
        (1, "chain", True),
        (2, "chain", True),
        (3, "legacy", False),
    ]


@pytest.mark.e2e
def test_a_rollback_takes_what_has_no_time_away(
    dsn: str, database: psycopg.Connection, bring: Bring, tmp_path: Path
) -> None:
    bring(written(tmp_path / "first.json", *map(item, range(4))))
    migrations.rollback(dsn)
    assert rows(database, "SELECT to_regclass('epochs')") == [(None,)]
    migrations.migrate(dsn)
    bring(tmp_path / "first.json")
    assert rows(database, "SELECT count(*) FROM epochs") == [(4,)]
