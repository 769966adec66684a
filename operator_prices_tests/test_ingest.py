"""From the chain to Postgres: complete, exact, repeatable, and safe against other chains."""

from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from operator_prices import store
from operator_prices.chain import ArchiveNeededError, NodeBehindError, WrongChainError
from operator_prices.devchain.chain import DevChain
from operator_prices.devchain.scenario import Scenario
from operator_prices.devchain.server import Call
from operator_prices.devchain.serving import serving
from operator_prices.epochs.counts import COUNTED
from operator_prices.epochs.windows import EpochWindow, between
from operator_prices.ingest import Ingested, ingest_each, recheck
from operator_prices_tests.support.filling import fill
from operator_prices_tests.support.samples import UPGRADED, own_copy, reading, truth_of

WINDOW = EpochWindow(0)
SMALL = Scenario(seconds_per_block=0, epochs=20, operators=4, forced=())


def test_the_tables_hold_the_truth_of_a_chain_with_every_irregularity(
    database: psycopg.Connection, tmp_path: Path
) -> None:
    played = DevChain(UPGRADED)
    with serving(played) as node, reading(node.url, tmp_path) as chain:
        done = fill(chain, database)
    truth = truth_of(played)
    assert (done.epochs_read, done.skipped, done.quarantined) == (len(truth), 1, 0)
    stored = database.execute(
        "SELECT epoch, end_block, end_hash, timestamp, transition_block, transition_hash, complete"
        " FROM epochs ORDER BY epoch"
    ).fetchall()
    assert stored == [
        (
            told.epoch,
            told.end_block,
            told.end_hash,
            told.timestamp,
            told.transition_block,
            told.transition_hash,
            True,
        )
        for told in truth
    ]
    priced = database.execute(
        "SELECT epoch, operator_id, share_price_perq FROM operator_share_prices"
        " WHERE source = 'chain' ORDER BY 1, 2"
    ).fetchall()
    assert priced == [
        (told.epoch, operator, state.price)
        for told in truth
        for operator, state in sorted(told.operators.items())
        if state.price is not None
    ]
    totals = database.execute(
        "SELECT epoch, total_stake_raw, total_shares_raw, treasury_funds_raw, operator_count,"
        " deposits_count FROM comprehensive_analytics ORDER BY epoch"
    ).fetchall()
    assert totals == [
        (
            told.epoch,
            told.total_stake,
            sum(state.shares for state in told.operators.values()),
            told.treasury,
            len(told.operators),
            None,
        )
        for told in truth
    ]
    assert store.summary(database).gaps == []


def test_a_second_run_asks_nothing_and_changes_nothing(
    database: psycopg.Connection, tmp_path: Path
) -> None:
    with serving(DevChain(SMALL)) as node:
        with reading(node.url, tmp_path) as chain:
            fill(chain, database)
            before = chain.requests
            assert fill(chain, database) == Ingested()
            assert chain.requests - before <= 8  # a look at the head, since the window is open
        node.produce(130)
        with reading(node.url, tmp_path) as chain:
            done = fill(chain, database)
            assert 1 <= done.epochs_read <= 2


def test_an_incomplete_epoch_keeps_its_good_rows_and_is_read_again(
    database: psycopg.Connection, tmp_path: Path
) -> None:
    spoiled = "0x0b41d0c7f7b4485bd7be1d66066b00ad34a0a3fbf14e6c92456ca7bd91d59a570000000000000000"
    healthy = False

    async def spoil(call: Call) -> object:
        answer = own_copy(call)
        if call.request["method"] == "state_queryStorageAt" and not healthy:
            for change in answer["result"][0]["changes"]:
                if change[0] == spoiled and change[1]:
                    change[1] = change[1][:-2]
        return answer

    with serving(DevChain(SMALL), tamper=spoil) as node, reading(node.url, tmp_path) as chain:
        assert fill(chain, database).quarantined > 0
        summary = store.summary(database)
        assert (summary.epochs, len(summary.incomplete)) == (20, 20)
        others = database.execute("SELECT DISTINCT operator_id FROM operator_shares").fetchall()
        assert (0,) not in others
        assert others
        healthy = True
        assert fill(chain, database).quarantined == 0
    summary = store.summary(database)
    assert (summary.incomplete, summary.quarantined) == ([], 0)
    truth = sum(len(told.operators) for told in truth_of(node.chain))
    assert summary.rows["operator_shares"] == truth


def test_another_chain_is_refused_before_anything_is_written(
    database: psycopg.Connection, tmp_path: Path
) -> None:
    with serving(DevChain(SMALL)) as node, reading(node.url, tmp_path) as chain:
        fill(chain, database)
    other = DevChain(Scenario(seconds_per_block=0, epochs=25, operators=4, seed=2))
    with (
        serving(other) as node,
        reading(node.url, tmp_path) as chain,
        pytest.raises(WrongChainError, match=f"genesis {other.genesis_hash}"),
    ):
        fill(chain, database)
    assert store.summary(database).epochs == 20


def test_blocks_that_a_node_never_had_are_not_compared_and_later_ones_are(
    database: psycopg.Connection, tmp_path: Path
) -> None:
    played = DevChain(SMALL)
    truth = truth_of(played)
    with serving(played) as node, reading(node.url, tmp_path) as chain:
        fill(chain, database)
    begin = truth[10].end_block
    with serving(replace(SMALL, first_block=begin)) as node:
        with reading(node.url, tmp_path) as chain:
            assert recheck(chain, database, 0, 19) == []
            with pytest.raises(ArchiveNeededError, match=f"nothing before block {begin}, so block"):
                recheck(chain, database, 0, 19, all_of_them=True)
            assert recheck(chain, database, 10, 19, all_of_them=True) == []
        node.reorg(truth[17].end_block)
        with reading(node.url, tmp_path) as chain:
            assert recheck(chain, database, 0, 19)[:1] == [17]


def test_a_node_that_is_behind_is_not_taken_for_one_that_never_had_a_block(
    database: psycopg.Connection, tmp_path: Path
) -> None:
    with serving(DevChain(SMALL)) as node, reading(node.url, tmp_path) as chain:
        fill(chain, database)
    with (
        serving(DevChain(replace(SMALL, epochs=15))) as node,
        reading(node.url, tmp_path) as chain,
        pytest.raises(NodeBehindError, match="wait until it has caught up"),
    ):
        recheck(chain, database, 0, 19)


def test_an_epoch_whose_block_left_the_chain_is_read_again(
    database: psycopg.Connection, tmp_path: Path
) -> None:
    played = DevChain(SMALL)
    with serving(played) as node:
        with reading(node.url, tmp_path) as chain:
            fill(chain, database)
            assert recheck(chain, database, 0, 19) == []
        node.reorg(truth_of(played)[17].end_block)
        with reading(node.url, tmp_path) as chain:
            left = recheck(chain, database, 0, 19)
            assert left[:1] == [17]
            fill(chain, database)
            assert recheck(chain, database, 0, 19) == []
    again = {told.epoch: told for told in truth_of(played)}
    stored = database.execute("SELECT epoch, end_hash FROM epochs ORDER BY epoch").fetchall()
    assert [row for row in stored if row[0] in again] == [
        (epoch, told.end_hash) for epoch, told in sorted(again.items())
    ]


def test_map_entries_are_counted_page_by_page(database: psycopg.Connection, tmp_path: Path) -> None:
    with serving(DevChain(SMALL)) as node, reading(node.url, tmp_path) as chain:
        fill(chain, database)
        ((epoch, end_hash),) = store.uncounted(database, 7, 7)
        counts = chain.count(end_hash, COUNTED)
        store.keep_counts(database, epoch, counts)
    assert counts["deposits"] > 0
    assert store.uncounted(database, 7, 7) == []
    row = database.execute(
        "SELECT deposits_count, withdrawals_count FROM comprehensive_analytics WHERE epoch = 7"
    ).fetchone()
    assert row == (counts["deposits"], counts["withdrawals"])


def test_what_was_counted_is_not_lost_when_an_epoch_is_read_again(
    database: psycopg.Connection, tmp_path: Path
) -> None:
    with serving(DevChain(SMALL)) as node, reading(node.url, tmp_path) as chain:
        fill(chain, database)
        store.keep_counts(database, 7, {"deposits": 5, "withdrawals": 0, "successfulBundles": 2})
        before = database.execute("SELECT * FROM epochs ORDER BY epoch").fetchall()
        database.execute("UPDATE epochs SET complete = false WHERE epoch IN (6, 7)")
        assert fill(chain, database).epochs_read == 2
    assert database.execute("SELECT * FROM epochs ORDER BY epoch").fetchall() == before


def test_an_ingestion_that_is_given_up_loses_nothing_that_was_kept(
    database: psycopg.Connection, tmp_path: Path
) -> None:
    long = Scenario(seconds_per_block=0, epochs=320, operators=1, forced=())
    with serving(long) as node, reading(node.url, tmp_path) as chain:
        last = chain.head().last_completed_epoch
        assert last is not None
        windows = list(between(0, last))
        ingested = ingest_each(chain, database, windows)
        assert [next(ingested).epochs_read for _ in range(2)] == [100, 100]
        ingested.close()
        assert store.last_epoch(database) == 199
        again = [one.epochs_read for one in ingest_each(chain, database, windows)]
        assert again == [0, 0, 100, last - 299]
        assert not store.all_lacking(database, last)
