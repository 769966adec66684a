"""Several endpoints, of which one stands in for another, and what lies before and beside nodes."""

import asyncio
import dataclasses
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from operator_prices.chain import (
    ArchiveNeededError,
    ChainError,
    NodeBehindError,
    NodeUnreachableError,
    NotASubstrateNodeError,
    RateLimitedError,
    RefusedError,
    WrongChainError,
    connect,
)
from operator_prices.chain.rpc.client import Rpc, backoff
from operator_prices.chain.rpc.endpoints import Endpoint
from operator_prices.chain.substrate import reader as substrate_reader
from operator_prices.chain.substrate.states import NUMBER
from operator_prices.devchain import tampering
from operator_prices.devchain.chain import DevChain
from operator_prices.devchain.scenario import Scenario
from operator_prices.devchain.server import Call, Tamper
from operator_prices.devchain.serving import Node, serving
from operator_prices.local import dagster_home as instances
from operator_prices.local.database import UnusableDatabaseError, usable_database
from operator_prices.local.ports import free_port
from operator_prices.runs.chain import connected_chain
from operator_prices.settings import Settings
from operator_prices_tests.support.samples import (
    assert_all_read,
    epoch_rows,
    own_copy,
    reading,
    true_epoch_rows,
    truth_of,
)

SMALL = Scenario(seconds_per_block=0, epochs=12, operators=3, locking_epochs=5, forced=(7,))
CHAIN = DevChain(SMALL)
OTHER = DevChain(dataclasses.replace(SMALL, seed=2))
TRUTH = {epoch.epoch: epoch for epoch in truth_of(CHAIN)}
NOWHERE = "ws://127.0.0.1:1"


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tries follow each other at once."""
    monkeypatch.setattr("operator_prices.chain.rpc.client.backoff", lambda *_: 0)


def urls(nodes: Iterable[Node], *, http: bool) -> str:
    return ",".join(node.http_url if http else node.url for node in nodes)


def assert_all_true(url: str, cache: Path) -> None:
    with reading(url, cache) as reader:
        assert_all_read(reader, CHAIN)


class Switch:
    """A tamper that cuts every connection while it is on."""

    def __init__(self, after: int | None = None) -> None:
        self.on = False
        self.after = after

    async def __call__(self, call: Call) -> object:
        if self.on or (self.after is not None and call.total > self.after):
            call.close()
            return None
        return call.answer()


def failing_with(code: int, message: str, *methods: str) -> Tamper:
    """Answer some methods with an error, or all if none is named."""

    async def tamper(call: Call) -> object:
        if not methods or call.request["method"] in methods:
            return tampering.error(call, code, message)
        return call.answer()

    return tamper


@contextmanager
def noting(chain: DevChain, tamper: Tamper | None = None) -> Iterator[tuple[Node, list[str]]]:
    """A node and the methods it is asked for."""
    asked: list[str] = []

    async def note(call: Call) -> object:
        asked.append(call.request["method"])
        return await tamper(call) if tamper else call.answer()

    with serving(chain, tamper=note) as node:
        yield node, asked


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


def test_the_first_connection_costs_no_question_about_the_genesis(tmp_path: Path) -> None:
    with noting(CHAIN) as (node, asked), reading(node.url, tmp_path) as reader:
        reader.head()
        assert asked[:2] == ["chain_getHeader", "chain_getBlockHash"]
        assert asked.count("chain_getBlockHash") == 2


@pytest.mark.parametrize("blocks", [0, [0], [3, 0]])
def test_each_later_connection_costs_one_question_which_is_counted(
    blocks: int | list[int],
) -> None:
    with (
        noting(CHAIN, tampering.close_after(3)) as (node, asked),
        Rpc([Endpoint.parse(node.url)], pause=0.01) as client,
    ):
        client.call("chain_getBlockHash", blocks)
        for _ in range(6):
            client.call("system_chain")
        assert client.sent == len(asked)
    connection = ["chain_getBlockHash", "system_chain", "system_chain"]
    assert asked == [*connection, "system_chain", *connection, "system_chain", *connection]


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


async def without_hashes(call: Call) -> object:
    """Knows its head, and the blocks below it not yet."""
    answer = own_copy(call)
    if call.request["method"] == "chain_getBlockHash" and isinstance(answer["result"], list):
        asked = call.request["params"][0]
        answer["result"] = [
            None if 0 < block < 2000 else known
            for block, known in zip(asked, answer["result"], strict=True)
        ]
    return answer


async def of_another_block(call: Call) -> object:
    """Answers every question about a state with a state whose number is another."""
    answer = own_copy(call)
    if call.request["method"] == "state_queryStorageAt":
        for change in answer["result"][0]["changes"]:
            if change[0] == NUMBER and change[1]:
                change[1] = "0xffffff00"
    return answer


async def without_keys(call: Call) -> object:
    answer = own_copy(call)
    if call.request["method"] == "state_queryStorageAt":
        del answer["result"][0]["changes"][-1]
    return answer


@pytest.mark.parametrize("tamper", [without_hashes, of_another_block, without_keys])
def test_a_second_endpoint_stands_in_for_one_that_is_not_whole(
    tamper: Tamper, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(substrate_reader, "NULL_HASH_PAUSES", (0.0,))
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
    monkeypatch.setattr(substrate_reader, "NULL_HASH_PAUSES", (0.0,))
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


@contextmanager
def answering(status: int, body: bytes) -> Iterator[tuple[str, list[str | None]]]:
    """A server that answers all with the same JSON; its place, and each `Authorization`."""
    seen: list[str | None] = []

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            seen.append(self.headers.get("Authorization"))
            self.rfile.read(int(self.headers.get("content-length", 0)))
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = answer  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_port}", seen
        server.shutdown()


@pytest.mark.parametrize(
    ("status", "body", "error", "fix"),
    [
        (401, b'{"message":"no"}', RefusedError, "refuses our authorization.*HTTP 401"),
        (403, b'{"error":"forbidden"}', RefusedError, "refuses our authorization.*HTTP 403"),
        (404, b'{"detail":"Not Found"}', NotASubstrateNodeError, "HTTP 404.*ARCHIVE_NODE_URL"),
        (500, b'{"message":"x"}', NodeUnreachableError, "HTTP 500"),
        (500, b"[]", NodeUnreachableError, "HTTP 500"),
        (200, b'{"message":"hello"}', NotASubstrateNodeError, "no JSON-RPC.*ARCHIVE_NODE_URL"),
        (200, b'{"error":"busy"}', NodeUnreachableError, "busy"),
    ],
)
def test_json_that_is_no_answer_is_told_by_what_it_is(
    status: int, body: bytes, error: type[ChainError], fix: str
) -> None:
    with (
        answering(status, body) as (place, _),
        Rpc([Endpoint.parse(f"http://{place}")], pause=0.01, timeout=5) as client,
        pytest.raises(error, match=fix),
    ):
        client.call("system_chain")


def test_an_error_with_an_http_status_is_still_an_answer() -> None:
    body = b'{"id":1,"error":{"code":-32601,"message":"Method not found"}}'
    with (
        answering(400, body) as (place, _),
        Rpc([Endpoint.parse(f"http://{place}")], pause=0.01, timeout=5) as client,
        pytest.raises(RefusedError, match="Method not found"),
    ):
        client.call("system_chain")


def test_json_over_a_websocket_that_is_no_answer_is_no_substrate_node() -> None:
    async def hello(_: Call) -> object:
        return {"hello": 1}

    with (
        serving(CHAIN, tamper=hello) as node,
        Rpc([Endpoint.parse(node.url)], pause=0.01, timeout=5) as client,
        pytest.raises(NotASubstrateNodeError, match="no JSON-RPC"),
    ):
        client.call("system_chain")


def test_a_notice_is_no_answer_and_does_no_harm() -> None:
    async def noticed(call: Call) -> object:
        if call.request["method"] == "system_chain":
            return call.answer()
        return {"jsonrpc": "2.0", "method": "chain_newHead", "params": {}}

    with (
        serving(CHAIN, tamper=noticed) as node,
        Rpc([Endpoint.parse(node.url)], pause=0.01, timeout=0.5, attempts=2) as client,
    ):
        with pytest.raises(NodeUnreachableError, match="no answer in time"):
            client.call("system_name")
        assert client.call("system_chain")


@pytest.mark.parametrize("scheme", ["ws", "http"])
@pytest.mark.parametrize(
    ("user", "authorization", "arrives"),
    [
        ("", "Bearer abc", "Bearer abc"),
        ("me:pw@", None, "Basic bWU6cHc="),
        ("", None, None),
    ],
)
@pytest.mark.usefixtures("hurried")
def test_the_authorization_arrives_at_the_node(
    scheme: str, user: str, authorization: str | None, arrives: str | None, tmp_path: Path
) -> None:
    with (
        answering(401, b"{}") as (place, seen),
        connect(
            f"{scheme}://{user}{place}", domain_id=0, cache=tmp_path, authorization=authorization
        ) as chain,
        pytest.raises(RefusedError),
    ):
        chain.head()
    assert set(seen) == {arrives}


@pytest.mark.parametrize(
    "url",
    [
        "me:secret@node.example:9944/ws",
        "ftp://me:secret@node.example/ws",
        "wss//me:secret@node.example/ws",
        "//me:secret@node.example",
        "ws://me:sec/ret@node.example",
        "ws://me:12/secret@node.example",
        "ws://me:secret#more@node.example/ws",
        "ws://me:12#secret@node.example/ws",
        "ws://me:12?secret@node.example/ws",
        "ws://me:secret@",
        "ws://me:secret@node.example:port/ws?token=secret",
        "http://me:secret@node.example:99999/ws?token=secret",
        "ws://node.example:0x/ws?token=secret",
        "ws://node.example:0/ws?token=secret",
        "ws://secret@[::1",
    ],
)
def test_what_is_no_node_address_is_refused_without_its_text(url: str) -> None:
    with pytest.raises(NotASubstrateNodeError, match="ARCHIVE_NODE_URL") as raised:
        Endpoint.parse(url)
    assert "sec" not in str(raised.value)
    assert "node.example" not in str(raised.value)


def test_an_address_is_shown_without_its_secrets() -> None:
    endpoint = Endpoint.parse("wss://me:secret@[::1]:9944/ws?token=secret#secret")
    assert str(endpoint) == "wss://[::1]:9944/ws"
    assert repr(endpoint) == "Endpoint('wss://[::1]:9944/ws')"
    assert repr(Endpoint.parse("wss://h/ws", "Bearer secret")) == "Endpoint('wss://h/ws')"


@pytest.mark.usefixtures("hurried")
@pytest.mark.parametrize("scheme", ["ws", "http"])
@pytest.mark.parametrize(
    "host", ["no host", "nope.invalid", "h%zz"], ids=["invalid", "unknown", "escaped"]
)
def test_no_error_on_the_way_to_a_node_shows_its_token(scheme: str, host: str) -> None:
    with (
        Rpc([Endpoint.parse(f"{scheme}://{host}/ws?token=hidden")]) as client,
        pytest.raises(NodeUnreachableError, match="cannot be reached") as raised,
    ):
        client.call("system_chain")
    assert "hidden" not in str(raised.value)


@pytest.mark.parametrize(
    "url", ["me:secret@db.example/prices", "postgresql://me:not@secret@db.example/prices"]
)
def test_a_database_address_that_is_none_is_refused_without_its_text(
    url: str, tmp_path: Path
) -> None:
    settings = Settings(data_dir=tmp_path, database_url=url)
    with (
        pytest.raises(UnusableDatabaseError, match="DATABASE_URL") as raised,
        usable_database(settings),
    ):
        pass
    assert "secret" not in str(raised.value)


@pytest.mark.usefixtures("database")
def test_a_command_takes_a_share_of_the_limit_like_a_run(
    dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(CHAIN) as node:
        settings = Settings(data_dir=tmp_path, database_url=dsn, archive_node_url=node.url)
        for name, value in instances.environment(settings).items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("REQUESTS_PER_SECOND", "80")
        with connected_chain(settings) as chain:
            asked, begun = chain.requests, time.monotonic()
            chain.head()
            assert (chain.requests - asked) / (time.monotonic() - begun) < 30


def test_the_window_is_halved_by_a_drop_and_grows_again() -> None:
    opened, peaks = 0, []

    async def watched(call: Call) -> object:
        nonlocal opened
        if call.connection == 1:
            call.close()
            return None
        opened += 1
        await asyncio.sleep(0.01)
        peaks.append(opened)
        opened -= 1
        return call.answer()

    with (
        serving(CHAIN, tamper=watched) as node,
        Rpc([Endpoint.parse(node.url)], in_flight=8, pause=0.01) as client,
    ):
        client.call_many([("system_chain", [])] * 200)
    assert max(peaks[:4]) == 4
    assert max(peaks) == max(peaks[-100:-10]) == 8


def test_waits_double_and_are_never_all_the_same() -> None:
    for tries, longest in ((0, 0.25), (1, 0.5), (3, 2), (5, 8), (50, 8)):
        waits = [backoff(0.25, tries) for _ in range(200)]
        assert longest / 2 <= min(waits) < longest * 0.6
        assert longest * 0.9 < max(waits) <= longest
        assert len(set(waits)) > 190


@pytest.mark.parametrize(
    ("tamper", "tries"),
    [(failing_with(-32603, "Internal error"), range(1, 12)), (Switch(after=0), range(1, 6))],
    ids=["refused", "dropped"],
)
def test_between_two_tries_there_is_a_wait_that_grows(
    tamper: Tamper, tries: range, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[int] = []

    def at_once(_: float, tries: int) -> float:
        waited.append(tries)
        return 0

    monkeypatch.setattr("operator_prices.chain.rpc.client.backoff", at_once)
    with (
        serving(CHAIN, tamper=tamper) as node,
        Rpc([Endpoint.parse(node.url)], pause=0.01) as client,
        pytest.raises(NodeUnreachableError),
    ):
        client.call("system_chain")
    assert waited[: len(tries)] == list(tries)


@pytest.mark.usefixtures("hurried")
def test_only_connections_in_a_row_without_an_answer_are_counted() -> None:
    async def moody(call: Call) -> object:
        if call.connection % 3 or call.number > 1:
            call.close()
            return None
        return call.answer()

    with (
        serving(CHAIN, tamper=moody) as node,
        Rpc([Endpoint.parse(node.url)], attempts=4) as client,
    ):
        assert all(client.call("system_chain") for _ in range(4))


@pytest.mark.usefixtures("hurried")
def test_who_was_given_up_is_tried_as_often_the_next_time() -> None:
    async def late(call: Call) -> object:
        if call.connection <= 4:
            call.close()
            return None
        return call.answer()

    with (
        serving(CHAIN, tamper=late) as node,
        Rpc([Endpoint.parse(node.url)], attempts=3) as client,
    ):
        with pytest.raises(NodeUnreachableError):
            client.call("system_chain")
        assert client.call("system_chain")
