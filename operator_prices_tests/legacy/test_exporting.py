"""Exports, and imports of them."""

from pathlib import Path

import psycopg
import pytest

from operator_prices.legacy.exporting import ExportError, export
from operator_prices_tests.support.legacy_imports import EPOCHS, Import, published, rows
from operator_prices_tests.support.legacy_samples import (
    history,
    write_sqlite,
)


def test_an_export_imported_again_gives_the_same_rows(
    database: psycopg.Connection, imported: Import, tmp_path: Path
) -> None:
    snapshots = [told for told in history(110) if told.epoch not in {7, 99}]
    imported(write_sqlite(tmp_path / "old.db", snapshots))
    first = [rows(database, EPOCHS), *published(database)]
    assert export(database, tmp_path / "out.db") == 108
    database.execute(
        "TRUNCATE epochs, operator_share_prices, operator_shares, operators_metadata,"
        " epoch_analytics, legacy_prices, legacy_windows"
    )
    imported(tmp_path / "out.db")
    assert [rows(database, EPOCHS), *published(database)] == first


def test_an_export_never_replaces_a_file(database: psycopg.Connection, tmp_path: Path) -> None:
    (tmp_path / "out.db").write_text("mine")
    with pytest.raises(ExportError, match="exists already"):
        export(database, tmp_path / "out.db")
    assert (tmp_path / "out.db").read_text() == "mine"
