"""What the store keeps, and what it leaves alone."""

import json
from concurrent.futures import ThreadPoolExecutor

import polars as pl
import psycopg
import pytest
from polars.testing import assert_frame_equal

from operator_prices import store
from operator_prices.chain import QUARANTINED, SKIPPED, WrongChainError
from operator_prices.epochs.tables import (
    EPOCHS,
    OPERATOR_SHARE_PRICES,
    OPERATOR_SHARES,
    OPERATORS_METADATA,
    TABLES,
    Table,
)
from operator_prices.epochs.windows import EpochWindow

WINDOW = EpochWindow(0)
GENESIS = "0x" + "ab" * 32


def prices(*rows: tuple[int, int, int, str]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=OPERATOR_SHARE_PRICES.columns, orient="row")


def raw(epoch: int, end_hash: str = "0x01", *, complete: bool = True) -> dict[str, object]:
    return {
        "epoch": epoch,
        "end_block": 100 * epoch,
        "end_hash": end_hash,
        "timestamp": 1_750_000_000_000,
        "data": "{}",
        "domain_id": 0,
        "source": "chain",
        "spec_version": 6,
        "transition_block": 100 * epoch + 1,
        "transition_hash": f"{end_hash}ff",
        "complete": complete,
    }


def keep(
    database: psycopg.Connection,
    *rows: dict[str, object],
    quarantined: list[dict[str, object]] | None = None,
    skipped: list[tuple[object, ...]] | None = None,
    genesis: str = GENESIS,
) -> int:
    return store.keep_epochs(
        database,
        pl.DataFrame(rows, schema=EPOCHS.columns),
        pl.DataFrame(quarantined or [], schema=QUARANTINED),
        pl.DataFrame(skipped or [], schema=SKIPPED, orient="row"),
        genesis_hash=genesis,
        domain_id=0,
    )


def operator(
    operator_id: int,
    first: int,
    last: int,
    *,
    tax: int = 5,
    status: str = "Registered",
    owner: str | None = "owner",
) -> tuple[object, ...]:
    return (operator_id, first, last, owner, "0x", tax, 1, status)


def operators(*rows: tuple[object, ...]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=OPERATORS_METADATA.columns, orient="row")


def test_what_is_written_is_read_back(database: psycopg.Connection) -> None:
    told = prices((1, 0, 10**18, "chain"), (1, 1, 5, "derived"), (2, 0, 7, "chain"))
    assert store.write(database, OPERATOR_SHARE_PRICES, told) == 3
    assert_frame_equal(store.read(database, OPERATOR_SHARE_PRICES, WINDOW), told)


def test_any_u128_survives(database: psycopg.Connection) -> None:
    widest = 2**128 - 1
    row = (1, 0, widest, widest, 0, None, widest, 7, "Registered", None, None, "su1", "chain")
    told = pl.DataFrame([row], schema=OPERATOR_SHARES.columns, orient="row")
    store.write(database, OPERATOR_SHARES, told)
    assert_frame_equal(store.read(database, OPERATOR_SHARES, WINDOW), told)


def test_writing_the_same_again_touches_no_row(database: psycopg.Connection) -> None:
    told = prices((1, 0, 10, "chain"))
    store.write(database, OPERATOR_SHARE_PRICES, told)
    version = "SELECT xmin, ctid FROM operator_share_prices"
    before = database.execute(version).fetchall()
    assert store.write(database, OPERATOR_SHARE_PRICES, told) == 0
    assert database.execute(version).fetchall() == before


def test_two_who_write_the_same_rows_at_once_for_the_first_time_agree(
    database: psycopg.Connection, dsn: str
) -> None:
    with (
        store.connect(dsn) as other,
        store.connect(dsn) as watching,
        ThreadPoolExecutor() as threads,
    ):
        with database.transaction():
            first = prices((1, 0, 10, "chain"), (1, 1, 20, "derived"))
            assert store.write(database, OPERATOR_SHARE_PRICES, first) == 2
            second = prices((1, 0, 10, "chain"), (1, 1, 21, "chain"), (1, 2, 30, "chain"))
            written = threads.submit(store.write, other, OPERATOR_SHARE_PRICES, second)
            while not watching.execute("SELECT FROM pg_locks WHERE NOT granted").fetchall():
                assert not written.done()
        assert written.result() == 2
    assert_frame_equal(store.read(database, OPERATOR_SHARE_PRICES, WINDOW), second)


def test_rows_that_are_not_mentioned_are_kept(database: psycopg.Connection) -> None:
    store.write(database, OPERATOR_SHARE_PRICES, prices((1, 0, 10, "chain"), (2, 0, 20, "chain")))
    assert store.write(database, OPERATOR_SHARE_PRICES, prices((1, 0, 11, "chain"))) == 1
    rows = store.read(database, OPERATOR_SHARE_PRICES, WINDOW)["share_price_perq"].to_list()
    assert rows == [11, 20]


@pytest.mark.parametrize("first", ["chain", "epochs_json", "derived"])
@pytest.mark.parametrize("second", ["chain", "epochs_json", "derived"])
def test_no_price_gives_way_to_a_weaker_source(
    database: psycopg.Connection, first: str, second: str
) -> None:
    strength = ["derived", "epochs_json", "chain"]
    store.write(database, OPERATOR_SHARE_PRICES, prices((1, 0, 10, first)))
    store.write(database, OPERATOR_SHARE_PRICES, prices((1, 0, 11, second)))
    (kept,) = store.read(database, OPERATOR_SHARE_PRICES, WINDOW).rows()
    wins = strength.index(second) >= strength.index(first)
    assert kept == (1, 0, 11 if wins else 10, second if wins else first)


def test_kept_epochs_are_no_longer_lacking(database: psycopg.Connection) -> None:
    assert keep(database, raw(1), raw(2, complete=False), skipped=[(4, 400, "0x")]) == 2
    assert store.lacking(database, WINDOW, until=5) == [0, 2, 3, 5]
    assert keep(database, raw(1), raw(2)) == 1
    assert store.lacking(database, WINDOW, until=5) == [0, 3, 5]


@pytest.mark.parametrize("others", [(), (3,)], ids=["where nothing is", "beside others"])
def test_raw_epochs_come_back_as_they_were_and_uncompressed(
    database: psycopg.Connection, others: tuple[int, ...]
) -> None:
    keep(database, *map(raw, others))
    strange = {"a\\n": 'one "quoted", \\N\n\tnext\r\u2028', "b": "y" * 5000}
    lacking = dict.fromkeys(("timestamp", "spec_version", "transition_block", "transition_hash"))
    told = [
        raw(2) | {"data": json.dumps(strange)},
        raw(3, complete=False) | lacking,
        raw(4) | {"end_hash": None, "data": '{"c": null}'},
    ]
    assert keep(database, *told) == 3
    read = store.read(database, EPOCHS, WINDOW)
    assert json.loads(read["data"][0]) == strange
    expected = pl.DataFrame(told, schema=EPOCHS.columns).drop("data")
    assert_frame_equal(read.drop("data"), expected)
    packed = "SELECT DISTINCT pg_column_compression(data) FROM epochs"
    assert database.execute(packed).fetchall() == [(None,)]


def test_what_was_known_of_nominators_at_another_block_goes_with_the_first_raw_epoch(
    database: psycopg.Connection,
) -> None:
    database.execute(
        "INSERT INTO nominator_epochs (epoch, end_hash, listed, complete, source)"
        " VALUES (1, '0x09', true, true, 'chain'), (2, '0x02', true, true, 'chain')"
    )
    assert keep(database, raw(1), raw(2, "0x02")) == 2
    assert database.execute("SELECT epoch FROM nominator_epochs").fetchall() == [(2,)]


def test_an_epoch_that_became_another_one_takes_its_rows_with_it(
    database: psycopg.Connection,
) -> None:
    keep(database, raw(1), raw(2))
    told = prices((1, 0, 10, "chain"), (2, 0, 20, "chain"))
    store.write(database, OPERATOR_SHARE_PRICES, told)
    keep(database, raw(1, "0x02"), raw(2))
    assert store.read(database, OPERATOR_SHARE_PRICES, WINDOW)["epoch"].to_list() == [2]


def test_quarantine_holds_what_the_last_reading_left(database: psycopg.Connection) -> None:
    misfit: dict[str, object] = {
        "epoch": 1,
        "block_hash": "0x01",
        "item": "Operators",
        "storage_key": "0x",
        "operator_id": 3,
        "spec_version": 6,
        "raw": "0xff",
        "reason": "1 byte is no operator",
    }
    for _ in range(2):
        keep(database, raw(1, complete=False), quarantined=[misfit])
        assert store.summary(database).quarantined == 1
    assert store.incomplete(database, 0, 9) == [1]
    keep(database, raw(1))
    assert store.summary(database).quarantined == 0


def test_another_chain_is_refused_with_both_hashes(database: psycopg.Connection) -> None:
    keep(database, raw(1))
    other = "0x" + "cd" * 32
    with pytest.raises(WrongChainError, match=f"{GENESIS}.*{other}"):
        keep(database, raw(2), genesis=other)
    assert store.summary(database).epochs == 1


def test_the_latest_epoch_has_the_word_on_an_operator_in_whatever_order(
    database: psycopg.Connection,
) -> None:
    keep(database, raw(150), raw(20))
    store.merge_operators(database, operators(operator(0, 100, 150, tax=9), operator(1, 100, 120)))
    store.merge_operators(database, operators(operator(0, 3, 20), operator(2, 5, 20)))
    rows = database.execute(
        "SELECT operator_id, first_seen_epoch, last_seen_epoch, nomination_tax, is_active"
        " FROM operators_metadata ORDER BY 1"
    ).fetchall()
    assert rows == [(0, 3, 150, 9, True), (1, 100, 120, 5, False), (2, 5, 20, 5, False)]
    assert store.merge_operators(database, operators(operator(0, 3, 20))) == 0


def test_an_owner_that_is_known_is_not_forgotten_by_an_epoch_that_does_not_name_it(
    database: psycopg.Connection,
) -> None:
    keep(database, raw(9))
    owner = "SELECT owner, last_seen_epoch FROM operators_metadata"
    store.merge_operators(database, operators(operator(0, 1, 5, owner="sue")))
    store.merge_operators(database, operators(operator(0, 1, 9, owner=None)))
    assert database.execute(owner).fetchone() == ("sue", 9)
    database.execute("UPDATE operators_metadata SET owner = NULL")
    assert store.merge_operators(database, operators(operator(0, 1, 5, owner="sue"))) == 1
    assert database.execute(owner).fetchone() == ("sue", 9)


def test_an_operator_that_is_no_longer_registered_is_not_active(
    database: psycopg.Connection,
) -> None:
    keep(database, raw(9))
    store.merge_operators(database, operators(operator(0, 1, 9, status="Slashed")))
    assert database.execute("SELECT is_active FROM operators_metadata").fetchone() == (False,)


def test_what_people_set_is_never_overwritten(database: psycopg.Connection) -> None:
    keep(database, raw(9))
    store.merge_operators(database, operators(operator(0, 1, 8)))
    assert store.name_operator(database, 0, "Alice", None)
    assert store.name_operator(database, 0, None, "#aabbcc")
    assert not store.name_operator(database, 7, "Bob", None)
    store.merge_operators(database, operators(operator(0, 1, 9, tax=50)))
    row = database.execute("SELECT name, color, nomination_tax FROM operators_metadata").fetchone()
    assert row == ("Alice", "#aabbcc", 50)


def test_gaps_are_found_and_skipped_epochs_are_none(database: psycopg.Connection) -> None:
    keep(database, raw(2), raw(3), raw(7), skipped=[(5, 500, "0x")])
    summary = store.summary(database)
    assert summary.gaps == [(0, 1), (4, 4), (6, 6)]
    assert (summary.epochs, summary.first_epoch, summary.last_epoch) == (3, 2, 7)


def test_windows_are_behind_until_their_analytics_are_there(database: psycopg.Connection) -> None:
    keep(database, *(raw(epoch) for epoch in range(101)))
    assert store.windows_behind(database, until=100) == [EpochWindow(0), EpochWindow(100)]
    store.refresh_analytics(database, EpochWindow(0))
    assert store.windows_behind(database, until=100) == [EpochWindow(100)]


def test_doubted_epochs_are_read_again(database: psycopg.Connection) -> None:
    keep(database, raw(0), raw(1))
    assert store.blocks(database, 1, 1) == [(1, 100, "0x01"), (1, 101, "0x01ff")]
    store.doubt(database, [1])
    assert store.lacking(database, WINDOW, until=1) == [1]


@pytest.mark.parametrize("table", TABLES.values(), ids=lambda table: table.name)
def test_postgres_has_the_tables_we_declare(database: psycopg.Connection, table: Table) -> None:
    columns = database.execute(
        "SELECT column_name FROM information_schema.columns WHERE table_name = %s", [table.name]
    )
    assert set(table.columns) <= {name for (name,) in columns}
