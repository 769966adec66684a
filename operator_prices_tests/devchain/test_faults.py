"""The development chain misbehaves when told to, and its command line behaves."""

import json
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.client import RemoteDisconnected
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from websocket import (
    WebSocket,
    WebSocketConnectionClosedException,
    create_connection,
)

from operator_prices.devchain import server
from operator_prices.devchain.chain import DevChain
from operator_prices.devchain.scenario import Scenario
from operator_prices.devchain.server import Tamper
from operator_prices.devchain.serving import Node, serving
from operator_prices.devchain.tampering import (
    close_after,
    delay,
    fail_every,
    rate_limit,
    reorder,
    truncate_every,
)

Json = Any  # whatever was answered
COMMAND = [sys.executable, "-m", "operator_prices.devchain"]


@pytest.fixture(scope="module")
def chain() -> DevChain:
    return DevChain(Scenario(epochs=2, operators=2, seconds_per_block=0))


@contextmanager
def connected(
    chain: DevChain, tamper: Tamper | None = None, latency_ms: float = 0
) -> Iterator[tuple[Node, WebSocket]]:
    with (
        serving(chain, tamper=tamper, latency_ms=latency_ms) as node,
        closing(create_connection(node.url, timeout=10)) as client,
    ):
        yield node, client


def request(number: int) -> str:
    call = {"jsonrpc": "2.0", "id": number, "method": "chain_getBlockHash", "params": [number]}
    return json.dumps(call)


def send(client: WebSocket, count: int) -> None:
    for number in range(count):
        client.send(request(number))


def receive(client: WebSocket) -> Json:
    return json.loads(client.recv())


def post(node: Node, number: int) -> Json:
    body = request(number).encode()
    with urlopen(Request(node.http_url, body, method="POST")) as response:  # noqa: S310
        return json.load(response)


def test_latency_is_per_answer_and_not_one_after_the_other(chain: DevChain) -> None:
    with connected(chain, latency_ms=200) as (_, client):
        began = time.monotonic()
        send(client, 20)
        assert {receive(client)["id"] for _ in range(20)} == set(range(20))
        assert 0.2 <= time.monotonic() - began < 2


def test_a_connection_is_cut_after_its_answers(chain: DevChain) -> None:
    with connected(chain, close_after(3)) as (node, client):
        send(client, 3)
        assert [receive(client)["id"] for _ in range(3)] == [0, 1, 2]
        client.send(request(4))
        with pytest.raises((WebSocketConnectionClosedException, ConnectionError)):
            client.recv()
        with closing(create_connection(node.url, timeout=10)) as again:
            again.send(request(5))
            assert receive(again)["id"] == 5
    with serving(chain, tamper=close_after(0)) as node, pytest.raises(RemoteDisconnected):
        post(node, 1)


def test_every_nth_answer_is_an_error(chain: DevChain) -> None:
    with connected(chain, fail_every(3, -32000, "busy")) as (_, client):
        send(client, 6)
        errors = {}
        for _ in range(6):
            answer = receive(client)
            errors[answer["id"]] = answer.get("error")
    wrong = {"code": -32000, "message": "busy"}
    assert errors == {0: None, 1: None, 2: wrong, 3: None, 4: None, 5: wrong}


def test_every_nth_answer_is_cut_in_two(chain: DevChain) -> None:
    with connected(chain, truncate_every(2)) as (_, client):
        client.send(request(0))
        assert receive(client)["id"] == 0
        client.send(request(1))
        with pytest.raises(json.JSONDecodeError):
            receive(client)


def test_a_delayed_answer_is_overtaken(chain: DevChain) -> None:
    with connected(chain, delay(0.3, every=4)) as (_, client):
        send(client, 6)
        assert [receive(client)["id"] for _ in range(6)] == [0, 1, 2, 4, 5, 3]


def test_answers_come_in_another_order_and_none_is_lost(chain: DevChain) -> None:
    with connected(chain, reorder(5)) as (_, client):
        send(client, 12)
        ids = [receive(client)["id"] for _ in range(12)]
    assert sorted(ids) == list(range(12))
    assert ids != list(range(12))


def test_too_many_calls_are_refused_in_the_way_of_the_transport(chain: DevChain) -> None:
    with connected(chain, rate_limit(4, seconds=60)) as (node, client):
        send(client, 5)
        answers = [receive(client) for _ in range(5)]
        assert ["error" in answer for answer in answers] == [False] * 4 + [True]
        assert answers[4]["error"]["code"] == -32029
        with pytest.raises(HTTPError) as refused:
            post(node, 1)
        assert refused.value.code == 429
        refused.value.close()


def test_an_answer_beyond_15_megabytes_is_an_error(chain: DevChain) -> None:
    with connected(chain) as (_, client):
        key = "0x" + "ab" * 32
        call = {"jsonrpc": "2.0", "id": 1, "method": "state_queryStorageAt"}
        client.send(json.dumps({**call, "params": [[key] * 210_000]}))
        assert receive(client)["error"]["code"] == -32008


def batch(*requests: object) -> str:
    return json.dumps([json.loads(one) if isinstance(one, str) else one for one in requests])


def post_text(node: Node, text: str) -> Json:
    with urlopen(Request(node.http_url, text.encode(), method="POST")) as response:  # noqa: S310
        return json.load(response)


def test_a_batch_is_answered_by_an_array_as_jsonrpsee_does(chain: DevChain) -> None:
    notice = {"jsonrpc": "2.0", "method": "chain_getHeader"}
    unknown = {"jsonrpc": "2.0", "id": 8, "method": "chain_noSuchMethod"}
    with connected(chain) as (node, client):
        client.send(batch(request(2), notice, 5, unknown, request(1)))
        answers = receive(client)
        assert [answer["id"] for answer in answers] == [2, None, 8, 1]
        assert [answer.get("error", {}).get("code") for answer in answers] == [
            *(None, -32600, -32601, None)
        ]
        assert answers[3]["result"] == f"0x{chain.blocks.hash(1).hex()}"
        client.send("[]")
        nothing = receive(client)
        assert (nothing["id"], nothing["error"]["code"]) == (None, -32600)
        assert post_text(node, batch(request(1), request(2))) == [post(node, 1), post(node, 2)]
        assert post_text(node, "[]") == nothing


def test_a_node_takes_as_many_requests_in_one_message_as_it_is_told(chain: DevChain) -> None:
    refused = {0: -32005, 2: -32010}
    for limit, code in refused.items():
        with (
            serving(chain, batch_limit=limit) as node,
            closing(create_connection(node.url, timeout=10)) as client,
        ):
            client.send(batch(*map(request, range(3))))
            answer = receive(client)
            assert (answer["id"], answer["error"]["code"]) == (None, code)
            assert post_text(node, batch(*map(request, range(3)))) == answer
            client.send(request(1))
            assert receive(client) == post(node, 1)
    with serving(chain, batch_limit=2) as node:
        assert len(post_text(node, batch(request(0), request(1)))) == 2


def test_the_limit_of_an_answer_holds_for_each_of_a_batch_and_for_all_of_it(
    chain: DevChain, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "MAX_MESSAGE_BYTES", 800)
    blocks = {"jsonrpc": "2.0", "id": 7, "method": "chain_getBlockHash", "params": [[*range(20)]]}
    with connected(chain) as (_, client):
        client.send(batch(request(1), blocks))
        found = receive(client)
        assert [answer.get("error", {}).get("code") for answer in found] == [None, -32008]
        client.send(batch(*map(request, range(9))))
        answer = receive(client)
        assert (answer["id"], answer["error"]["code"]) == (None, -32011)


def test_the_requests_of_a_batch_are_tampered_with_one_by_one(chain: DevChain) -> None:
    with connected(chain, rate_limit(2, seconds=60)) as (_, client):
        client.send(batch(*map(request, range(3))))
        codes = [answer.get("error", {}).get("code") for answer in receive(client)]
    assert codes == [None, None, -32029]


@contextmanager
def running(*options: str) -> Iterator[tuple[str, "subprocess.Popen[str]"]]:
    """The line that the command prints once it listens, and its process."""
    with subprocess.Popen([*COMMAND, *options], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline(), process
        finally:
            process.kill()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_command_says_where_it_listens_and_leaves_in_peace(number: signal.Signals) -> None:
    options = ["--port", "0", "--epochs", "3", "--operators", "2", "--seed", "9"]
    with running(*options) as (line, process):
        found = re.fullmatch(
            r"development chain on (ws://127\.0\.0\.1:\d+) "
            r"\(genesis (0x[0-9a-f]{64}), 3 epochs, 2 operators\)\n",
            line,
        )
        assert found is not None
        with closing(create_connection(found[1], timeout=10)) as client:
            client.send(request(0))
            assert receive(client)["result"] == found[2]
            process.send_signal(number)
            assert process.wait(timeout=10) == 0


def test_a_busy_port_is_one_sentence_and_a_failure() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = str(taken.getsockname()[1])
        done = subprocess.run(
            [*COMMAND, "--port", port, "--epochs", "1"], capture_output=True, text=True, check=False
        )
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert f"127.0.0.1:{port} cannot be listened on" in done.stderr
    assert "--port" in done.stderr


def test_a_file_without_metadata_is_one_sentence_and_a_failure() -> None:
    options = ["--metadata", __file__, "--port", "0"]
    done = subprocess.run([*COMMAND, *options], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "no metadata" in done.stderr
