"""Sources with broken rows: each is named, and the rest is imported exactly."""

import json
import random
import sqlite3
from pathlib import Path

import psycopg
import pytest

from operator_prices.legacy.quarantine import in_quarantine
from operator_prices.legacy.read_paths import compare
from operator_prices.legacy.snapshots import Row
from operator_prices.legacy.tables import left_out
from operator_prices_tests.support.legacy_imports import (
    PRICES,
    SHARES,
    Import,
    failed,
    keep_old,
    prices,
    rows,
)
from operator_prices_tests.support.legacy_samples import (
    document,
    operator_entry,
    operator_value,
    price_entry,
    price_of,
    row,
    write_sqlite,
)


def broken(kind: int, told: Row) -> tuple[Row, str]:
    """The row with something wrong in it, and the path where that is."""
    data = json.loads(str(told.data))
    entries = data["operators"]["entries"]
    prices = data["operatorEpochSharePrice"]["entries"]
    key, _, _ = entries[1]["value"].partition(",")
    past = told.epoch - 1

    def operator(**changes: object) -> None:
        entries[1] = {"key": ["1"], "value": f"{key},{json.dumps(operator_value(**changes))}"}

    match kind:
        case 0:
            return told._replace(data=str(told.data)[:-30]), "data"
        case 1:
            del data["domainStakingSummary"]
            path = "data.domainStakingSummary"
        case 2:
            operator(currentTotalStake="a lot")
            path = "data.operators.entries[1].value.currentTotalStake"
        case 3:
            entries[1] = {"key": ["1"], "value": json.dumps(operator_value())}
            path = "data.operators.entries[1].value"
        case 4:
            prices[-1] = price_entry(1, past, 10**18 + 1)
            path = f"data.operatorEpochSharePrice.entries[{len(prices) - 1}].value"
        case 5:
            prices[-1] = price_entry(1, past, 0)
            path = f"data.operatorEpochSharePrice.entries[{len(prices) - 1}].value"
        case _:
            operator(currentTotalStake=1, currentTotalShares=2)
            path = "data.operators.entries[1].value.currentTotalShares"
    return told._replace(data=json.dumps(data)), path


def own_prices(epochs: int) -> list[Row]:
    """Snapshots that tell the prices of the epoch before, and no others."""
    return [
        row(
            epoch,
            document(
                epoch,
                operators=[operator_entry(operator, operator) for operator in range(2)],
                prices=[
                    price_entry(operator, epoch - 1, price_of(epoch - 1, operator))
                    for operator in range(2)
                ]
                if epoch
                else [],
            ),
        )
        for epoch in range(epochs)
    ]


@pytest.mark.e2e
def test_of_a_source_with_broken_rows_the_rest_is_imported_exactly_and_each_is_named(
    database: psycopg.Connection, imported: Import, tmp_path: Path
) -> None:
    whole = own_prices(700)
    imported(write_sqlite(tmp_path / "whole.db", whole))
    true_prices, true_shares = rows(database, PRICES), rows(database, SHARES)
    database.execute(
        "TRUNCATE epochs, operator_share_prices, operator_shares, operators_metadata,"
        " epoch_analytics, legacy_prices, legacy_windows, quarantine"
    )

    spoilt = sorted(random.Random(4).sample(range(2, 699, 2), 7))  # noqa: S311
    paths = {}
    snapshots = list(whole)
    for kind, epoch in enumerate(spoilt):
        snapshots[epoch], paths[epoch] = broken(kind, whole[epoch])
    said = imported(write_sqlite(tmp_path / "broken.db", snapshots))

    assert (
        dict(
            database.execute(
                "SELECT epoch, path FROM quarantine WHERE source = 'legacy'"
            ).fetchall()
        )
        == paths
    )
    assert rows(database, "SELECT FROM quarantine WHERE reason = '' OR raw IS NULL") == []
    assert said["quarantined"] == 7
    by_kind = dict(enumerate(spoilt))
    lost_shares = {(by_kind[0], 0), (by_kind[0], 1)} | {(by_kind[kind], 1) for kind in (2, 3, 6)}
    unknown_stakes = by_kind[1]
    got = rows(database, SHARES)
    assert [told for told in got if told[0] != unknown_stakes] == [
        told for told in true_shares if told[:2] not in lost_shares and told[0] != unknown_stakes
    ]
    assert [told[4:6] for told in got if told[0] == unknown_stakes] == [(None, None)] * 2
    lost_prices = {(by_kind[0] - 1, 0), (by_kind[0] - 1, 1)}  # the broken row told them: derived
    withheld = {(by_kind[kind] - 1, 1) for kind in (4, 5)}
    got_prices = rows(database, PRICES)
    assert [told for told in got_prices if told[:2] not in lost_prices] == [
        told for told in true_prices if told[:2] not in lost_prices | withheld
    ]
    assert {told[3] for told in got_prices if told[:2] in lost_prices} == {"derived"}
    assert not [told for told in got_prices if told[2] == 0]
    findings = failed(database)
    assert [told[0] for told in findings.pop("no gap")] == [by_kind[0]]
    assert {told[0] for told in findings.pop("no incomplete epoch")} == (
        set(spoilt[1:]) - {by_kind[4], by_kind[5]} | {by_kind[4] - 1, by_kind[5] - 1}
    )
    assert findings == {}
    reasons = in_quarantine(database, 0, 700)
    assert sum(count for _, _, count, _ in reasons) == 7


def test_what_is_of_other_domains_is_counted_once_over_all_windows(
    database: psycopg.Connection, imported: Import, tmp_path: Path
) -> None:
    told = document(
        0,
        operators=[operator_entry(0), operator_entry(7, currentDomainId=1)],
        prices=[price_entry(operator, 0, 5, domain=1) for operator in (7, 8)],
    )
    snapshots = [row(epoch, told | {"epoch": epoch}) for epoch in (0, 1, 100, 101, 200)]
    assert imported(write_sqlite(tmp_path / "old.db", snapshots))["foreign"] == 3
    assert left_out(database) == 3
    assert failed(database).keys() == {"no gap"}


@pytest.mark.parametrize("keep_raw", [False, True])
def test_equal_rows_of_one_epoch_are_one_and_of_different_ones_none_is_taken(
    database: psycopg.Connection, imported: Import, tmp_path: Path, *, keep_raw: bool
) -> None:
    file = tmp_path / "old.db"
    blanks = json.dumps(document(2), indent=1)
    with sqlite3.connect(file) as connection:
        connection.execute("CREATE TABLE epochs (epoch, end_block, end_hash, timestamp, data)")
        told = [row(0), row(0, document(0, note="second")), row(1), row(1), row(2), row(2, blanks)]
        connection.executemany("INSERT INTO epochs VALUES (?, ?, ?, ?, ?)", told)
    connection.close()
    said = imported(file, keep_raw=keep_raw)
    assert (said["rows"], said["epochs"]) == (6, 2)
    assert rows(database, "SELECT epoch FROM epochs ORDER BY 1") == [(1,), (2,)]
    assert in_quarantine(database, 0, 9) == [
        ("epochs", "is there more than once, and not always the same", 2, 0)
    ]


def test_prices_do_not_depend_on_where_a_broken_row_stands(
    database: psycopg.Connection, imported: Import, tmp_path: Path
) -> None:
    for last in (50, 100):
        snapshots = [
            row(epoch, document(epoch, operators=[operator_entry(0)]))
            for epoch in (last - 2, last - 1)
        ]
        told = row(last, document(last, prices=[price_entry(0, last - 1, 7)]))
        file = write_sqlite(tmp_path / f"{last}.db", [*snapshots, told._replace(end_hash="0x12")])
        imported(file)
        assert prices(database, last - 1) == [(7, "epochs_json")]


def test_what_is_in_quarantine_of_rows_left_as_they_were_is_no_difference(
    old: str, imported: Import
) -> None:
    summary = {"currentTotalStake": "5", "currentOperators": {"1,000": "4"}}
    with psycopg.connect(old, autocommit=True) as connection:
        connection.execute("TRUNCATE epochs")
        keep_old(
            connection,
            [
                row(-1),
                row(0, document(0, operators=[operator_entry(0)])),
                row(1, document(1, operators=[operator_entry(0)]), end_hash="0x12"),
                row(2, document(7, prices=[price_entry(0, 1, 9)])),
                row(
                    3,
                    document(
                        3,
                        domainStakingSummary=summary,
                        operators=[
                            operator_entry(1000),
                            operator_entry(1, currentDomainId=1),
                            operator_entry(2, signingKey="0x12"),
                            operator_entry(3, minimumNominatorStake="none"),
                            operator_entry(2**40),
                            {"key": ["4"], "value": operator_entry(4)["value"][:-1]},  # type: ignore[index]
                        ],
                        prices=[
                            price_entry(1000, 0, 6),
                            price_entry(1000, 0, 5),
                            price_entry(1000, 9, 5),
                            {"key": ["0", "[0,99999999999]"], "value": "5"},
                            {"key": ["0", "x"], "value": "5"},
                        ],
                    ),
                ),
            ],
        )
        imported()
        assert failed(connection).keys() == {"no incomplete epoch"}
        assert prices(connection, 0)[-1] == (5, "epochs_json")
        assert list(compare(connection, 0, 9)) == []
        shares = "SELECT active_stake_raw, reward_raw FROM operator_shares WHERE epoch = 3"
        assert rows(connection, shares) == [(4, None)]
