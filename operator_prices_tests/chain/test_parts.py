"""What a gateway does not let pass at once is asked for in parts."""

from pathlib import Path

import pytest

from operator_prices.chain import RefusedError
from operator_prices.chain.rpc.blocking import Rpc
from operator_prices.chain.rpc.endpoints import Endpoint
from operator_prices.devchain import server, tampering
from operator_prices.devchain.chain import DevChain
from operator_prices.devchain.scenario import Scenario
from operator_prices.devchain.server import Call
from operator_prices.devchain.serving import serving
from operator_prices_tests.support.samples import assert_all_read, own_copy, reading

PLAYED = DevChain(Scenario(seconds_per_block=0, epochs=40, operators=8))


@pytest.mark.parametrize("scheme", ["ws", "http"])
def test_a_request_over_the_size_limit_is_asked_in_parts(
    scheme: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(PLAYED) as node, reading(node.url, tmp_path) as reader:
        assert_all_read(reader, PLAYED)
        at_once = reader.requests
    monkeypatch.setattr(server, "MAX_MESSAGE_BYTES", 200_000)  # the metadata are no smaller
    with serving(PLAYED) as node:
        url = node.url.replace("ws:", f"{scheme}:")
        with reading(url, tmp_path, attempts=6) as reader:
            assert_all_read(reader, PLAYED)
            assert at_once < reader.requests < 2 * at_once


def limited(entries: int, error: int, message: str) -> server.Tamper:
    """Answers no more than so many keys or hashes at once."""

    async def tamper(call: Call) -> object:
        answer = own_copy(call)
        result = answer.get("result")
        if isinstance(result, list) and result and isinstance(result[0], dict):
            result = result[0]["changes"]
        if isinstance(result, list) and len(result) > entries:
            return tampering.error(call, error, message)
        return answer

    return tamper


@pytest.mark.parametrize("entries", [1, 7, 100])
@pytest.mark.parametrize(
    ("code", "message"),
    [
        (-32008, "Response is too big"),
        (-32603, "response size exceeded the limit of 10485760 bytes"),
        (-32000, "Response too large"),
    ],
)
def test_an_answer_over_the_size_limit_is_asked_for_in_parts(
    entries: int, code: int, message: str, tmp_path: Path
) -> None:
    small = DevChain(Scenario(seconds_per_block=0, epochs=6, operators=3))
    with (
        serving(small, tamper=limited(entries, code, message)) as node,
        reading(node.url, tmp_path) as reader,
    ):
        assert_all_read(reader, small)


def test_what_was_too_big_once_is_not_asked_at_once_again() -> None:
    sizes: list[int] = []

    async def note(call: Call) -> object:
        sizes.append(len(call.request["params"][0]))
        return await limited(100, -32008, "Response is too big")(call)

    hashes = [f"0x{PLAYED.blocks.hash(block).hex()}" for block in range(350)]
    with serving(PLAYED, tamper=note) as node, Rpc([Endpoint.parse(node.url)]) as rpc:
        for _ in range(2):
            assert rpc.call("chain_getBlockHash", list(range(350))) == hashes
    assert sizes == [350, 175, 175, *[87, 88] * 2, *[87, 88] * 2]


def test_what_is_too_big_and_cannot_be_divided_is_told(tmp_path: Path) -> None:
    async def small(call: Call) -> object:
        if call.request["method"] == "state_getMetadata":
            return tampering.error(call, -32008, "Response is too big")
        return call.answer()

    with (
        serving(PLAYED, tamper=small) as node,
        reading(node.url, tmp_path) as reader,
        pytest.raises(RefusedError, match=r"does not let so much pass .*max-response-size"),
    ):
        reader.head()
