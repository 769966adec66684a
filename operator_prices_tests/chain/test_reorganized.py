"""What is read and stored of a chain that reorganizes, and of nodes that are behind or wrong."""

import re
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from operator_prices import store
from operator_prices.chain import NodeBehindError, RefusedError, connect
from operator_prices.chain.substrate import keys
from operator_prices.chain.substrate import node as substrate_node
from operator_prices.chain.substrate.storage import PARENT_HASH
from operator_prices.devchain import domain, tampering
from operator_prices.devchain.chain import DevChain
from operator_prices.devchain.scenario import Scenario
from operator_prices.devchain.server import Call, Tamper
from operator_prices.devchain.serving import serving
from operator_prices.epochs.windows import EpochWindow
from operator_prices.ingest import ingest, left_the_chain, recheck
from operator_prices_tests.support.commands import run
from operator_prices_tests.support.filling import fill
from operator_prices_tests.support.followed import stored_positions, true_positions
from operator_prices_tests.support.samples import (
    Spoiler,
    assert_all_read,
    epoch_rows,
    operator_rows,
    own_copy,
    reading,
    true_epoch_rows,
    true_operator_rows,
    truth_of,
)

REGULAR = Scenario(seconds_per_block=0, epochs=20, operators=3, forced=())
IRREGULAR = Scenario(
    seconds_per_block=0, epochs=30, operators=4, locking_epochs=5, forced=(14, 20, 28, 29)
)
THOUSAND = 1000
SUMMARY = keys.prefix("Domains", "DomainStakingSummary")


def lacking(block: int, times: float) -> Tamper:
    """A node that answers null for the hash of `block`, so many times."""
    asked = 0

    async def tamper(call: Call) -> object:
        nonlocal asked
        answer = own_copy(call)
        wanted = call.request["params"]
        if call.request["method"] == "chain_getBlockHash" and block in wanted[0]:
            asked += 1
            if asked <= times:
                answer["result"][wanted[0].index(block)] = None
        return answer

    return tamper


def played_otherwise(played: DevChain, *, jumps: tuple[int, ...]) -> None:
    """Have other epochs jump from the next reorganization on."""
    played.scenario = replace(played.scenario, jumps=jumps)
    played.domains[0]._scenario = played.scenario  # noqa: SLF001


def test_one_list_request_verifies_a_thousand_epochs(
    database: psycopg.Connection, tmp_path: Path
) -> None:
    played = DevChain(REGULAR)
    hashes = [f"0x{played.blocks.hash(block).hex()}" for block in range(2 * THOUSAND)]
    database.cursor().executemany(
        "INSERT INTO epochs (epoch, end_block, end_hash, transition_block, transition_hash,"
        " timestamp, data, source, complete) VALUES (%s, %s, %s, %s, %s, 0, '{}', 'chain', true)",
        [
            (epoch, 2 * epoch, hashes[2 * epoch], 2 * epoch + 1, hashes[2 * epoch + 1])
            for epoch in range(THOUSAND)
        ],
    )
    with serving(played) as node, reading(node.url, tmp_path) as chain:
        assert chain.genesis_hash == hashes[0]
        before = chain.requests
        assert recheck(chain, database, 0, THOUSAND) == []
        assert chain.requests - before == 1


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize(("epoch", "before_its_end"), [(12, 5), (27, 3)], ids=["deep", "shallow"])
def test_the_same_reader_reads_on_after_a_reorganization_behind_the_gate(
    seed: int, epoch: int, before_its_end: int, tmp_path: Path
) -> None:
    played = DevChain(replace(IRREGULAR, seed=seed))
    with serving(played) as node, reading(node.url, tmp_path) as chain:
        assert_all_read(chain, played)
        ended = {told.epoch: told.end_block for told in truth_of(played)}
        node.reorg(ended[epoch] - before_its_end, extra=300)
        assert_all_read(chain, played)


def test_a_reader_that_meets_a_reorganization_reads_on_the_next_time(tmp_path: Path) -> None:
    played = DevChain(IRREGULAR)
    with serving(played) as node, reading(node.url, tmp_path) as chain:
        assert_all_read(chain, played)
        ended = {told.epoch: told.end_block for told in truth_of(played)}
        node.reorg(ended[12] - 5, extra=300)
        with pytest.raises(NodeBehindError):
            chain.read(range(28))
        states = chain.read(range(28))
    truth = [told for told in truth_of(played) if told.epoch in range(28)]
    assert epoch_rows(states) == true_epoch_rows(truth)


def test_an_epoch_whose_end_shows_no_domain_is_an_error_and_not_skipped(tmp_path: Path) -> None:
    played = DevChain(REGULAR)
    end_hash = truth_of(played)[10].end_hash
    spoiler = Spoiler(SUMMARY, lambda _: None, at=end_hash)
    with serving(played, tamper=spoiler) as node, reading(node.url, tmp_path) as chain:
        with pytest.raises(NodeBehindError, match=r"where epoch 10 ends .* use another node"):
            chain.read(range(20))
        spoiler.active = False
        assert_all_read(chain, played)


def test_a_jump_of_three_leaves_two_skipped_epochs(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    ends = domain.Domain.ends

    def three(self: domain.Domain, head: int, start_head: int, *, bundle: bool) -> int:
        count = ends(self, head, start_head, bundle=bundle)
        return 3 if count > 1 else count

    monkeypatch.setattr(domain.Domain, "ends", three)
    played = DevChain(replace(REGULAR, jumps=(7,)))
    transition = truth_of(played)[7]
    with serving(played) as node, reading(node.url, tmp_path) as chain:
        states = chain.read(range(12))
    assert states.skipped.rows() == [
        (epoch, transition.transition_block, transition.transition_hash) for epoch in (8, 9)
    ]
    truth = [told for told in truth_of(played) if told.epoch in range(12)]
    assert epoch_rows(states) == true_epoch_rows(truth)
    assert operator_rows(states) == true_operator_rows(truth)


@pytest.mark.parametrize("forced", [(), (0,), (3,)])
def test_the_first_epoch_alone_is_read_right(forced: tuple[int, ...], tmp_path: Path) -> None:
    played = DevChain(replace(REGULAR, forced=forced))
    with serving(played) as node, reading(node.url, tmp_path) as chain:
        states = chain.read([0])
    assert epoch_rows(states) == true_epoch_rows(truth_of(played)[:1])
    assert operator_rows(states) == true_operator_rows(truth_of(played)[:1])


def test_a_hash_that_is_not_there_yet_is_asked_for_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(substrate_node, "NULL_HASH_PAUSES", (0.01, 0.01))
    played = DevChain(REGULAR)
    with (
        serving(played, tamper=lacking(played.head, 2)) as node,
        reading(node.url, tmp_path) as chain,
    ):
        assert_all_read(chain, played)


def test_a_node_without_the_hash_of_a_block_below_its_head_is_behind(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(substrate_node, "NULL_HASH_PAUSES", (0.01, 0.01))
    played = DevChain(REGULAR)
    with (
        serving(played, tamper=lacking(played.head, 4)) as node,
        reading(node.url, tmp_path) as chain,
    ):
        with pytest.raises(NodeBehindError, match=f"has no block {played.head} .* wait until"):
            chain.head()
        assert_all_read(chain, played)


def test_a_node_that_does_not_find_a_header_is_behind(tmp_path: Path) -> None:
    async def lost(call: Call) -> object:
        if call.request["method"] == "state_queryStorageAt":
            return tampering.error(call, 4003, "Client error: Header was not found in the database")
        return call.answer()

    with (
        serving(DevChain(REGULAR), tamper=lost) as node,
        reading(node.url, tmp_path) as chain,
        pytest.raises(NodeBehindError, match="behind or on another fork"),
    ):
        chain.head()


def test_a_transition_block_that_names_another_parent_is_refused(tmp_path: Path) -> None:
    played = DevChain(REGULAR)
    told = truth_of(played)[10]
    stranger = f"0x{played.blocks.hash(told.end_block - 1).hex()}"
    tamper = Spoiler(PARENT_HASH, lambda _: stranger, at=told.transition_hash)
    with (
        serving(played, tamper=tamper) as node,
        reading(node.url, tmp_path) as chain,
        pytest.raises(RefusedError, match=f"for block {told.end_block} .*use another node"),
    ):
        chain.read(range(20))


def test_the_gate_is_as_deep_as_the_chain_says(tmp_path: Path) -> None:
    name, (old, new) = (
        b"ConfirmationDepthK".hex(),
        (n.to_bytes(4, "little").hex() for n in (100, 333)),
    )

    async def deeper(call: Call) -> object:
        answer = own_copy(call)
        if call.request["method"] == "state_getMetadata":
            answer["result"], count = re.subn(
                f"({name}..10){old}", rf"\g<1>{new}", answer["result"]
            )
            assert count == 1
        return answer

    played = DevChain(REGULAR)
    with serving(played, tamper=deeper) as node:
        for asked, depth in ((0, 333), (50, 333), (400, 400)):
            with connect(node.url, domain_id=0, cache=tmp_path, depth=asked) as chain:
                head = chain.head()
            assert head.best_block - head.gate_block == depth
            completed = max(told.epoch for told in played.truth(depth))
            assert head.last_completed_epoch == completed


def test_an_epoch_whose_skipping_left_the_chain_is_a_gap_and_is_read(
    database: psycopg.Connection, tmp_path: Path
) -> None:
    window = EpochWindow(0)
    played = DevChain(replace(REGULAR, jumps=(11,)))
    with serving(played) as node, reading(node.url, tmp_path) as chain:
        ingest(chain, database, window)
        assert recheck(chain, database, 0, 99) == []
        ended = {told.epoch: told.end_block for told in truth_of(played)}
        played_otherwise(played, jumps=())
        node.reorg(ended[11] - 3, extra=200)
        left = recheck(chain, database, 0, 99)
        assert left[:3] == [11, 12, 13]
        assert (12, 12) in store.summary(database).gaps
        ingest(chain, database, window)
        assert recheck(chain, database, 0, 99) == []
    assert store.summary(database).skipped == 0
    assert store.summary(database).gaps == []
    stored = database.execute("SELECT epoch, end_hash FROM epochs ORDER BY epoch").fetchall()
    assert stored == [(told.epoch, told.end_hash) for told in truth_of(played)]


def test_a_stored_epoch_that_is_skipped_by_now_is_forgotten(
    database: psycopg.Connection, tmp_path: Path
) -> None:
    played = DevChain(REGULAR)
    with serving(played) as node, reading(node.url, tmp_path) as chain:
        fill(chain, database)
        ended = {told.epoch: told.end_block for told in truth_of(played)}
        played_otherwise(played, jumps=(11,))
        node.reorg(ended[11] - 3, extra=200)
        assert recheck(chain, database, 0, 99)[:2] == [11, 12]
        assert fill(chain, database).skipped == 1
        assert recheck(chain, database, 0, 99) == []
    summary = store.summary(database)
    assert (summary.skipped, summary.gaps, summary.incomplete) == (1, [], [])
    truth = truth_of(played)
    for table in ("epochs", "epoch_analytics", "operator_shares", "operator_share_prices"):
        query = sql.SQL("SELECT DISTINCT epoch FROM {} ORDER BY 1").format(sql.Identifier(table))
        rows = database.execute(query)
        assert rows.fetchall() == [(told.epoch,) for told in truth]
    shares = database.execute("SELECT count(*) FROM operator_shares").fetchone()
    assert shares == (sum(len(told.operators) for told in truth),)


def test_what_moved_in_blocks_that_have_left_the_chain_ends_no_position(
    database: psycopg.Connection, tmp_path: Path
) -> None:
    """The row before it, of an earlier window, holds again until the pair's next one."""
    played = DevChain(replace(REGULAR, epochs=106, operators=2, seed=2))
    windows = EpochWindow(0), EpochWindow(100)
    with serving(played) as node, reading(node.url, tmp_path) as chain:
        for window in windows:
            fill(chain, database, window, nominators=True)
        ended = {told.epoch: told.end_block for told in truth_of(played)}
        played_otherwise(played, jumps=(101,))
        node.reorg(ended[101] - 3, extra=300)
        assert recheck(chain, database, 100, 199)[:2] == [101, 102]
        assert fill(chain, database, windows[1], nominators=True).skipped == 1
    assert stored_positions(database) == true_positions(played)


def test_one_skipped_block_that_is_another_by_now_is_named(
    database: psycopg.Connection, tmp_path: Path
) -> None:
    with (
        serving(DevChain(replace(REGULAR, jumps=(11,)))) as node,
        reading(node.url, tmp_path) as chain,
    ):
        ingest(chain, database, EpochWindow(0))
        database.execute("UPDATE skipped_epochs SET block_hash = '0xab'")
        assert [one.epoch for one in left_the_chain(chain, database, 0, 99)] == [12]
        assert left_the_chain(chain, database, 0, 11) == []
        assert recheck(chain, database, 0, 99) == [12]
        assert ingest(chain, database, EpochWindow(0)).skipped == 1
        assert recheck(chain, database, 0, 99) == []
    assert store.incomplete(database, 0, 99) == []


@pytest.mark.e2e
def test_verify_chain_reads_what_left_the_chain_again_and_says_so(dsn: str, tmp_path: Path) -> None:
    played = DevChain(replace(REGULAR, epochs=8))
    with serving(played) as node:
        settings = {"DATABASE_URL": dsn, "ARCHIVE_NODE_URL": node.url}
        first = run("backfill", "--from", "0", "--to", "latest", data_dir=tmp_path, **settings)
        assert first.returncode == 0, first.stderr
        node.reorg(truth_of(played)[6].end_block - 3, extra=100)
        verified = run("verify-chain", data_dir=tmp_path, **settings)
    assert verified.returncode == 0, verified.stderr
    assert "left the chain: 6, 7" in verified.stdout
    assert "Epochs read: " in verified.stdout
    with store.connect(dsn) as connection:
        stored = connection.execute("SELECT epoch, end_hash FROM epochs ORDER BY 1").fetchall()
    assert stored == [(told.epoch, told.end_hash) for told in truth_of(played)]
