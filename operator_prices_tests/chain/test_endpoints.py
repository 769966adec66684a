"""A node's address: what is one, and how it is shown."""

from base64 import b64decode

import pytest

from operator_prices.chain import (
    NotASubstrateNodeError,
)
from operator_prices.chain.rpc.endpoints import Endpoint


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


def test_a_password_may_hold_any_character() -> None:
    endpoint = Endpoint.parse("wss://me%40home:a%2Fb%3Ac@node.example/ws")
    pair = b64decode(endpoint.headers["Authorization"].removeprefix("Basic "))
    assert pair == b"me@home:a/b:c"
