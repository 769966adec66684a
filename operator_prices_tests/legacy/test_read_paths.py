from pathlib import Path

import psycopg
import pytest

from operator_prices.legacy.read_paths import Difference, compare, read_epochs
from operator_prices_tests.support.legacy_samples import (
    SHARED,
    fill,
    history,
    needs_shared,
    price_of,
    write_sqlite,
)


@needs_shared
@pytest.mark.parametrize("keep_raw", [False, True])
def test_both_ways_read_the_same_of_what_the_old_script_wrote(
    database: psycopg.Connection, *, keep_raw: bool
) -> None:
    fill(database, SHARED / "comprehensive-metrics.db", 79, keep_raw=keep_raw)
    assert list(compare(database, 0, 79)) == []
    told = list(read_epochs(database, 3, 5))
    assert told == list(read_epochs(database, 3, 5, path="json"))
    assert [row["epoch"] for row in told] == [3, 4, 5]


@pytest.mark.parametrize("path", ["tables", "json"])
def test_a_row_has_the_shape_of_the_old_api(
    database: psycopg.Connection, tmp_path: Path, path: str
) -> None:
    fill(database, write_sqlite(tmp_path / "old.db", history(120)), 119, keep_raw=True)
    (row,) = read_epochs(database, 99, 99, path=path)  # type: ignore[arg-type]
    assert row == {
        "domainId": 0,
        "epoch": 99,
        "endBlock": 199,
        "timestamp": 1_756_259_880_961,
        "totalStake": "2000000000000000000000",
        "storageFees": "1000000000000000000000",
        "operatorStakes": {"0": "2000000000000000000000", "1": "0"},
        "rewards": {"0": "0", "1": "0", "2": "0", "3": "0"},
        "operatorSharePrices": {
            "0": str(price_of(99, 0)),
            "1": str(price_of(99, 1)),
            "2": "1000000000000000000",
            "3": "1000000000000000000",
        },
        "operators": 2,
        "meta": {
            "rewardsHasAny": False,
            "sharePricesHasAny": True,
            "sampleApplied": False,
            "sharePricesDefaulted": ["2", "3"],
        },
    }


def test_every_difference_is_named(database: psycopg.Connection, tmp_path: Path) -> None:
    fill(database, write_sqlite(tmp_path / "old.db", history(20)), 19)
    database.execute(
        "UPDATE operator_share_prices SET share_price_perq = 5 WHERE (epoch, operator_id) = (3, 1)"
    )
    database.execute("SELECT refresh_epoch_analytics(0, 100)")
    database.execute("DELETE FROM epoch_analytics WHERE epoch = 7")
    assert list(compare(database, 0, 200)) == [
        Difference(3, "operatorSharePrices.1", "5", str(price_of(3, 1))),
        Difference(7, "epoch", tables=False, json=True),
    ]
