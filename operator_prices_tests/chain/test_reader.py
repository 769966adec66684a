"""The reader against a chain whose truth is known: written by others, encoded by `scalecodec`."""

import dataclasses
from pathlib import Path

import pytest

from operator_prices.chain import (
    connect,
)
from operator_prices.chain.rpc.blocking import Rpc
from operator_prices.chain.rpc.endpoints import Endpoint
from operator_prices.chain.substrate import keys
from operator_prices.chain.substrate.storage import LAST_RUNTIME_UPGRADE, values_in
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


@pytest.mark.parametrize(
    ("changes", "values"),
    [
        ([["0x01", "0xaa"], ["0x02", None]], {"0x01": "0xaa", "0x02": None}),
        ([["0x02", None], ["0x01", "0xaa"]], {"0x01": "0xaa", "0x02": None}),
        ([["0x02", None], ["0x03", "0xbb"], ["0x01", "0xaa"]], {"0x01": "0xaa", "0x02": None}),
        ([["0x01", "0xaa"]], None),
        ([["0x01", "0xaa"], ["0x02"]], None),
        ([["0x01", "0xaa"], None], None),
    ],
    ids=["in order", "in another order", "more than asked", "one lacks", "no value", "no pair"],
)
def test_values_are_taken_by_their_keys_and_all_of_them_or_none(
    changes: list[object], values: dict[str, str | None] | None
) -> None:
    told = values_in([{"block": "0x00", "changes": changes}], ["0x01", "0x02"])
    assert told == values
    assert told is None or list(told) == ["0x01", "0x02"]


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
