"""Nodes that will never have old blocks: found out at once, and told with what they do have."""

import dataclasses
import time
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from operator_prices.chain import ArchiveNeededError, NodeBehindError, Reach
from operator_prices.devchain.chain import DevChain
from operator_prices.devchain.scenario import Scenario
from operator_prices.devchain.server import Call
from operator_prices.devchain.serving import serving
from operator_prices.epochs.windows import EpochWindow
from operator_prices_tests.support.commands import run
from operator_prices_tests.support.filling import fill
from operator_prices_tests.support.samples import (
    assert_all_read,
    epoch_rows,
    own_copy,
    reading,
    true_epoch_rows,
    truth_of,
)

WHOLE = Scenario(seconds_per_block=0, epochs=130, operators=3, forced=())
PLAYED = DevChain(WHOLE)
TRUTH = {epoch.epoch: epoch for epoch in truth_of(PLAYED)}
HEAD = EpochWindow(100)
BEGIN = TRUTH[104].end_block - 30
"""A block within epoch 104."""

SYNCED = dataclasses.replace(WHOLE, first_block=BEGIN)
PRUNED = dataclasses.replace(WHOLE, keep_states=PLAYED.head - BEGIN)
SHORT = [
    pytest.param(SYNCED, id="synced from a later block"),
    pytest.param(PRUNED, id="pruned"),
]


def test_an_archive_node_goes_back_to_the_first_block(tmp_path: Path) -> None:
    with serving(PLAYED) as node, reading(node.url, tmp_path) as reader:
        reader.head()
        asked = reader.requests
        assert reader.reach() == Reach(first_block=1, first_epoch=0)
        assert reader.requests - asked <= 4


@pytest.mark.parametrize("scenario", SHORT)
def test_how_far_back_a_node_goes_is_found_exactly(scenario: Scenario, tmp_path: Path) -> None:
    with serving(scenario) as node, reading(node.url, tmp_path) as reader:
        assert reader.reach() == Reach(first_block=BEGIN, first_epoch=104)
        assert reader.requests < 40


@pytest.mark.parametrize("scenario", SHORT)
def test_what_lies_before_is_refused_at_once_and_what_lies_after_is_read(
    scenario: Scenario, tmp_path: Path
) -> None:
    last = max(TRUTH)
    with serving(scenario) as node:
        for epoch in (0, 70, 103):
            begun = time.monotonic()
            with (
                reading(node.url, tmp_path) as reader,
                pytest.raises(
                    ArchiveNeededError,
                    match=rf"{node.url} has nothing before block {BEGIN}, .* epoch {epoch} ended"
                    r" earlier: .*synced from the first block.*; this one has the epochs from 104",
                ),
            ):
                reader.read([epoch, 110])
            assert time.monotonic() - begun < 5
        with reading(node.url, tmp_path) as reader:
            read = epoch_rows(reader.read(range(104, last + 1)))
    assert read == true_epoch_rows(TRUTH[epoch] for epoch in range(104, last + 1))


def test_the_reach_of_several_endpoints_is_that_of_the_one_that_goes_back_the_farthest(
    tmp_path: Path,
) -> None:
    with serving(SYNCED) as short, serving(PLAYED) as whole:
        with reading(f"{short.url},{whole.url}", tmp_path) as reader:
            assert reader.reach() == Reach(first_block=1, first_epoch=0)
        with reading(f"{short.url},{whole.url}", tmp_path) as reader:
            old = TRUTH[0].end_block
            assert reader.block_hashes([old]) == [TRUTH[0].end_hash]
        with reading(f"{short.url},{short.url}", tmp_path) as reader:
            assert reader.reach() == Reach(first_block=BEGIN, first_epoch=104)
            assert reader.block_hashes([old]) == [None]


@pytest.mark.parametrize("scenario", SHORT)
def test_a_second_endpoint_has_what_the_first_never_had(scenario: Scenario, tmp_path: Path) -> None:
    with (
        serving(scenario) as first,
        serving(PLAYED) as second,
        reading(f"{first.url},{second.url}", tmp_path) as reader,
    ):
        assert_all_read(reader, PLAYED)


def test_a_block_that_is_not_there_yet_is_not_taken_for_one_that_never_was(tmp_path: Path) -> None:
    """One node of two behind an address has not caught up: it lacks the best block, too."""

    async def behind(call: Call) -> object:
        answer = own_copy(call)
        if call.request["method"] == "chain_getBlockHash" and call.total > 6:
            blocks = call.request["params"][0]
            answer["result"] = [
                None if block > 500 else known
                for block, known in zip(blocks, answer["result"], strict=True)
            ]
        return answer

    with (
        serving(PLAYED, tamper=behind) as node,
        reading(node.url, tmp_path) as reader,
        pytest.raises(NodeBehindError, match="wait until it has caught up"),
    ):
        reader.read(range(40, 60))


@pytest.mark.e2e
@pytest.mark.parametrize("scenario", SHORT)
@pytest.mark.usefixtures("database")
def test_commands_name_the_first_block_and_what_to_do(
    scenario: Scenario, dsn: str, tmp_path: Path
) -> None:
    with serving(scenario) as node:
        settings = {"DATABASE_URL": dsn, "ARCHIVE_NODE_URL": node.url}
        told = run("status", data_dir=tmp_path, **settings).stdout
        assert f"The node has nothing before block {BEGIN}: epochs before 104 need" in told
        for command in (["backfill", "--from", "0", "--to", "latest"], ["up", "--once"]):
            begun = time.monotonic()
            done = run(*command, data_dir=tmp_path, **settings)
            assert time.monotonic() - begun < 60
            assert done.returncode == 1
            assert f"The node has nothing before block {BEGIN}, so no epoch" in done.stderr
            assert "no epoch before 104, and 104 epochs from 0 on are lacking" in done.stderr
            assert ("or backfill --from 200." in done.stderr) == (command[0] == "backfill")
    with psycopg.connect(dsn) as connection:
        assert connection.execute("SELECT count(*) FROM epochs").fetchone() == (0,)


@pytest.mark.e2e
@pytest.mark.usefixtures("database")
def test_what_a_node_has_is_brought_up_without_what_it_never_had(dsn: str, tmp_path: Path) -> None:
    whole = Scenario(seconds_per_block=0, epochs=206, operators=2, forced=())
    begin = next(one for one in truth_of(DevChain(whole)) if one.epoch == 96).end_block
    with serving(dataclasses.replace(whole, first_block=begin)) as node:
        settings = {"DATABASE_URL": dsn, "ARCHIVE_NODE_URL": node.url}
        done = run("up", "--once", data_dir=tmp_path, **settings)
        told = " ".join(done.stdout.split())
        assert (done.returncode, "; window 000000-000099 is left out until then" in told) == (
            0,
            True,
        )
        assert f"The node has nothing before block {begin}, so no epoch before 96" in told
        again = run("up", "--once", data_dir=tmp_path, **settings)
        assert (again.returncode, "Read 0 epochs" in again.stdout) == (0, True)
    with psycopg.connect(dsn) as connection:
        [(first, last, rows)] = connection.execute(
            "SELECT min(epoch), max(epoch), count(*) FROM epoch_documents"
        ).fetchall()
    assert (first, rows, last > 200) == (100, last - 99, True)


@pytest.mark.e2e
@pytest.mark.usefixtures("database")
def test_new_epochs_are_brought_up_where_old_ones_lack_nominators_that_the_node_never_had(
    dsn: str, tmp_path: Path
) -> None:
    whole = Scenario(seconds_per_block=0, epochs=112, operators=2, forced=())
    played = DevChain(whole)
    begin = next(one for one in truth_of(played) if one.epoch == 96).end_block
    with serving(played) as node:
        settings = {"DATABASE_URL": dsn, "ARCHIVE_NODE_URL": node.url, "NOMINATORS": "off"}
        done = run("backfill", "--from", "0", "--to", "99", data_dir=tmp_path, **settings)
        assert done.returncode == 0, done.stderr
    with serving(dataclasses.replace(whole, first_block=begin)) as node:
        settings = {"DATABASE_URL": dsn, "ARCHIVE_NODE_URL": node.url}
        done = run("up", "--once", data_dir=tmp_path, **settings)
        assert done.returncode == 0, done.stderr
        told = " ".join(done.stdout.split())
        assert "no epoch before 96, and 96 from 0 on lack their nominators" in told
        assert "; window 000000-000099 is left out until then" in told
        whole_range = ["backfill", "--from", "0", "--to", "latest"]
        assert "lack their nominators" in run(*whole_range, data_dir=tmp_path, **settings).stderr
        checked = run("verify-chain", data_dir=tmp_path, **settings)
        assert f"The node has nothing before block {begin}, so block" in checked.stderr
    with psycopg.connect(dsn) as connection:
        query = (
            "SELECT count(*) FROM epochs JOIN epoch_analytics USING (epoch)"
            " JOIN nominator_epochs USING (epoch) WHERE epoch >= 100"
        )
        assert connection.execute(query).fetchone() == (len(truth_of(played)) - 100,)


@pytest.mark.parametrize("in_part", ["epochs", "nominator_epochs"])
def test_what_was_read_in_part_and_is_gone_holds_up_no_other_epoch(
    in_part: str, database: psycopg.Connection, tmp_path: Path
) -> None:
    table = sql.Identifier(in_part)
    with serving(PLAYED) as whole, reading(whole.url, tmp_path) as chain:
        fill(chain, database, HEAD, nominators=True)
    database.execute(sql.SQL("UPDATE {} SET complete = false WHERE epoch = 101").format(table))
    database.execute("DELETE FROM epochs WHERE epoch > 119")
    database.execute("DELETE FROM nominator_epochs WHERE epoch > 119")
    with serving(PRUNED) as short, reading(short.url, tmp_path) as chain:
        assert fill(chain, database, HEAD, nominators=True).epochs_read == max(TRUTH) - 119
        assert fill(chain, database, HEAD, nominators=True).epochs_read == 0
    left = database.execute(sql.SQL("SELECT epoch FROM {} WHERE NOT complete").format(table))
    assert left.fetchall() == [(101,)]


@pytest.mark.e2e
@pytest.mark.parametrize(("in_part", "exit_code"), [("epochs", 3), ("nominator_epochs", 0)])
def test_commands_bring_up_the_other_epochs_of_a_window_of_which_one_is_in_part_and_gone(
    in_part: str, exit_code: int, database: psycopg.Connection, dsn: str, tmp_path: Path
) -> None:
    table = sql.Identifier(in_part)
    with serving(PLAYED) as whole, reading(whole.url, tmp_path) as chain:
        for window in (EpochWindow(0), HEAD):
            fill(chain, database, window, nominators=True)
    database.execute(sql.SQL("UPDATE {} SET complete = false WHERE epoch = 101").format(table))
    database.execute("DELETE FROM epochs WHERE epoch > 119")
    database.execute("DELETE FROM nominator_epochs WHERE epoch > 119")
    with serving(PRUNED) as short:
        settings = {"DATABASE_URL": dsn, "ARCHIVE_NODE_URL": short.url}
        for command, read in (
            (["up", "--once"], f"Read {max(TRUTH) - 119} epochs"),
            (["up", "--once"], "Read 0 epochs in 0 requests"),
            (["backfill", "--from", "0", "--to", "latest"], "Epochs read: 0"),
        ):
            done = run(*command, data_dir=tmp_path, **settings)
            assert done.returncode == exit_code, done.stderr
            assert read in done.stdout
            assert "left out" not in done.stdout
    left = database.execute(sql.SQL("SELECT epoch FROM {} WHERE NOT complete").format(table))
    assert left.fetchall() == [(101,)]
