"""JSON-RPC requests and answers as they go over the wire."""

from collections.abc import Sequence
from typing import Any

import orjson

from operator_prices.chain.rpc.refusals import ConnectionLostError, NoJsonRpcError, text_of

Request = tuple[str, Sequence[Any]]
"""A method and its parameters."""


def payload(number: int, request: Request) -> bytes:
    """The JSON of a request; the answer bears the same number."""
    method, params = request
    return orjson.dumps({"jsonrpc": "2.0", "id": number, "method": method, "params": list(params)})


def parsed(message: bytes | str) -> dict[str, Any]:
    """A JSON-RPC message; raises where it is none, or an error that is about no request."""
    try:
        answer = orjson.loads(message)
    except orjson.JSONDecodeError as error:
        raise NoJsonRpcError("an answer was cut short or is no JSON") from error
    if not isinstance(answer, dict):
        raise NoJsonRpcError("an answer is no JSON-RPC object")
    if not answer.keys() & {"id", "method", "error"}:
        raise NoJsonRpcError("an answer is no JSON-RPC")
    if answer.get("id") is None and "error" in answer:
        raise ConnectionLostError(text_of(answer["error"]))
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
