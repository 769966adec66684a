"""The proxy that the environment names lies before every node but those of this machine."""

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from operator_prices.chain import NodeUnreachableError, RefusedError
from operator_prices.chain.rpc.endpoints import Endpoint
from operator_prices.devchain.chain import DevChain
from operator_prices.devchain.scenario import Scenario
from operator_prices.devchain.serving import serving
from operator_prices_tests.support.proxies import proxying
from operator_prices_tests.support.samples import assert_all_read, reading

PLAYED = DevChain(Scenario(seconds_per_block=0, epochs=12, operators=3, forced=()))
HOST = "node.example"


@pytest.fixture(autouse=True)
def no_proxy_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP", "HTTPS", "ALL", "NO"):
        monkeypatch.delenv(f"{name}_PROXY", raising=False)
        monkeypatch.delenv(f"{name.lower()}_proxy", raising=False)


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """Where the node behind the proxy really is."""
    with serving(PLAYED) as node:
        yield urlsplit(node.url).port or 0


@pytest.mark.parametrize("scheme", ["ws", "http"])
@pytest.mark.parametrize(
    "named", ["HTTP_PROXY=http", "http_proxy=http", "ALL_PROXY=http", "all_proxy=socks5"]
)
def test_a_chain_is_read_through_the_proxy_that_is_named(
    port: int, scheme: str, named: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    variable, kind = named.split("=")
    with proxying({HOST: port}) as proxy:
        monkeypatch.setenv(variable, f"{kind}://127.0.0.1:{proxy.port}")
        with reading(f"{scheme}://{HOST}:9944", tmp_path) as reader:
            assert_all_read(reader, PLAYED)
    told = {
        ("ws", "http"): f"CONNECT {HOST}:9944 HTTP/1.1",
        ("http", "http"): f"POST http://{HOST}:9944 HTTP/1.1",
    }
    assert set(proxy.seen) == {told.get((scheme, kind), f"SOCKS {HOST}:9944")}


@pytest.mark.parametrize("scheme", ["wss", "https"])
def test_an_encrypted_connection_is_asked_for_by_connect(
    port: int, scheme: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with proxying({HOST: port}) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"127.0.0.1:{proxy.port}")
        with (
            reading(f"{scheme}://{HOST}/ws", tmp_path, attempts=1, patience=5) as reader,
            pytest.raises(NodeUnreachableError, match=rf"through the proxy .*:{proxy.port} of"),
        ):
            reader.head()
    assert set(proxy.seen) == {f"CONNECT {HOST}:443 HTTP/1.1"}


@pytest.mark.parametrize("scheme", ["ws", "http"])
def test_a_proxy_that_asks_who_we_are_is_told_it(
    port: int, scheme: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with proxying({HOST: port}, user="me:pass word") as proxy:
        monkeypatch.setenv("HTTP_PROXY", f"http://me:wrong@127.0.0.1:{proxy.port}")
        with (
            reading(f"{scheme}://{HOST}:9944", tmp_path, attempts=1) as reader,
            pytest.raises(RefusedError, match=r"asks who we are .*HTTP_PROXY") as raised,
        ):
            reader.head()
        assert "wrong" not in str(raised.value)
        monkeypatch.setenv("HTTP_PROXY", f"http://me:pass%20word@127.0.0.1:{proxy.port}")
        with reading(f"{scheme}://{HOST}:9944", tmp_path) as reader:
            assert reader.genesis_hash == PLAYED.genesis_hash


@pytest.mark.parametrize("scheme", ["ws", "http"])
def test_a_proxy_that_is_not_there_is_named(
    scheme: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://me:secret@127.0.0.1:1")
    with (
        reading(f"{scheme}://{HOST}:9944", tmp_path, attempts=2) as reader,
        pytest.raises(
            NodeUnreachableError,
            match=r"since the proxy http://127\.0\.0\.1:1 of HTTP_PROXY does not answer.*NO_PROXY",
        ) as raised,
    ):
        reader.head()
    assert "secret" not in str(raised.value)


def test_a_proxy_that_does_not_let_us_through_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with proxying({}) as proxy:
        monkeypatch.setenv("ALL_PROXY", f"http://127.0.0.1:{proxy.port}")
        with (
            reading(f"ws://{HOST}:9944", tmp_path, attempts=2) as reader,
            pytest.raises(NodeUnreachableError, match=r"ALL_PROXY does not let us through.*403"),
        ):
            reader.head()


@pytest.mark.parametrize(
    ("url", "no_proxy", "through"),
    [
        ("ws://node.example:9944", "", True),
        ("ws://node.example:9944", "other.example", True),
        ("ws://node.example:9944", "node.example", False),
        ("ws://node.example:9944", "node.example:9944", False),
        ("ws://node.example:9944", "node.example:80", True),
        ("http://a.node.example", ".node.example", False),
        ("http://a.node.example", "*", False),
        ("ws://127.0.0.1:9944", "", False),
        ("ws://[::1]:9944", "", False),
        ("ws://localhost:9944", "", False),
        ("ws://10.0.0.1:9944", "", True),
        ("wss://node.example", "", False),
    ],
)
def test_who_is_excepted_from_the_proxy_is_asked_directly(
    url: str,
    no_proxy: str,
    *,
    through: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://proxy.example:3128")
    monkeypatch.setenv("NO_PROXY", no_proxy)
    assert (Endpoint.parse(url).proxy is not None) == through


@pytest.mark.parametrize(
    "address", ["ftp://p.example:1", "http://", "http://me:secret@p.example:x"]
)
def test_what_is_no_proxy_address_is_refused_without_its_text(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", address)
    with pytest.raises(NodeUnreachableError, match="HTTPS_PROXY holds is no proxy") as raised:
        Endpoint.parse("wss://node.example")
    assert "p.example" not in str(raised.value)
