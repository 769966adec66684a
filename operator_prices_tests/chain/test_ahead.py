"""Reading ahead: several pieces on their way at once, and nothing else than one after the other."""

import asyncio
import gc
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from operator_prices.chain import ChainError, NodeUnreachableError
from operator_prices.chain.substrate import assembling, keys
from operator_prices.chain.substrate.ahead import AT_ONCE
from operator_prices.chain.substrate.storage import Boundary, number
from operator_prices.devchain import tampering
from operator_prices.devchain.chain import DevChain
from operator_prices.devchain.scenario import Scenario
from operator_prices.devchain.server import Call, Tamper
from operator_prices.devchain.serving import serving
from operator_prices_tests.support.nodes import Switch, noting, without_keys
from operator_prices_tests.support.samples import UPGRADED, assert_true, reading, truth_of

CHAIN = DevChain(Scenario(seconds_per_block=0, epochs=50, operators=3, forced=(7,)))
IRREGULAR = DevChain(UPGRADED)
PIECE = 7
"""Epochs of a piece: `CHAIN` has two pieces more than are read at once."""

LEDGER = keys.of_domain("ConsensusBlockHash", 0)
PRICES = keys.prefix("Domains", "OperatorEpochSharePrice")
OWNERS = keys.prefix("Domains", "OperatorIdOwner")


def pieces_of(chain: DevChain, size: int = PIECE) -> Iterator[range]:
    last = max(epoch.epoch for epoch in truth_of(chain))
    return (range(at, min(at + size, last + 1)) for at in range(0, last + 1, size))


def asks_the_ledger(call: Call) -> bool:
    method, params = call.request["method"], call.request["params"]
    return bool(method == "state_queryStorageAt" and params[0][0].startswith(LEDGER))


def asks_for(call: Call, prefix: str) -> bool:
    method, params = call.request["method"], call.request["params"]
    return method == "state_queryStorageAt" and any(key.startswith(prefix) for key in params[0])


@pytest.mark.parametrize(
    "tamper",
    [
        None,
        tampering.fail_every(7),
        tampering.close_after(30),
        tampering.truncate_every(31),
        tampering.reorder(5, patience=0.01),
    ],
    ids=["whole", "errors", "drops", "cut short", "out of order"],
)
def test_what_is_read_ahead_is_true_to_the_last_digit(
    tamper: Tamper | None, tmp_path: Path
) -> None:
    with serving(IRREGULAR, tamper=tamper) as node, reading(node.url, tmp_path) as chain:
        chain.head()
        read = assembling.concat(chain.read_each(pieces_of(IRREGULAR)))
    assert_true(read, IRREGULAR)


def test_several_pieces_are_on_their_way_at_once(tmp_path: Path) -> None:
    asked, enough = 0, asyncio.Event()

    async def gathering(call: Call) -> object:
        """Says nothing of the ledger before so many have asked for it."""
        nonlocal asked
        if asks_the_ledger(call):
            asked += 1
            if asked == AT_ONCE:
                enough.set()
            await enough.wait()
        return call.answer()

    with serving(CHAIN, tamper=gathering) as node, reading(node.url, tmp_path, patience=5) as chain:
        chain.head()
        assert_true(assembling.concat(chain.read_each(pieces_of(CHAIN))), CHAIN)


def test_what_the_first_piece_asks_is_sent_before_what_the_others_wait_for(tmp_path: Path) -> None:
    first = {epoch.end_hash for epoch in truth_of(CHAIN) if epoch.epoch < PIECE}
    transitions, before_the_last = 0, 0

    async def counting(call: Call) -> object:
        nonlocal transitions, before_the_last
        transitions += asks_for(call, PRICES)
        if asks_for(call, OWNERS) and call.request["params"][1] in first:
            before_the_last = transitions
        return call.answer()

    with (
        serving(CHAIN, tamper=counting) as node,
        reading(node.url, tmp_path, in_flight=1) as chain,
    ):
        chain.head()
        assert_true(assembling.concat(chain.read_each(pieces_of(CHAIN))), CHAIN)
    on_their_way = 2  # others' when the first one asks for its two blocks of each epoch
    assert PIECE <= before_the_last <= PIECE + on_their_way


def test_the_garbage_collector_leaves_what_was_there_alone_and_looks_seldom_for_as_long(
    tmp_path: Path,
) -> None:
    usual = gc.get_threshold()
    with serving(CHAIN) as node, reading(node.url, tmp_path) as chain:
        read = chain.read_each(pieces_of(CHAIN))
        next(read)
        assert gc.get_freeze_count()
        assert gc.get_threshold() > usual
        read.close()
    assert not gc.get_freeze_count()
    assert gc.get_threshold() == usual


def test_nothing_is_kept_of_a_piece_but_what_is_made_of_it(tmp_path: Path) -> None:
    with serving(CHAIN) as node, reading(node.url, tmp_path) as chain:
        read = chain.read_each(pieces_of(CHAIN))
        assert [states for states, _ in zip(read, range(3), strict=False)]
        until(lambda: not [one for one in gc.get_objects() if isinstance(one, Boundary)])
        read.close()


def threads_named(*beginnings: str) -> list[threading.Thread]:
    return [one for one in threading.enumerate() if one.name.startswith(beginnings)]


def test_what_is_read_in_many_threads_is_made_in_one(tmp_path: Path) -> None:
    with serving(CHAIN) as node, reading(node.url, tmp_path) as chain:
        read = chain.read_each(pieces_of(CHAIN))
        next(read)
        assert len(threads_named("reading ahead")) == AT_ONCE
        assert len(threads_named("made alone")) == 1
        read.close()


def asks_late(call: Call) -> bool:
    """Whether a call asks for the prices of an epoch of a piece after the first `AT_ONCE`."""
    if call.request["method"] != "state_queryStorageAt":
        return False
    asked = [key for key in call.request["params"][0] if key.startswith(PRICES)]
    return any(number(f"0x{key[-8:]}") >= AT_ONCE * PIECE for key in asked)


def until(condition: Callable[[], object]) -> None:
    patience = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < patience
        time.sleep(0.01)


def test_who_gives_up_does_not_wait_for_what_is_read_ahead(tmp_path: Path) -> None:
    asked: list[Call] = []

    async def falling_silent(call: Call) -> object:
        if asks_late(call):
            asked.append(call)
            await asyncio.sleep(60)
        return call.answer()

    with serving(CHAIN, tamper=falling_silent) as node, reading(node.url, tmp_path) as chain:
        chain.head()
        read = chain.read_each(pieces_of(CHAIN))
        next(read), next(read)
        until(lambda: asked)
        begun = time.monotonic()
        read.close()
        assert time.monotonic() - begun < 3
        assert not threads_named("reading ahead", "made alone")


@pytest.mark.usefixtures("hurried")
def test_what_was_read_before_a_failure_is_had_and_the_failure_comes_in_its_turn(
    tmp_path: Path,
) -> None:
    switch = Switch()
    with serving(CHAIN, tamper=switch) as node, reading(node.url, tmp_path, attempts=2) as chain:
        chain.head()
        read = chain.read_each(pieces_of(CHAIN))
        had = [next(read)]
        switch.on = True
        with pytest.raises(NodeUnreachableError, match="cannot be reached"):
            had.extend(read)
        switch.on = False
        rest = list(pieces_of(CHAIN))[len(had) :]
        assert_true(assembling.concat([*had, *chain.read_each(rest)]), CHAIN)


@pytest.mark.usefixtures("hurried")
def test_what_failed_ahead_of_its_turn_is_read_again_in_its_turn(tmp_path: Path) -> None:
    failing, failed = True, 0

    async def moody(call: Call) -> object:
        nonlocal failed
        if failing and asks_late(call):
            failed += 1
            return tampering.error(call, -32601, "Method not found")
        return call.answer()

    with serving(CHAIN, tamper=moody) as node, reading(node.url, tmp_path) as chain:
        chain.head()
        read = chain.read_each(pieces_of(CHAIN))
        had = [next(read), next(read)]
        until(lambda: failed)
        time.sleep(0.5)  # until those who asked know it, too
        failing = False
        assert_true(assembling.concat([*had, *read]), CHAIN)


def test_another_endpoint_takes_over_what_was_being_read_ahead(tmp_path: Path) -> None:
    async def breaking(call: Call) -> object:
        return await without_keys(call) if call.total > 40 else call.answer()

    with (
        serving(CHAIN, tamper=breaking) as broken,
        noting(CHAIN) as (whole, asked),
        reading(f"{broken.url},{whole.url}", tmp_path) as chain,
    ):
        chain.head()
        assert_true(assembling.concat(chain.read_each(pieces_of(CHAIN))), CHAIN)
        assert asked


def test_an_epoch_that_is_not_completed_is_refused_as_ever(tmp_path: Path) -> None:
    with serving(CHAIN) as node, reading(node.url, tmp_path) as chain:
        last = chain.head().last_completed_epoch
        assert last is not None
        read = chain.read_each([[0], [last + 1]])
        assert [*next(read).epochs["epoch"]] == [0]
        with pytest.raises((ValueError, ChainError)):
            next(read)
