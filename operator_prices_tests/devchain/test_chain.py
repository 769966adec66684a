"""A client that knows nothing of the development chain reads from it what is true."""

import json
from collections.abc import Iterator
from hashlib import blake2b
from typing import Any
from urllib.request import Request, urlopen

import pytest
from scalecodec.base import ScaleBytes
from substrateinterface import SubstrateInterface
from substrateinterface.utils.hasher import two_x64_concat, xxh128
from websocket import WebSocket, create_connection

from operator_prices.devchain.chain import DevChain
from operator_prices.devchain.scenario import Layout, Scenario, Upgrade
from operator_prices.devchain.serving import Node, serving
from operator_prices.devchain.truth import EpochTruth
from operator_prices.settings import PROJECT

Json = Any  # whatever was answered
STILL = Scenario(epochs=60, operators=8, locking_epochs=10, seconds_per_block=0, seed=7)
REAL_METADATA = PROJECT.parent / "shared" / "chain" / "chronos-metadata-v14.scale"


@pytest.fixture(scope="module")
def node() -> Iterator[Node]:
    with serving(STILL) as running:
        yield running


@pytest.fixture(scope="module")
def substrate(node: Node) -> Iterator[SubstrateInterface]:
    with SubstrateInterface(url=node.url) as interface:
        yield interface


def ask(node: Node, method: str, *params: object) -> Json:
    """The result of one call over HTTP; an error is returned as `(code, message)`."""
    answer = post(node, {"jsonrpc": "2.0", "id": 1, "method": method, "params": list(params)})
    assert answer["id"] == 1
    if "error" in answer:
        return answer["error"]["code"], answer["error"]["message"]
    return answer["result"]


def post(node: Node, body: object) -> Json:
    request = Request(node.http_url, json.dumps(body).encode(), method="POST")  # noqa: S310
    with urlopen(request) as response:  # noqa: S310
        return json.load(response)


def storage_key(pallet: str, item: str, suffix: bytes = b"") -> str:
    prefix: bytes = xxh128(pallet.encode()) + xxh128(item.encode())
    return "0x" + (prefix + suffix).hex()


def epoch_truth(node: Node, epoch: int) -> EpochTruth:
    return next(one for one in node.chain.truth() if one.epoch == epoch)


def check_against_truth(
    substrate: SubstrateInterface, truth: EpochTruth, price_scale: int = 1
) -> None:
    """Read an epoch as substrate-interface does, and compare with what was noted down."""
    end, transition = truth.end_hash, truth.transition_hash
    assert substrate.get_block_hash(truth.end_block) == end
    assert substrate.query("Timestamp", "Now", block_hash=end).value == truth.timestamp
    summary = substrate.query("Domains", "DomainStakingSummary", [0], block_hash=end).value
    after = substrate.query("Domains", "DomainStakingSummary", [0], block_hash=transition).value
    assert summary["current_epoch_index"] == truth.epoch
    assert after["current_epoch_index"] == truth.epoch + 1
    assert summary["current_total_stake"] == truth.total_stake
    rewards, active = dict(summary["current_epoch_rewards"]), dict(summary["current_operators"])
    assert rewards == truth.rewards
    found = {
        key.value: operator.value
        for key, operator in substrate.query_map("Domains", "Operators", block_hash=end)
        if operator.value["current_domain_id"] == 0
    }
    assert list(found) == list(truth.operators)
    for operator_id, operator in found.items():
        expected = truth.operators[operator_id]
        status = operator["partial_status"]
        price = substrate.query(
            "Domains",
            "OperatorEpochSharePrice",
            [operator_id, (0, truth.epoch)],
            block_hash=transition,
        ).value
        assert (None if price is None else price * price_scale) == expected.price
        assert operator["current_total_shares"] == expected.shares
        assert operator["current_total_stake"] == expected.stake
        assert operator["nomination_tax"] == expected.tax
        assert operator["total_storage_fee_deposit"] == expected.storage_fee_deposit
        assert operator["minimum_nominator_stake"] == expected.minimum_nominator_stake
        assert operator["signing_key"] == "0x" + expected.signing_key.hex()
        assert (status if isinstance(status, str) else next(iter(status))) == expected.status
        assert rewards.get(operator_id, 0) == expected.reward
        assert active.get(operator_id, 0) == expected.active_stake


@pytest.mark.parametrize("epoch", [0, 1, 5, 17, 31, 59])
def test_substrate_interface_reads_what_is_true(
    node: Node, substrate: SubstrateInterface, epoch: int
) -> None:
    check_against_truth(substrate, epoch_truth(node, epoch))


@pytest.mark.skipif(not REAL_METADATA.exists(), reason=f"no real metadata at {REAL_METADATA}")
def test_with_real_metadata_substrate_interface_reads_what_is_true_as_well() -> None:
    scenario = Scenario(epochs=30, seconds_per_block=0, metadata=REAL_METADATA)
    with serving(scenario) as node, SubstrateInterface(url=node.url) as substrate:
        check_against_truth(substrate, epoch_truth(node, 12))
        assert substrate.get_constant("Domains", "ConfirmationDepthK").value == 100
        assert substrate.query("System", "LastRuntimeUpgrade").value["spec_version"] == 6
        deposits = list(substrate.query_map("Domains", "Deposits", max_results=500))
        assert {key[0].value for key, _ in deposits} >= {0, 1}
        withdrawals = list(substrate.query_map("Domains", "Withdrawals", max_results=500))
        assert withdrawals


def test_constants_and_properties_are_those_of_the_network(substrate: SubstrateInterface) -> None:
    assert substrate.get_constant("Domains", "StakeEpochDuration").value == 100
    assert substrate.get_constant("Domains", "ConfirmationDepthK").value == 100
    assert substrate.properties == {
        "ss58Format": 6094,
        "tokenDecimals": 18,
        "tokenSymbol": "AI3",
    }


def test_a_block_hash_is_that_of_the_header_that_the_client_encodes_again(
    node: Node, substrate: SubstrateInterface
) -> None:
    compact = substrate.runtime_config.create_scale_object("Compact<u32>")
    upgrade_free = epoch_truth(node, 3).end_block
    for number in (0, 1, 63, 64, upgrade_free, node.chain.head):
        block_hash = ask(node, "chain_getBlockHash", number)
        header = ask(node, "chain_getHeader", block_hash)
        logs = [bytes.fromhex(log[2:]) for log in header["digest"]["logs"]]
        encoded = b"".join(
            [
                bytes.fromhex(header["parentHash"][2:]),
                bytes(compact.encode(int(header["number"], 16)).data),
                bytes.fromhex(header["stateRoot"][2:]),
                bytes.fromhex(header["extrinsicsRoot"][2:]),
                bytes(compact.encode(len(logs)).data),
                *logs,
            ]
        )
        assert "0x" + blake2b(encoded, digest_size=32).hexdigest() == block_hash
        assert int(header["number"], 16) == number
        if number:
            assert header["parentHash"] == ask(node, "chain_getBlockHash", number - 1)
            digest = substrate.runtime_config.create_scale_object(
                "sp_runtime::generic::digest::DigestItem", data=ScaleBytes(logs[0])
            )
            assert "PreRuntime" in digest.decode()


def test_the_state_of_a_block_names_the_block(node: Node) -> None:
    number = node.chain.head - 20
    block_hash, parent = ask(node, "chain_getBlockHash", [number, number - 1])
    remembered = two_x64_concat((number - 250).to_bytes(4, "little"))
    forgotten = two_x64_concat((number - 251).to_bytes(4, "little"))
    keys = [
        storage_key("System", "Number"),
        storage_key("System", "ParentHash"),
        storage_key("System", "BlockHash", remembered),
        storage_key("System", "BlockHash", forgotten),
    ]
    ((group),) = ask(node, "state_queryStorageAt", keys, block_hash)
    assert group == {
        "block": block_hash,
        "changes": [
            [keys[0], "0x" + number.to_bytes(4, "little").hex()],
            [keys[1], parent],
            [keys[2], ask(node, "chain_getBlockHash", number - 250)],
            [keys[3], None],
        ],
    }


def consensus_blocks(node: Node, anchor: int) -> dict[int, str]:
    """Blocks that `ConsensusBlockHash` names at an anchor, and their hashes."""
    numbers = range(anchor + 1)
    keys = [
        storage_key("Domains", "ConsensusBlockHash", bytes(4) + number.to_bytes(4, "little"))
        for number in numbers
    ]
    anchor_hash = ask(node, "chain_getBlockHash", anchor)
    ((group),) = ask(node, "state_queryStorageAt", keys, anchor_hash)
    return {
        number: value
        for number, (_, value) in zip(numbers, group["changes"], strict=True)
        if value is not None
    }


def head_domain_number(node: Node, block: int) -> int:
    key = storage_key("Domains", "HeadDomainNumber", bytes(4))
    value = ask(node, "state_getStorage", key, ask(node, "chain_getBlockHash", block))
    return int.from_bytes(bytes.fromhex(value[2:]), "little")


@pytest.mark.parametrize("back", range(6))
def test_consensus_block_hashes_lead_to_the_transition_blocks(node: Node, back: int) -> None:
    anchor = node.chain.head - back
    entries = consensus_blocks(node, anchor)
    newest_first = sorted(entries, reverse=True)
    assert newest_first[0] < anchor
    head = head_domain_number(node, anchor - 1)
    assert len(newest_first) == head
    regular = [one for one in node.chain.truth() if head_domain_number_of(one, node) % 100 == 0]
    assert len(regular) > 50
    for truth in regular:
        number = head_domain_number_of(truth, node)
        assert newest_first[head - number] == truth.transition_block
        assert entries[truth.transition_block] == truth.transition_hash


def head_domain_number_of(truth: EpochTruth, node: Node) -> int:
    return node.chain.head_domain_number(node.chain.domains[0], truth.transition_block)


def test_consensus_block_hashes_are_kept_for_the_last_14400_domain_blocks() -> None:
    chain = DevChain(Scenario(epochs=150, operators=1, seconds_per_block=0))
    with serving(chain) as node:
        anchor = chain.head
        entries = consensus_blocks(node, anchor)
        head = head_domain_number(node, anchor - 1)
        assert head > 14_400
        assert len(entries) == 14_400
        assert chain.blocks.number(bytes.fromhex(entries[min(entries)][2:])) == min(entries)
        prefix = storage_key("Domains", "ConsensusBlockHash")
        assert len(list(listed(node, prefix, ask(node, "chain_getBlockHash", anchor)))) == 14_400


def listed(node: Node, prefix: str, block_hash: str) -> Iterator[str]:
    page = ask(node, "state_getKeysPaged", prefix, 1000, None, block_hash)
    while page:
        yield from page
        page = ask(node, "state_getKeysPaged", prefix, 1000, page[-1], block_hash)


def test_all_keys_are_listed_in_order_and_every_one_has_a_value(node: Node) -> None:
    end = epoch_truth(node, 30).end_hash
    keys = list(listed(node, "0x", end))
    assert keys == sorted(set(keys))
    ((group),) = ask(node, "state_queryStorageAt", keys, end)
    assert [key for key, _ in group["changes"]] == keys
    assert all(value is not None for _, value in group["changes"])
    domains = storage_key("Domains", "")[:34]
    assert list(listed(node, domains, end)) == [key for key in keys if key.startswith(domains)]


def test_absent_keys_are_null_and_in_the_order_asked(node: Node) -> None:
    operators = [storage_key("Domains", "Operators", n.to_bytes(8, "little")) for n in (99, 0, 98)]
    ((group),) = ask(node, "state_queryStorageAt", [*operators, "0x", "0x1234"])
    assert [value is None for _, value in group["changes"]] == [True, False, True, True, True]


def test_before_the_domain_there_is_no_summary(node: Node) -> None:
    key = storage_key("Domains", "DomainStakingSummary", bytes(4))
    before, at = ask(node, "chain_getBlockHash", [STILL.created - 1, STILL.created])
    assert ask(node, "state_getStorage", key, before) is None
    assert ask(node, "state_getStorage", key, at) is not None
    assert ask(node, "state_getStorageSize", key, at) > 4


def test_block_hashes_are_answered_for_any_way_to_ask(node: Node) -> None:
    head = ask(node, "chain_getBlockHash")
    assert head == ask(node, "chain_getBlockHash", None)
    assert head == ask(node, "chain_getBlockHash", hex(node.chain.head))
    assert ask(node, "chain_getBlockHash", node.chain.head + 1) is None
    assert ask(node, "chain_getBlockHash", [0, "0x0", None, 10**6]) == [
        node.chain.genesis_hash,
        node.chain.genesis_hash,
        head,
        None,
    ]


def test_the_finalized_head_lags_hundreds_of_blocks_behind(node: Node) -> None:
    header = ask(node, "chain_getHeader", ask(node, "chain_getFinalizedHead"))
    assert 600 <= node.chain.head - int(header["number"], 16) < 700


UNKNOWN = "0x" + "ab" * 32


@pytest.mark.parametrize(
    ("method", "params", "code", "words"),
    [
        ("state_call", ["Core_version", "0x"], -32601, "Method not found"),
        ("chain_subscribeNewHeads", [], -32601, "Method not found"),
        ("state_getStorage", [], -32602, "Invalid params"),
        ("state_getStorage", ["no hex"], -32602, "Invalid params"),
        ("state_getStorage", [None], -32602, "Invalid params"),
        ("state_getStorage", ["0x00", "0x1234"], -32602, "Invalid params"),
        ("state_queryStorageAt", ["0x00"], -32602, "Invalid params"),
        ("state_queryStorageAt", [[{}]], -32602, "Invalid params"),
        ("state_getKeysPaged", ["0x", "many"], -32602, "Invalid params"),
        ("state_getKeysPaged", ["0x", 1001], 4002, "count exceeds maximum value"),
        ("chain_getBlockHash", [-1], -32602, "Invalid params"),
        ("chain_getBlockHash", [{}], -32602, "Invalid params"),
        ("chain_getBlockHash", ["block"], -32602, "Invalid params"),
        ("chain_getHeader", [7], -32602, "Invalid params"),
        ("system_name", [1], -32602, "Invalid params"),
        ("state_getStorage", ["0x00", UNKNOWN], 4003, "Header was not found in the database"),
        ("state_getMetadata", [UNKNOWN], 4003, "Header was not found in the database"),
    ],
)
def test_what_a_node_refuses_is_refused(
    node: Node, method: str, params: list[object], code: int, words: str
) -> None:
    found, message = ask(node, method, *params)
    assert found == code
    assert words in message


def test_an_unknown_block_has_no_header(node: Node) -> None:
    assert ask(node, "chain_getHeader", UNKNOWN) is None
    assert ask(node, "chain_getBlock", UNKNOWN) is None


def test_a_batch_is_answered_one_by_one_and_nonsense_with_an_error(node: Node) -> None:
    calls = [
        {"jsonrpc": "2.0", "id": "a", "method": "system_chain"},
        {"jsonrpc": "2.0", "id": "b", "method": "nothing"},
        {"jsonrpc": "2.0", "method": "system_chain"},
        5,
    ]
    first, second, third = post(node, calls)
    assert (first["id"], first["result"]) == ("a", "Autonomys Development")
    assert (second["id"], second["error"]["code"]) == ("b", -32601)
    assert (third["id"], third["error"]["code"]) == (None, -32600)
    assert post(node, [])["error"]["code"] == -32600
    by_name = {"jsonrpc": "2.0", "id": 1, "method": "chain_getHeader", "params": {"hash": None}}
    assert post(node, by_name)["error"]["code"] == -32602
    with urlopen(Request(node.http_url, b"{", method="POST")) as response:  # noqa: S310
        assert json.load(response)["error"]["code"] == -32700


def test_a_pruned_node_says_so() -> None:
    scenario = Scenario(epochs=5, operators=2, seconds_per_block=0, keep_states=256)
    with serving(scenario) as node:
        old, kept = ask(node, "chain_getBlockHash", [node.chain.head - 257, node.chain.head - 256])
        key = storage_key("System", "Number")
        code, message = ask(node, "state_getStorage", key, old)
        assert (code, message) == (
            4003,
            f"Client error: UnknownBlock: State already discarded for {old}",
        )
        assert ask(node, "state_getStorage", key, kept) is not None
        assert ask(node, "chain_getHeader", old) is not None


def receive(socket: WebSocket) -> Json:
    return json.loads(socket.recv())


def subscribe(socket: WebSocket, method: str) -> str:
    socket.send(json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": []}))
    return str(receive(socket)["result"])


def test_subscribers_are_told_of_each_new_head_until_they_leave(node: Node) -> None:
    scenario = Scenario(epochs=2, operators=2, seconds_per_block=0, finality_lag=100)
    with serving(scenario) as other:
        socket = create_connection(other.url, timeout=10)
        name = subscribe(socket, "chain_subscribeNewHeads")
        heads = [receive(socket)]
        other.produce(3)
        heads += [receive(socket) for _ in range(3)]
        assert {head["method"] for head in heads} == {"chain_newHead"}
        assert {head["params"]["subscription"] for head in heads} == {name}
        numbers = [int(head["params"]["result"]["number"], 16) for head in heads]
        assert numbers == list(range(other.chain.head - 3, other.chain.head + 1))

        end = {"jsonrpc": "2.0", "id": 2, "method": "chain_unsubscribeNewHeads", "params": [name]}
        socket.send(json.dumps(end))
        assert receive(socket)["result"] is True
        other.produce()
        finalized = subscribe(socket, "chain_subscribeFinalizedHeads")
        first = receive(socket)
        assert first["method"] == "chain_finalizedHead"
        assert first["params"]["subscription"] == finalized
        other.produce(100)
        assert receive(socket)["method"] == "chain_finalizedHead"
        socket.close()
    assert ask(node, "chain_getBlockHash", 0) == node.chain.genesis_hash


def test_a_served_chain_grows_by_itself() -> None:
    with serving(Scenario(epochs=2, operators=2, seconds_per_block=0.01)) as node:
        socket = create_connection(node.url, timeout=10)
        subscribe(socket, "chain_subscribeNewHeads")
        numbers = [int(receive(socket)["params"]["result"]["number"], 16) for _ in range(5)]
        socket.close()
    assert numbers == list(range(numbers[0], numbers[0] + 5))


def test_a_reorganization_replaces_hashes_and_truth() -> None:
    with serving(Scenario(epochs=12, operators=4, seconds_per_block=0)) as node:
        before = list(node.chain.truth(0))
        head = node.chain.head
        first = before[9].transition_block - 40
        old = ask(node, "chain_getBlockHash", [first - 1, first, head])

        node.reorg(first)

        new = ask(node, "chain_getBlockHash", [first - 1, first, head])
        after = list(node.chain.truth(0))
        assert node.chain.head == head + 1
        assert old[0] == new[0]
        assert not set(old[1:]) & set(new[1:])
        assert ask(node, "chain_getHeader", old[1]) is None
        assert "Header was not found" in ask(node, "state_getStorage", "0x00", old[2])[1]
        assert before[:9] == after[:9]
        assert before[9] != after[9]
        with SubstrateInterface(url=node.url) as substrate:
            check_against_truth(substrate, after[9])


def test_a_seed_is_a_chain_and_the_same_seed_is_the_same_chain() -> None:
    def play(seed: int) -> DevChain:
        return DevChain(Scenario(epochs=3, operators=3, seconds_per_block=0, seed=seed))

    first, again, other = play(1), play(1), play(2)
    assert first.genesis_hash == again.genesis_hash != other.genesis_hash
    assert list(first.truth()) == list(again.truth())
    assert first.blocks.hash(first.head) == again.blocks.hash(again.head)


def test_each_layout_is_read_with_the_metadata_of_the_runtime_that_executed_the_block() -> None:
    scenario = Scenario(
        epochs=24,
        operators=6,
        seconds_per_block=0,
        layout=Layout.PERBILL_REWARDS,
        upgrades=(
            Upgrade(layout=Layout.PERBILL, epoch=8, at="end"),
            Upgrade(layout=Layout.PERQUINTILL, epoch=16, at="transition"),
        ),
    )
    with serving(scenario) as node, SubstrateInterface(url=node.url) as substrate:
        truth = {one.epoch: one for one in node.chain.truth()}
        assert (truth[8].spec_version, truth[8].transition_spec_version) == (1, 2)
        assert (truth[16].spec_version, truth[16].transition_spec_version) == (2, 2)
        assert truth[17].spec_version == 3
        for epoch in (3, 7, 8, 9, 15, 16, 17, 20):
            check_against_truth(substrate, truth[epoch], price_scale=1 if epoch > 16 else 10**9)
        for upgrade, version in ((truth[8].end_block, 1), (truth[16].transition_block, 2)):
            here, after = ask(node, "chain_getBlockHash", [upgrade, upgrade + 1])
            stored = storage_key("System", "LastRuntimeUpgrade")
            assert ask(node, "state_getStorage", stored, here)[2:4] == f"{version * 4:02x}"
            assert ask(node, "state_getStorage", stored, after)[2:4] == f"{version * 4 + 4:02x}"
            assert ask(node, "state_getRuntimeVersion", here)["specVersion"] == version + 1
            assert ask(node, "state_getMetadata", here) == ask(node, "state_getMetadata", after)
            assert "0x08" in ask(node, "chain_getHeader", here)["digest"]["logs"]


def test_a_few_prices_keep_four_bytes_where_all_others_have_eight() -> None:
    odd = frozenset({(0, 3), (1, 4)})
    scenario = Scenario(epochs=10, operators=3, seconds_per_block=0, four_byte_prices=odd)
    with serving(scenario) as node:
        prefix = storage_key("Domains", "OperatorEpochSharePrice")
        keys = ask(node, "state_getKeysPaged", prefix, 1000)
        ((group),) = ask(node, "state_queryStorageAt", keys)
        sizes = {
            (int.from_bytes(raw[32:40], "little"), int.from_bytes(raw[44:48], "little")): value
            for raw, value in ((bytes.fromhex(k[2:]), len(v) // 2 - 1) for k, v in group["changes"])
        }
        assert {key for key, size in sizes.items() if size == 4} == odd & set(sizes)
        assert set(sizes.values()) == {4, 8}
        price = epoch_truth(node, 3).operators[0].price
        assert price is not None
        assert price % 10**9 == 0
