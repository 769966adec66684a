"""Whole imports, from a source to the tables."""

from pathlib import Path

import dagster as dg
import psycopg
import pytest

from operator_prices.epochs.windows import EpochWindow, between
from operator_prices.legacy.importing import OtherDomainError, import_window
from operator_prices_tests.support.legacy_imports import (
    EPOCHS,
    PRICES,
    Import,
    as_text,
    expected,
    failed,
    prices,
    published,
    rows,
)
from operator_prices_tests.support.legacy_samples import (
    SHARED,
    document,
    history,
    needs_shared,
    operator_entry,
    price_entry,
    price_of,
    row,
    write_sqlite,
)


@needs_shared
@pytest.mark.parametrize("keep_raw", [False, True])
def test_the_file_of_the_old_script_gives_the_true_rows(
    database: psycopg.Connection, imported: Import, *, keep_raw: bool
) -> None:
    imported(SHARED / "comprehensive-metrics.db", keep_raw=keep_raw)
    told = rows(
        database,
        "SELECT epoch, operator_id, share_price_perq FROM operator_share_prices"
        " WHERE source = 'epochs_json'",
    )
    assert as_text(told) == expected("expected_prices.csv")
    told = rows(
        database,
        "SELECT epoch, operator_id, shares_raw, stake_raw, nomination_tax, reward_raw, status"
        " FROM operator_shares",
    )
    assert as_text(told) == expected("expected_shares.csv")
    told = rows(
        database,
        "SELECT epoch, view.end_block, end_hash, total_stake_raw, total_shares_raw, operator_count"
        " FROM comprehensive_analytics AS view JOIN epochs USING (epoch)",
    )
    assert as_text(told) == expected("expected_metrics.csv")
    assert failed(database) == {}


def test_history_that_every_snapshot_repeats_becomes_one_row_each(
    database: psycopg.Connection, imported: Import, tmp_path: Path
) -> None:
    file = write_sqlite(tmp_path / "old.db", history(230))
    before = file.read_bytes()
    said = imported(file)
    assert said["epochs"] == 230
    assert [told for told in rows(database, PRICES) if told[3] == "epochs_json"] == [
        (epoch, operator, price_of(epoch, operator), "epochs_json")
        for epoch in range(229)
        for operator in range(2)
    ]
    assert [source for _, source in prices(database, 229)] == ["derived"] * 2
    assert failed(database) == {}
    assert file.read_bytes() == before


def test_a_price_whose_own_epoch_has_no_row_is_kept_all_the_same(
    database: psycopg.Connection, imported: Import, tmp_path: Path
) -> None:
    snapshots = [told for told in history(110) if told.epoch not in {7, 99}]
    imported(write_sqlite(tmp_path / "old.db", snapshots))
    for epoch in (7, 98, 99, 108):
        assert prices(database, epoch) == [
            (price_of(epoch, operator), "epochs_json") for operator in range(2)
        ]
    assert rows(database, "SELECT FROM epochs WHERE epoch IN (7, 99)") == []


def test_importing_again_passes_over_what_is_done_and_changes_nothing(
    database: psycopg.Connection, imported: Import, tmp_path: Path
) -> None:
    file = write_sqlite(tmp_path / "old.db", history(130))
    imported(file)
    first = [rows(database, EPOCHS), *published(database)]
    said = imported(file)
    assert (said["already_done"], said["rows"], said["changed_rows"]) == (2, 0, 0)
    database.execute("TRUNCATE legacy_windows")
    said = imported(file)
    assert (said["already_done"], said["rows"], said["changed_rows"]) == (0, 130, 0)
    assert [rows(database, EPOCHS), *published(database)] == first


def test_windows_in_any_order_give_the_same_rows(
    database: psycopg.Connection, tmp_path: Path
) -> None:
    snapshots = [
        row(
            epoch,
            document(
                epoch,
                operators=[operator_entry(0)],
                prices=[
                    # a later snapshot corrects the price of epoch 10, and 150 tells it wrongly
                    price_entry(0, 10, {150: "nothing", 250: 77}.get(epoch, 55)),
                ],
            ),
        )
        for epoch in range(11, 260)
    ]
    file = write_sqlite(tmp_path / "old.db", snapshots)
    windows = list(between(11, 259))
    for order in ([2, 0, 1, 0], [0, 1, 2, 1], [1, 2, 0, 2]):
        database.execute(
            "TRUNCATE epochs, operator_share_prices, legacy_prices, legacy_windows, quarantine"
        )
        for index in order:
            import_window(database, str(file), windows[index], domain_id=0)
            database.execute("TRUNCATE legacy_windows")
        # 251 to 259 say 55 again, and the later snapshot wins
        assert prices(database, 10) == [(55, "epochs_json")]
        assert rows(database, "SELECT told_in FROM legacy_prices") == [(259,)]


def test_a_price_that_becomes_known_later_reaches_the_epoch_it_is_of(
    database: psycopg.Connection, imported: Import, tmp_path: Path
) -> None:
    snapshots = [
        row(
            epoch,
            document(
                epoch,
                operators=[operator_entry(0)],
                prices=[price_entry(0, 50, 123)] if epoch > 210 else [],
            ),
        )
        for epoch in range(220)
    ]
    imported(write_sqlite(tmp_path / "old.db", snapshots))
    assert prices(database, 50) == [(123, "epochs_json")]
    assert rows(
        database, "SELECT data -> 'operatorEpochSharePrice' FROM epochs WHERE epoch = 50"
    ) == [({"entries": [{"key": ["0", "[0,50]"], "value": "123"}]},)]
    assert rows(
        database,
        "SELECT operator_share_prices_json FROM comprehensive_analytics WHERE epoch = 50",
    ) == [({"0": "123"},)]
    assert failed(database) == {}


def test_a_database_of_another_domain_is_refused(
    database: psycopg.Connection, tmp_path: Path
) -> None:
    database.execute("INSERT INTO chain_identity VALUES ('0xabc', 3)")
    file = write_sqlite(tmp_path / "old.db", history(2))
    with pytest.raises(OtherDomainError, match="domain 3"):
        import_window(database, str(file), EpochWindow(0), domain_id=0)


def test_an_epoch_that_is_hardly_true_costs_no_more_than_another(
    database: psycopg.Connection, imported: Import, instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    imported(write_sqlite(tmp_path / "old.db", [row(0), row(2**31 - 1, end_block=5)]))
    assert rows(database, "SELECT epoch FROM epochs ORDER BY 1") == [(0,), (2**31 - 1,)]
    assert len(instance.get_dynamic_partitions("epoch_windows")) == 2
