"""Several endpoints, of which one stands in for another."""

import dataclasses
from pathlib import Path

import pytest

from operator_prices.chain import (
    ArchiveNeededError,
    ChainError,
    NodeBehindError,
    NodeUnreachableError,
    RateLimitedError,
    RefusedError,
    WrongChainError,
)
from operator_prices.chain.rpc.blocking import Rpc
from operator_prices.chain.rpc.endpoints import Endpoint
from operator_prices.chain.substrate import node as substrate_node
from operator_prices.devchain import tampering
from operator_prices.devchain.chain import DevChain
from operator_prices.devchain.scenario import Scenario
from operator_prices.devchain.server import Tamper
from operator_prices.devchain.serving import serving
from operator_prices.local.ports import free_port
from operator_prices_tests.support.nodes import (
    Switch,
    failing_with,
    noting,
    of_another_block,
    urls,
    without_hashes,
    without_keys,
)
from operator_prices_tests.support.samples import (
    assert_all_read,
    epoch_rows,
    reading,
    true_epoch_rows,
    truth_of,
)

SMALL = Scenario(seconds_per_block=0, epochs=12, operators=3, locking_epochs=5, forced=(7,))
CHAIN = DevChain(SMALL)


OTHER = DevChain(dataclasses.replace(SMALL, seed=2))


TRUTH = {epoch.epoch: epoch for epoch in truth_of(CHAIN)}


NOWHERE = "ws://127.0.0.1:1"


def assert_all_true(url: str, cache: Path) -> None:
    with reading(url, cache) as reader:
        assert_all_read(reader, CHAIN)


@pytest.mark.parametrize("cut_after", [2, 5, 14, 20])
def test_what_was_begun_on_one_chain_is_never_continued_on_another(
    cut_after: int, tmp_path: Path
) -> None:
    with (
        serving(CHAIN, tamper=Switch(after=cut_after)) as ours,
        noting(OTHER) as (other, asked),
        reading(f"{ours.url},{other.url}", tmp_path) as reader,
        pytest.raises(WrongChainError) as raised,
    ):
        reader.read(range(max(TRUTH) + 1))
    assert CHAIN.genesis_hash in str(raised.value)
    assert OTHER.genesis_hash in str(raised.value)
    assert f"{ours.url} cannot be reached" in str(raised.value)
    assert asked == ["chain_getBlockHash"]


@pytest.mark.parametrize("http", [False, True], ids=["ws", "http"])
def test_an_endpoint_of_another_chain_is_passed_over_for_good(
    tmp_path: Path, *, http: bool
) -> None:
    dead = Switch()
    with (
        serving(CHAIN, tamper=dead) as ours,
        noting(OTHER) as (other, asked),
        serving(CHAIN) as third,
        reading(urls([ours, other, third], http=http), tmp_path) as reader,
    ):
        assert reader.genesis_hash == CHAIN.genesis_hash
        dead.on = True
        states = reader.read(range(max(TRUTH) + 1))
    assert epoch_rows(states) == true_epoch_rows(TRUTH.values())
    assert asked == ["chain_getBlockHash"]


def test_who_returns_is_asked_again_after_the_other_chain_was_refused(tmp_path: Path) -> None:
    dead = Switch()
    with (
        serving(CHAIN, tamper=dead) as ours,
        serving(OTHER) as other,
        reading(f"{ours.url},{other.url}", tmp_path) as reader,
    ):
        reader.head()
        dead.on = True
        with pytest.raises(WrongChainError):
            reader.read([3])
        dead.on = False
        assert reader.read([3]).epochs["end_hash"].to_list() == [TRUTH[3].end_hash]


def test_a_pruned_node_still_serves_its_head_after_the_other_chain_was_refused(
    tmp_path: Path,
) -> None:
    with (
        serving(dataclasses.replace(SMALL, keep_states=300)) as pruned,
        noting(OTHER) as (other, asked),
        reading(f"{pruned.url},{other.url}", tmp_path) as reader,
    ):
        with pytest.raises(ArchiveNeededError, match=OTHER.genesis_hash):
            reader.read([1])
        assert reader.head().last_completed_epoch == max(TRUTH)
        assert asked == ["chain_getBlockHash"]


def test_another_chain_at_the_same_address_is_noticed(tmp_path: Path) -> None:
    port = free_port("127.0.0.1")
    with reading(f"ws://127.0.0.1:{port}", tmp_path) as reader:
        with serving(CHAIN, port=port):
            reader.head()
        with serving(OTHER, port=port), pytest.raises(WrongChainError, match=OTHER.genesis_hash):
            reader.read([3])


@pytest.mark.parametrize(
    "tamper",
    [
        tampering.fail_every(1),
        tampering.rate_limit(0),
        failing_with(-32601, "the method chain_getHeader does not exist"),
        failing_with(-32601, "Method not found", "state_queryStorageAt"),
        failing_with(-32602, "Invalid params", "state_queryStorageAt"),
        failing_with(
            4003, "Client error: UnknownBlock: Header was not found", "state_queryStorageAt"
        ),
    ],
    ids=["errors", "limited", "no method", "no storage method", "parameters", "behind"],
)
@pytest.mark.parametrize("http", [False, True], ids=["ws", "http"])
def test_a_second_endpoint_stands_in_for_one_that_refuses(
    tamper: Tamper, tmp_path: Path, *, http: bool
) -> None:
    with serving(CHAIN, tamper=tamper) as first, serving(CHAIN) as second:
        assert_all_true(urls([first, second], http=http), tmp_path)


@pytest.mark.parametrize("tamper", [without_hashes, of_another_block, without_keys])
def test_a_second_endpoint_stands_in_for_one_that_is_not_whole(
    tamper: Tamper, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(substrate_node, "NULL_HASH_PAUSES", (0.0,))
    with serving(CHAIN, tamper=tamper) as first, serving(CHAIN) as second:
        assert_all_true(urls([first, second], http=False), tmp_path)
    with (
        serving(CHAIN, tamper=tamper) as first,
        serving(CHAIN, tamper=tamper) as second,
        reading(urls([first, second], http=False), tmp_path) as reader,
    ):
        for _ in range(2):
            with pytest.raises((NodeBehindError, RefusedError)):
                reader.read([3])


def test_an_endpoint_that_lags_behind_is_not_believed_about_what_is_completed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(substrate_node, "NULL_HASH_PAUSES", (0.0,))
    short = DevChain(dataclasses.replace(SMALL, epochs=10))
    assert short.genesis_hash == CHAIN.genesis_hash
    switch = Switch()
    with (
        serving(CHAIN, tamper=switch) as first,
        serving(short) as second,
        reading(urls([first, second], http=False), tmp_path, attempts=2) as reader,
    ):
        last = reader.head().last_completed_epoch
        assert last == max(TRUTH)
        switch.on = True
        for reason in ("has no block", "lacks blocks that have been seen"):
            with pytest.raises(NodeBehindError, match=reason):
                reader.read([last])


@pytest.mark.parametrize(
    ("tamper", "error"),
    [
        (tampering.fail_every(1), NodeUnreachableError),
        (tampering.rate_limit(0), RateLimitedError),
        (failing_with(-32601, "Method not found"), RefusedError),
    ],
)
def test_what_every_endpoint_refuses_has_an_end(
    tamper: Tamper, error: type[ChainError], tmp_path: Path
) -> None:
    with (
        serving(CHAIN, tamper=tamper) as first,
        serving(CHAIN, tamper=tamper) as second,
        reading(f"{first.url},{second.url},{NOWHERE}", tmp_path, attempts=3) as reader,
    ):
        for _ in range(2):
            with pytest.raises(error):
                reader.head()


@pytest.mark.e2e
@pytest.mark.parametrize("place", [0, 1])
def test_a_pruned_endpoint_beside_a_dead_one_is_told_with_the_flags(
    place: int, tmp_path: Path
) -> None:
    with serving(dataclasses.replace(SMALL, keep_states=300)) as pruned:
        places = [NOWHERE]
        places.insert(place, pruned.url)
        with (
            reading(",".join(places), tmp_path) as reader,
            pytest.raises(ArchiveNeededError, match="--state-pruning archive"),
        ):
            reader.read([1])


def test_a_dead_endpoint_is_not_turned_to_again_for_what_the_other_refuses() -> None:
    missing = failing_with(-32601, "Method not found", "system_chain")
    with (
        serving(CHAIN, tamper=missing) as node,
        Rpc([Endpoint.parse(NOWHERE), Endpoint.parse(node.url)], pause=0.01) as client,
        pytest.raises(RefusedError, match="Method not found"),
    ):
        client.call("system_chain")
