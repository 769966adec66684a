"""JSON-RPC requests and answers as they go over the wire."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from operator_prices.chain.rpc.refusals import NoJsonRpcError

Request = tuple[str, Sequence[Any]]
"""A method and its parameters."""


def payload(number: int, request: Request) -> bytes:
    """The JSON of a request; the answer bears the same number."""
    return orjson.dumps(_object(number, request))


def batch(requests: Sequence[tuple[int, Request]]) -> bytes:
    """The JSON of several requests in one message."""
    return orjson.dumps([_object(number, request) for number, request in requests])


def _object(number: int, request: Request) -> dict[str, Any]:
    method, params = request
    return {"jsonrpc": "2.0", "id": number, "method": method, "params": list(params)}


@dataclass(frozen=True, slots=True)
class Refusal:
    """An error that bears no number of a request: it stands for all the answers to a batch."""

    error: object


Message = dict[str, Any] | list[Any] | Refusal


def parsed(message: bytes | str) -> Message:
    """A JSON-RPC message, or an array of them; raises where it is none."""
    try:
        answer = orjson.loads(message)
    except orjson.JSONDecodeError as error:
        raise NoJsonRpcError("an answer was cut short or is no JSON") from error
    if isinstance(answer, list):
        return answer
    if not isinstance(answer, dict):
        raise NoJsonRpcError("an answer is no JSON-RPC object")
    if not answer.keys() & {"id", "method", "error"}:
        raise NoJsonRpcError("an answer is no JSON-RPC")
    if answer.get("id") is None and "error" in answer:
        return Refusal(answer["error"])
    return answer


def has_id(body: bytes) -> bool:
    """Whether a body is the answer to a request, whatever the HTTP status says."""
    try:
        answer = orjson.loads(body)
    except orjson.JSONDecodeError:
        return False
    return isinstance(answer, dict) and "id" in answer


def genesis_in(request: Request, result: object) -> str | None:
    """The genesis hash, if a request for hashes of blocks asked for it and `result` has it."""
    method, params = request
    if method != "chain_getBlockHash" or not params:
        return None
    blocks, hashes = ([params[0]], [result]) if params[0] == 0 else (params[0], result)
    if not isinstance(blocks, list) or not isinstance(hashes, list):
        return None
    return next(
        (found for block, found in zip(blocks, hashes, strict=False) if block == 0 and found), None
    )
