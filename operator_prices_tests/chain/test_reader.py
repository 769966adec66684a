"""The reader against a chain whose truth is known: written by others, encoded by `scalecodec`."""

import dataclasses
import time
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from operator_prices.chain import (
    ArchiveNeededError,
    ChainError,
    DomainMissingError,
    NodeUnreachableError,
    NotASubstrateNodeError,
    RateLimitedError,
    RefusedError,
    connect,
)
from operator_prices.chain.rpc.client import Rpc
from operator_prices.chain.rpc.endpoints import Endpoint
from operator_prices.chain.substrate import keys
from operator_prices.chain.substrate.states import LAST_RUNTIME_UPGRADE
from operator_prices.devchain import tampering
from operator_prices.devchain.chain import DevChain
from operator_prices.devchain.scenario import Layout, Scenario
from operator_prices.devchain.server import Call, Tamper
from operator_prices.devchain.serving import serving
from operator_prices_tests.support.samples import (
    METADATA,
    UPGRADED,
    assert_all_read,
    epoch_rows,
    needs_metadata,
    operator_rows,
    own_copy,
    reading,
    true_epoch_rows,
    true_operator_rows,
    truth_of,
)

SMALL = Scenario(seconds_per_block=0, epochs=30, operators=4, locking_epochs=5, forced=(7,))
REAL = dataclasses.replace(SMALL, metadata=METADATA, four_byte_prices=frozenset({(0, 3), (1, 4)}))

UPGRADED_CHAIN = DevChain(UPGRADED)


def assert_all_true(node_url: str, chain: DevChain, cache: Path) -> int:
    """Read everything and compare it with the truth to the last digit; the requests it took."""
    with reading(node_url, cache) as reader:
        assert_all_read(reader, chain)
        return reader.requests


@pytest.mark.parametrize(
    "scenario",
    [SMALL, UPGRADED, pytest.param(REAL, marks=needs_metadata)],
    ids=["own metadata", "every irregularity and three runtimes", "real metadata"],
)
def test_every_row_is_true_to_the_last_digit(scenario: Scenario, tmp_path: Path) -> None:
    with serving(scenario) as node:
        assert_all_true(node.url, node.chain, tmp_path)


def test_history_that_the_chain_has_cleared_is_still_read(tmp_path: Path) -> None:
    with serving(Scenario(seconds_per_block=0)) as node:
        truth = {epoch.epoch: epoch for epoch in truth_of(node.chain)}
        epoch, operator, price = next(
            (epoch.epoch, operator, told.price)
            for epoch in truth.values()
            for operator, told in epoch.operators.items()
            if told.price is not None and operator not in truth[max(truth)].operators
        )
        (key,) = keys.of_share_prices([operator], 0, epoch)
        with Rpc([Endpoint.parse(node.url)]) as rpc:
            assert rpc.call("state_getStorage", key) is None
        with reading(node.url, tmp_path) as reader:
            read = reader.read([epoch]).prices
    assert (epoch, operator, price) in read.rows()


def test_an_index_that_jumps_leaves_a_skipped_epoch_and_no_gap(tmp_path: Path) -> None:
    with serving(UPGRADED_CHAIN) as node, reading(node.url, tmp_path) as reader:
        states = reader.read([20, 21, 22, 23])
    assert states.epochs["epoch"].to_list() == [20, 21, 23]
    assert states.skipped["epoch"].to_list() == [22]


@pytest.mark.parametrize(
    "tamper",
    [
        tampering.close_after(14),
        tampering.fail_every(10),
        tampering.truncate_every(9),
        tampering.delay(0.05, every=7),
        tampering.reorder(8),
        tampering.rate_limit(40, seconds=0.05),
    ],
    ids=["drops", "errors", "cut short", "delays", "out of order", "rate limited"],
)
def test_a_node_that_misbehaves_gives_the_same_rows(tamper: Tamper, tmp_path: Path) -> None:
    with serving(UPGRADED_CHAIN, tamper=tamper) as node:
        assert_all_true(node.url, node.chain, tmp_path)


def test_drops_and_errors_together_give_the_same_rows(tmp_path: Path) -> None:
    cut, fail = tampering.close_after(14), tampering.fail_every(10)

    async def both(call: Call) -> object:
        return await (fail if call.total % 10 == 0 else cut)(call)

    with serving(UPGRADED_CHAIN, tamper=both) as node:
        assert_all_true(node.url, node.chain, tmp_path)


def test_http_gives_the_same_rows(tmp_path: Path) -> None:
    with serving(UPGRADED_CHAIN, tamper=tampering.fail_every(10)) as node:
        assert_all_true(node.http_url, node.chain, tmp_path)


def test_a_second_endpoint_stands_in_for_a_dead_one(tmp_path: Path) -> None:
    with serving(SMALL) as node:
        assert_all_true(f"ws://127.0.0.1:1,{node.url}", node.chain, tmp_path)


def test_a_second_endpoint_stands_in_for_a_pruned_one(tmp_path: Path) -> None:
    with (
        serving(dataclasses.replace(SMALL, keep_states=300)) as pruned,
        serving(SMALL) as archive,
    ):
        assert_all_true(f"{pruned.url},{archive.url}", archive.chain, tmp_path)


def test_a_pruned_node_is_told_apart_with_the_flags_that_help(tmp_path: Path) -> None:
    with (
        serving(dataclasses.replace(SMALL, keep_states=300)) as node,
        reading(node.url, tmp_path) as reader,
        pytest.raises(ArchiveNeededError, match="--state-pruning archive"),
    ):
        reader.read([3])


def test_a_node_that_is_not_there_is_named_without_its_password(tmp_path: Path) -> None:
    with (
        reading("ws://me:secret@127.0.0.1:1/ws?token=hidden", tmp_path) as reader,
        pytest.raises(NodeUnreachableError, match=r"ws://127\.0\.0\.1:1/ws cannot") as raised,
    ):
        reader.head()
    assert "secret" not in str(raised.value)
    assert "hidden" not in str(raised.value)


def test_a_node_that_always_fails_is_given_up(tmp_path: Path) -> None:
    with (
        serving(SMALL, tamper=tampering.fail_every(1)) as node,
        reading(node.url, tmp_path) as reader,
        pytest.raises(NodeUnreachableError, match="Internal error"),
    ):
        reader.head()


def test_a_node_that_always_limits_is_told_apart(tmp_path: Path) -> None:
    with (
        serving(SMALL, tamper=tampering.rate_limit(0)) as node,
        reading(node.url, tmp_path) as reader,
        pytest.raises(RateLimitedError, match="REQUESTS_PER_SECOND"),
    ):
        reader.head()


def test_something_that_is_no_node_is_told_apart(tmp_path: Path) -> None:
    async def gibberish(_: Call) -> object:
        return b"<html>hello</html>"

    with (
        serving(SMALL, tamper=gibberish) as node,
        reading(node.url, tmp_path) as reader,
        pytest.raises(NotASubstrateNodeError, match="ARCHIVE_NODE_URL"),
    ):
        reader.head()


@contextmanager
def answering(status: int) -> Iterator[str]:
    """A server that answers everything with one HTTP status; its host and port."""

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            self.rfile.read(int(self.headers.get("content-length", 0)))
            self.send_error(status)

        do_GET = do_POST = answer  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize("scheme", ["ws", "http"])
@pytest.mark.parametrize(
    ("status", "error", "fix"),
    [
        (401, RefusedError, "HTTP 401.*ARCHIVE_NODE_AUTHORIZATION"),
        (404, NotASubstrateNodeError, "HTTP 404.*ARCHIVE_NODE_URL"),
        (429, RateLimitedError, "HTTP 429.*REQUESTS_PER_SECOND"),
        (502, NodeUnreachableError, "cannot be reached.*502"),
    ],
)
def test_a_door_that_stays_shut_is_told_by_its_status(
    tmp_path: Path, scheme: str, status: int, error: type[ChainError], fix: str
) -> None:
    with (
        answering(status) as place,
        reading(f"{scheme}://{place}", tmp_path) as reader,
        pytest.raises(error, match=fix),
    ):
        reader.head()


def test_an_answer_to_nobody_is_passed_over(tmp_path: Path) -> None:
    first = True

    async def odd(call: Call) -> object:
        nonlocal first
        answer = own_copy(call)
        if first:
            first, answer["id"] = False, [answer["id"]]
        return answer

    with serving(SMALL, tamper=odd) as node, reading(node.url, tmp_path, timeout=0.5) as reader:
        assert reader.head().last_completed_epoch is not None


def test_what_nobody_thought_of_reaches_who_waits() -> None:
    with serving(SMALL) as node:
        for url in (node.url, node.http_url):
            endpoint = Endpoint(url, {"Authorization": "broken\nin two"})
            with Rpc([endpoint], pause=0.01) as rpc, pytest.raises(ValueError, match=r"[Hh]eader"):
                rpc.call("system_chain")


def test_a_password_may_hold_any_character() -> None:
    endpoint = Endpoint.parse("wss://me%40home:a%2Fb%3Ac@node.example/ws")
    pair = b64decode(endpoint.headers["Authorization"].removeprefix("Basic "))
    assert pair == b"me@home:a/b:c"


def test_an_answer_that_leaves_keys_out_is_not_taken_for_absent_values(tmp_path: Path) -> None:
    async def forgetful(call: Call) -> object:
        answer = own_copy(call)
        if call.request["method"] == "state_queryStorageAt":
            answer["result"][0]["changes"] = answer["result"][0]["changes"][:-1]
        return answer

    with (
        serving(SMALL, tamper=forgetful) as node,
        reading(node.url, tmp_path) as reader,
        pytest.raises(RefusedError, match="leaves keys"),
    ):
        reader.head()


def test_a_domain_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with (
        serving(SMALL) as node,
        connect(node.url, domain_id=7, cache=tmp_path) as reader,
        pytest.raises(DomainMissingError, match="DOMAIN_ID"),
    ):
        reader.head()


def test_nothing_above_the_gate_is_read(tmp_path: Path) -> None:
    with serving(SMALL) as node, connect(node.url, domain_id=0, cache=tmp_path) as reader:
        completed = reader.head().last_completed_epoch
        assert completed is not None
        with connect(node.url, domain_id=0, cache=tmp_path, depth=400) as careful:
            head = careful.head()
            assert head.best_block - head.gate_block == 400
            assert head.last_completed_epoch is not None
            assert head.last_completed_epoch < completed
            with pytest.raises(ValueError, match="not completed"):
                careful.read([completed])


def test_a_reorganisation_above_the_gate_changes_nothing(tmp_path: Path) -> None:
    with serving(SMALL) as node, reading(node.url, tmp_path) as reader:
        head = reader.head()
        before = epoch_rows(reader.read(range(20, 30)))
        node.reorg(head.gate_block + 1, extra=2)
    with serving(node.chain) as again, reading(again.url, tmp_path) as reader:
        assert epoch_rows(reader.read(range(20, 30))) == before


def test_a_value_that_does_not_fit_is_quarantined_and_its_neighbours_are_kept(
    tmp_path: Path,
) -> None:
    broken = "0x0b41d0c7f7b4485bd7be1d66066b00ad34a0a3fbf14e6c92456ca7bd91d59a570100000000000000"

    async def lengthen(call: Call) -> object:
        answer = own_copy(call)
        if call.request["method"] == "state_queryStorageAt":
            for change in answer["result"][0]["changes"]:
                if change[0] == broken and change[1]:
                    change[1] += "00"
        return answer

    with serving(SMALL, tamper=lengthen) as node, reading(node.url, tmp_path) as reader:
        states = reader.read([10])
        truth = true_operator_rows(epoch for epoch in truth_of(node.chain) if epoch.epoch == 10)
    assert set(states.quarantined["storage_key"]) == {broken}
    assert set(states.quarantined["item"]) == {"Operators"}
    assert states.quarantined["raw"].str.ends_with("00").all()
    assert states.quarantined["reason"].str.contains("bytes are no Operators of spec version").all()
    rows = operator_rows(states)
    assert {key: row for key, row in rows.items() if key[1] != 1} == {
        key: row for key, row in truth.items() if key[1] != 1
    }
    assert rows.get((10, 1), (None,) * 4)[3] is None


@pytest.mark.parametrize(("stored", "reason"), [("00" * 8, "outside"), ("ff" * 3, "3 bytes")])
def test_a_price_that_is_none_is_quarantined_and_not_replaced(
    stored: str, reason: str, tmp_path: Path
) -> None:
    prefix = "0x0b41d0c7f7b4485bd7be1d66066b00adf16a4d4929cfe61f4f6bf4153bb44d9d"

    async def spoil(call: Call) -> object:
        answer = own_copy(call)
        if call.request["method"] == "state_queryStorageAt":
            for change in answer["result"][0]["changes"]:
                if change[0].startswith(prefix) and change[1]:
                    change[1] = f"0x{stored}"
        return answer

    with serving(SMALL, tamper=spoil) as node, reading(node.url, tmp_path) as reader:
        states = reader.read([10])
        (truth,) = [epoch for epoch in truth_of(node.chain) if epoch.epoch == 10]
    priced = {operator for operator, told in truth.operators.items() if told.price is not None}
    assert priced
    assert set(states.quarantined["operator_id"]) == priced
    assert states.quarantined["reason"].str.contains(reason).all()
    rows = operator_rows(states)
    assert all(rows[10, operator][:2] == (None, None) for operator in priced)


def test_old_prices_count_in_perquintills(tmp_path: Path) -> None:
    old = dataclasses.replace(SMALL, layout=Layout.PERBILL)
    with serving(old) as node, reading(node.url, tmp_path) as reader:
        prices = reader.read([10]).prices["share_price_perq"].to_list()
    assert prices
    assert all(price % 10**9 == 0 and 10**17 < price <= 10**18 for price in prices)


def test_two_requests_an_epoch(tmp_path: Path) -> None:
    regular = Scenario(seconds_per_block=0, epochs=320, operators=3, forced=())
    with serving(regular) as node:
        with reading(node.url, tmp_path) as reader:
            reader.read(range(300))
            assert reader.requests <= 300 * 2.2
        with reading(node.url, tmp_path) as reader:
            reader.read([137])
            assert reader.requests <= 8


def test_one_epoch_before_a_forced_transition_costs_one_request_more(tmp_path: Path) -> None:
    played = DevChain(Scenario(seconds_per_block=0, epochs=240, operators=3, forced=(60,)))
    truth = true_epoch_rows(truth_of(played))
    with serving(played) as node:
        with reading(node.url, tmp_path) as reader:
            reader.head()  # fetches the runtime
        for epoch, budget in ((0, 9), (1, 9), (20, 9), (59, 9), (60, 30), (61, 8), (200, 8)):
            with reading(node.url, tmp_path) as reader:
                assert epoch_rows(reader.read([epoch])) == {epoch: truth[epoch]}
                assert reader.requests <= budget, epoch


def test_irregular_epochs_alone_are_read_right(tmp_path: Path) -> None:
    truth = true_epoch_rows(truth_of(UPGRADED_CHAIN))
    with serving(UPGRADED_CHAIN) as node:
        for epoch in (0, 7, 8, 9, 11, 12, 20, 21, 23, 32, 33, 34, 40, 41):
            with reading(node.url, tmp_path) as reader:
                states = reader.read([epoch])
                assert epoch_rows(states) == {epoch: truth[epoch]}
                assert states.skipped.is_empty()
                assert reader.requests <= 40, epoch


def test_runtimes_are_fetched_once_and_kept_on_disk(tmp_path: Path) -> None:
    asked: list[str] = []

    async def note(call: Call) -> object:
        asked.append(call.request["method"])
        return call.answer()

    with serving(UPGRADED_CHAIN, tamper=note) as node:
        for fetched in (3, 0):
            asked.clear()
            with reading(node.url, tmp_path) as reader:
                reader.read(range(60) if fetched else [14, 16, 31])
            assert asked.count("state_getMetadata") == fetched


def test_a_rate_limit_of_our_own_is_kept(tmp_path: Path) -> None:
    with (
        serving(SMALL) as node,
        reading(node.url, tmp_path, requests_per_second=100) as reader,
    ):
        begun = time.monotonic()
        reader.read(range(10))
        assert reader.requests / (time.monotonic() - begun) < 110


def test_a_chain_without_an_upgrade_record_is_asked_for_its_version(tmp_path: Path) -> None:
    async def forget(call: Call) -> object:
        answer = own_copy(call)
        if call.request["method"] == "state_queryStorageAt":
            for change in answer["result"][0]["changes"]:
                if change[0] == LAST_RUNTIME_UPGRADE:
                    change[1] = None
        return answer

    with serving(SMALL, tamper=forget) as node:
        assert_all_true(node.url, node.chain, tmp_path)
