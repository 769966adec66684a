"""An import of the database's own table, which the old system had filled, and the way back."""

from pathlib import Path

import psycopg
import pytest

from operator_prices import store
from operator_prices.epochs import tables
from operator_prices.epochs.windows import EpochWindow
from operator_prices.store import migrations
from operator_prices_tests.support.legacy_imports import (
    ANALYTICS,
    OLD_TABLE,
    PRICES,
    Import,
    failed,
    keep_old,
    prices,
    published,
    rows,
)
from operator_prices_tests.support.legacy_samples import (
    history,
    write_sqlite,
)


@pytest.mark.e2e
def test_in_place_the_rows_are_normalized_and_stay_as_they_were(old: str, imported: Import) -> None:
    before = rows(old, "SELECT xmin::text, ctid::text, * FROM epochs ORDER BY epoch")
    said = imported()
    assert said["epochs"] == 230
    assert rows(old, "SELECT xmin::text, ctid::text, * FROM epochs ORDER BY epoch") == before
    with psycopg.connect(old) as connection:
        assert failed(connection) == {}
        assert len(rows(connection, PRICES)) == 460
        assert rows(connection, "SELECT count(*) FROM epochs_original") == [(0,)]


@pytest.mark.e2e
def test_an_import_from_elsewhere_and_one_in_place_publish_the_same(
    old: str, imported: Import, tmp_path: Path
) -> None:
    imported()
    first = published(old)
    imported(reduce=True)
    assert published(old) == first
    assert rows(old, "SELECT count(*) FROM normalized_epochs") == [(0,)]
    assert rows(old, "SELECT DISTINCT source FROM epochs") == [("legacy",)]
    with psycopg.connect(old) as connection:
        assert failed(connection) == {}
    imported(write_sqlite(tmp_path / "old.db", history(230)))
    assert published(old) == first


@pytest.mark.e2e
@pytest.mark.parametrize("reduce", [False, True])
def test_after_a_rollback_the_old_database_answers_as_before(
    dsn: str, imported: Import, tmp_path: Path, *, reduce: bool
) -> None:
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(OLD_TABLE)
        keep_old(connection, history(120))
    answers = ("SELECT * FROM epochs ORDER BY epoch", ANALYTICS)
    before = [rows(dsn, query) for query in answers]
    for _ in range(2):
        migrations.migrate(dsn)
        imported(reduce=reduce)
        imported(write_sqlite(tmp_path / "more.db", history(140)))
        assert len(rows(dsn, "SELECT FROM epochs")) == 140
        (tmp_path / "more.db").unlink()
        migrations.rollback(dsn)
        assert [rows(dsn, query) for query in answers] == before


def test_a_row_of_the_old_system_that_is_not_imported_yet_is_no_ones_business(
    old: str, imported: Import
) -> None:
    with psycopg.connect(old, autocommit=True) as connection:
        assert store.read(connection, tables.EPOCHS, EpochWindow(0)).is_empty()
        imported()
        keep_old(connection, history(231)[230:])
        assert store.read(connection, tables.EPOCHS, EpochWindow(200)).height == 30
        imported()
        assert store.read(connection, tables.EPOCHS, EpochWindow(200)).height == 31
        assert [source for _, source in prices(connection, 229)] == ["epochs_json"] * 2
