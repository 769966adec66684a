"""Imported epochs beside the chain's own: who has the word, and where they ended."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl
import psycopg
import pytest

from operator_prices import store
from operator_prices.chain import Reach
from operator_prices.epochs import tables
from operator_prices.epochs.windows import EpochWindow
from operator_prices.legacy.end_hashes import differing, recheck_imported
from operator_prices.legacy.importing import import_window
from operator_prices.legacy.read_paths import compare
from operator_prices_tests.support.legacy_imports import (
    Import,
    failed,
    forget_all,
    keep_as_read,
    parse,
    prices,
    published,
    rows,
)
from operator_prices_tests.support.legacy_samples import (
    document,
    end_hash,
    history,
    operator_entry,
    price_of,
    row,
    write_sqlite,
)


def test_what_was_read_from_the_chain_stands_whatever_the_order(
    database: psycopg.Connection, imported: Import, tmp_path: Path
) -> None:
    for statement in (
        (
            "INSERT INTO epochs (epoch, end_block, end_hash, timestamp, data, domain_id, source,"
            " complete) VALUES (3, 1, '0xchain', 5, '"
            '{"operators": {"entries": [{"key": ["0"], "value": {"currentTotalShares": "9"}}]},'
            ' "operatorEpochSharePrice": {"entries": [{"key": ["0", "[0,3]"], "value": "5"}]}}'
            "', 0, 'chain', true)"
        ),
        "INSERT INTO operator_share_prices VALUES (3, 0, 5, 'chain'), (4, 0, 6, 'derived')",
        (
            "INSERT INTO operator_shares (epoch, operator_id, shares_raw, source)"
            " VALUES (3, 0, 9, 'chain')"
        ),
    ):
        database.execute(statement.encode())
    imported(write_sqlite(tmp_path / "old.db", history(10)))
    assert rows(database, "SELECT end_hash, source FROM epochs WHERE epoch = 3") == [
        ("0xchain", "chain")
    ]
    assert prices(database, 3)[0] == (5, "chain")
    assert prices(database, 4)[0] == (price_of(4, 0), "epochs_json")
    assert rows(database, "SELECT shares_raw FROM operator_shares WHERE epoch = 3") == [(9,)]


class Ledger:
    """Block hashes of a chain, where block 105 is another one than the snapshot says."""

    def __init__(self, first_block: int = 1) -> None:
        self.asked: list[list[int]] = []
        self.first_block = first_block

    def reach(self) -> Reach:
        return Reach(self.first_block, 0)

    def block_hashes(self, blocks: Sequence[int]) -> list[str | None]:
        self.asked.append(list(blocks))
        return [
            None
            if block == 108 or block < self.first_block
            else end_hash(block - 100)
            if block != 105
            else "0xother"
            for block in blocks
        ]


def test_end_hashes_of_imported_epochs_are_compared_with_the_chain_once(
    database: psycopg.Connection, tmp_path: Path
) -> None:
    file = write_sqlite(tmp_path / "old.db", history(10))
    import_window(database, str(file), EpochWindow(0), domain_id=0)
    ledger: Any = Ledger()
    assert recheck_imported(database, ledger, until=100) == (10, 2)
    assert recheck_imported(database, ledger, until=100) == (0, 0)
    assert len(ledger.asked) == 1
    assert rows(
        database,
        "SELECT epoch, chain_hash FROM legacy_hashes WHERE end_hash IS DISTINCT FROM chain_hash",
    ) == [(5, "0xother"), (8, None)]
    assert differing(database, 0, 100) == [5, 8]
    assert differing(database, 6, 100) == [8]


def test_blocks_that_a_node_never_had_wait_for_one_that_has_them(
    database: psycopg.Connection, tmp_path: Path
) -> None:
    file = write_sqlite(tmp_path / "old.db", history(10))
    import_window(database, str(file), EpochWindow(0), domain_id=0)
    short: Any = Ledger(first_block=104)
    assert recheck_imported(database, short, until=100) == (6, 2)
    assert differing(database, 0, 100) == [5, 8]
    whole: Any = Ledger()
    assert recheck_imported(database, whole, until=100) == (4, 0)
    assert whole.asked == [[100, 101, 102, 103]]


def test_a_hash_is_the_same_however_its_letters_are_written(
    database: psycopg.Connection, tmp_path: Path
) -> None:
    snapshots = [row(epoch)._replace(end_hash=f"0x{10**40 + epoch:064X}") for epoch in range(3)]
    file = write_sqlite(tmp_path / "old.db", snapshots)
    import_window(database, str(file), EpochWindow(0), domain_id=0)

    class Lower:
        def block_hashes(self, blocks: Sequence[int]) -> list[str | None]:
            return [f"0x{10**40 + block - 100:064x}" for block in blocks]

    ledger: Any = Lower()
    assert recheck_imported(database, ledger, until=100) == (3, 0)
    assert differing(database, 0, 100) == []


@pytest.mark.e2e
@pytest.mark.parametrize("keep_raw", [False, True])
def test_import_and_chain_give_the_same_tables_in_either_order(
    database: psycopg.Connection, imported: Import, tmp_path: Path, *, keep_raw: bool
) -> None:
    """Also where a snapshot is of another block than the chain's, of which it then says nothing."""
    snapshots = history(110)
    operators = [operator_entry(operator) for operator in (0, 1, 9)]  # 9 is of another block alone
    snapshots[2] = row(2, document(2, operators=operators))
    file = write_sqlite(tmp_path / "old.db", snapshots)
    imported(file)
    told = store.read(database, tables.EPOCHS, EpochWindow(0))[2:4]
    stated = [json.loads(data) for data in told["data"]]
    for one in stated:
        one["operatorEpochSharePrice"] = {"entries": []}
        one["deposits"] = one["withdrawals"] = one["successfulBundles"] = {"count": None}
    stated[0]["operators"]["entries"].pop()
    chain = told.with_columns(
        source=told["source"].replace("legacy", "chain"),
        end_hash=pl.Series([f"0x{'cd' * 32}", told["end_hash"][1]]),
        data=pl.Series([json.dumps(one) for one in stated]),
    )
    forget_all(database)

    def read_from_chain() -> None:
        keep_as_read(database, chain)
        parse(database, EpochWindow(0))

    imported(file, keep_raw=keep_raw)
    read_from_chain()
    first = published(database)
    assert prices(database, 2) == [(500_000_000_000_000_000, "derived")] * 2
    assert prices(database, 3) == [(price_of(3, operator), "epochs_json") for operator in range(2)]
    counts = (
        "SELECT epoch, deposits_count FROM comprehensive_analytics WHERE epoch IN (2, 3) ORDER BY 1"
    )
    assert rows(database, counts) == [(2, None), (3, 3)]
    assert list(compare(database, 0, 109)) == []
    assert failed(database) == {}

    database.execute("TRUNCATE legacy_windows")
    imported(file, keep_raw=keep_raw)
    assert published(database) == first

    forget_all(database)
    read_from_chain()
    imported(file, keep_raw=keep_raw)
    assert published(database) == first
    assert list(compare(database, 0, 109)) == []
    assert failed(database) == {}


def test_the_role_of_the_api_may_read_what_snapshots_told(database: psycopg.Connection) -> None:
    for table in ("legacy_prices", "legacy_hashes"):
        query = "SELECT has_table_privilege('operator_prices_reader', %s, 'SELECT')"
        assert database.execute(query, [table]).fetchone() == (True,)


def test_an_imported_epoch_that_ended_elsewhere_takes_its_parsed_rows_with_it(
    database: psycopg.Connection, imported: Import, tmp_path: Path
) -> None:
    imported(write_sqlite(tmp_path / "old.db", history(5)))
    frame = store.read(database, tables.EPOCHS, EpochWindow(0))[2:3]
    chain = frame.with_columns(end_hash=frame["end_hash"] + "0", source=frame["source"])
    chain = chain.with_columns(source=chain["source"].replace("legacy", "chain"))
    keep_as_read(database, chain)
    assert rows(database, "SELECT FROM operator_shares WHERE epoch = 2") == []
    assert rows(database, "SELECT FROM operator_share_prices WHERE epoch = 2") == []
    assert len(rows(database, "SELECT FROM operator_shares WHERE epoch = 3")) == 2
