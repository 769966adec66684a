"""What a person at a terminal is told."""

import pytest

from operator_prices.cli.console import Console
from operator_prices.runs.backfill import Backfilled
from operator_prices.runs.legacy import ImportedSource


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
