"""What a person at a terminal is told."""

import psycopg
import pytest

from operator_prices import store
from operator_prices.chain import Head, Reach
from operator_prices.cli.console import Console
from operator_prices.runs.backfill import Backfilled
from operator_prices.runs.legacy import ImportedSource
from operator_prices.store import signs


def test_a_source_without_rows_is_said_to_have_none_and_nothing_else(
    capsys: pytest.CaptureFixture[str],
) -> None:
    Console().imported(ImportedSource("/srv/old.db"))
    assert capsys.readouterr().out == "/srv/old.db has no rows to import.\n"


def test_a_backfill_says_which_imported_epochs_ended_elsewhere(
    capsys: pytest.CaptureFixture[str],
) -> None:
    Console().backfilled(Backfilled(differing=[5, 8]))
    assert "another block than their snapshot says: 2, 5, 8" in capsys.readouterr().out


def test_the_status_says_who_works_on_which_run_and_when_they_were_heard_of(
    database: psycopg.Connection, capsys: pytest.CaptureFixture[str]
) -> None:
    told = {"launcher": "CeleryRunLauncher", "process": "m/1@2.00", "version": "0.0.9"}
    signs.begin(database, "7f0c5b1e-aaaa", host="h2", **told)
    known = signs.all_signs(database)
    Console().status(Head(9, 5, None), Reach(0, 0), store.summary(database), known)
    out = " ".join(capsys.readouterr().out.split())
    assert (
        "Run 7f0c5b1e on host h2 (CeleryRunLauncher, version 0.0.9) gave a sign of life 0 s ago"
        in out
    )


def test_while_a_source_is_read_its_rows_are_counted(capsys: pytest.CaptureFixture[str]) -> None:
    tell, patient = Console().reading(every=0), Console().reading()
    for rows in (1, 2_000):
        tell(rows)
        patient(rows)
    assert capsys.readouterr().err == (
        "reading the source: 1 rows\nreading the source: 2,000 rows\n"
    )
