"""The database of a command."""

from pathlib import Path

import pytest

from operator_prices.local.database import UnusableDatabaseError, usable_database
from operator_prices.settings import Settings


@pytest.mark.parametrize(
    "url", ["me:secret@db.example/prices", "postgresql://me:not@secret@db.example/prices"]
)
def test_a_database_address_that_is_none_is_refused_without_its_text(
    url: str, tmp_path: Path
) -> None:
    settings = Settings(data_dir=tmp_path, database_url=url)
    with (
        pytest.raises(UnusableDatabaseError, match="DATABASE_URL") as raised,
        usable_database(settings),
    ):
        pass
    assert "secret" not in str(raised.value)
