"""Exports in every form, and imports of them."""

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, get_args

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from operator_prices.amounts import ONE
from operator_prices.legacy.exporting import ExportError, Form, export
from operator_prices.legacy.importing import import_window
from operator_prices.legacy.sources import open_source
from operator_prices.legacy.staging import staged
from operator_prices.local.postgres import programs
from operator_prices_tests.support.legacy_forms import item, reciprocal
from operator_prices_tests.support.legacy_imports import (
    EPOCHS,
    Import,
    forget_all,
    parse,
    published,
    rows,
)
from operator_prices_tests.support.legacy_samples import (
    document,
    history,
    operator_entry,
    price_entry,
    row,
    write_sqlite,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from operator_prices.epochs.windows import EpochWindow

FORMS: tuple[Form, ...] = get_args(Form)


def bring_in(database: psycopg.Connection, place: Path, folder: Path) -> list[object]:
    """Import all windows without Dagster; return all that is published."""
    with staged(str(place), folder, lambda: programs.binaries() / "pg_restore") as source:
        with open_source(source.place, database) as opened:
            windows: Sequence[EpochWindow] = opened.windows()
        for window in windows:
            import_window(database, source.place, window, domain_id=0)
            parse(database, window)
    return [rows(database, EPOCHS), *published(database)]


text = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0"), max_size=8)
amounts = st.integers(1, 2**96)


@st.composite
def sources(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Rows and items of the first generation, with gaps, odd texts and large numbers."""
    found: list[dict[str, Any]] = []
    for epoch in sorted(draw(st.sets(st.integers(0, 130), min_size=1, max_size=6))):
        prices = {
            str(operator): draw(st.integers(10**17, ONE))
            for operator in draw(st.sets(st.integers(0, 70), max_size=3))
        }
        if draw(st.booleans()):
            told = {operator: reciprocal(price) for operator, price in prices.items()}
            stakes = {operator: str(draw(amounts)) for operator in prices}
            found.append(item(epoch, operatorSharePrices=told, operatorStakes=stakes))
            continue
        kept = document(
            epoch,
            operators=[
                operator_entry(
                    int(operator), currentTotalStake=2**97, currentTotalShares=draw(amounts)
                )
                for operator in prices
            ],
            prices=[
                price_entry(int(operator), max(0, epoch - 1), price)
                for operator, price in prices.items()
            ],
            note=draw(text),
            large=draw(st.integers(2**53, 2**70)),
        )
        columns = row(epoch)._asdict()
        found.append(columns | {"data": kept})
    return found


@pytest.mark.parametrize("form", FORMS)
@settings(
    max_examples=3, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(source=sources())
def test_an_import_of_an_export_gives_the_same_rows(
    database: psycopg.Connection, form: Form, source: list[dict[str, Any]]
) -> None:
    with TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "source").write_text(json.dumps(source))
        forget_all(database)
        expected = bring_in(database, folder / "source", folder / "staging")
        assert export(database, folder / "out", form) == len(source)
        forget_all(database)
        assert bring_in(database, folder / "out", folder / "staging") == expected
        assert rows(database, "SELECT FROM quarantine") == []


@pytest.mark.parametrize("form", FORMS)
def test_prices_without_an_epoch_of_their_own_come_through(
    database: psycopg.Connection, imported: Import, tmp_path: Path, form: Form
) -> None:
    snapshots = [told for told in history(110) if told.epoch not in {7, 99}]
    imported(write_sqlite(tmp_path / "old.db", snapshots))
    first = [rows(database, EPOCHS), *published(database)]
    assert export(database, tmp_path / "out", form) == 108
    forget_all(database)
    assert bring_in(database, tmp_path / "out", tmp_path / "staging") == first


def test_an_export_of_nothing_is_a_file_of_its_form(
    database: psycopg.Connection, tmp_path: Path
) -> None:
    for form in FORMS:
        assert export(database, tmp_path / form, form) == 0
    assert json.loads((tmp_path / "json").read_text()) == []
    assert (tmp_path / "csv").read_bytes() == b"epoch,end_block,end_hash,timestamp,data\r\n"


@pytest.mark.parametrize("form", FORMS)
def test_an_export_never_replaces_a_file(
    database: psycopg.Connection, tmp_path: Path, form: Form
) -> None:
    (tmp_path / "out").write_text("mine")
    with pytest.raises(ExportError, match="exists already"):
        export(database, tmp_path / "out", form)
    assert [file.read_text() for file in tmp_path.iterdir()] == ["mine"]
