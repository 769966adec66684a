"""Why a node cannot be read, told apart and told with what to do."""

import dataclasses
from pathlib import Path

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
from operator_prices.chain.rpc.blocking import Rpc
from operator_prices.chain.rpc.endpoints import Endpoint
from operator_prices.devchain import tampering
from operator_prices.devchain.chain import DevChain
from operator_prices.devchain.scenario import Scenario
from operator_prices.devchain.server import Call
from operator_prices.devchain.serving import serving
from operator_prices_tests.support.nodes import (
    answering,
)
from operator_prices_tests.support.samples import (
    own_copy,
    reading,
)

SMALL = Scenario(seconds_per_block=0, epochs=12, operators=3, locking_epochs=5, forced=(7,))
CHAIN = DevChain(SMALL)


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
        answering(status, b"<html>no</html>") as (place, _),
        reading(f"{scheme}://{place}", tmp_path) as reader,
        pytest.raises(error, match=fix),
    ):
        reader.head()


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
