"""What a node's answers look like: to a request, to a batch, and where they are too big."""

import orjson

from operator_prices.devchain.rpc import Json, RpcError


def within_limit(answer: Json, most: int) -> bytes:
    """An answer as it is sent, or that it is too big: one, one of a batch, or all of a batch."""
    text = orjson.dumps(answer)
    if len(text) <= most:
        return text
    limit = f"Exceeded max limit of {most}"
    if not isinstance(answer, list):
        error = RpcError(-32008, "Response is too big", limit)
        return orjson.dumps(failed(answer.get("id"), error))
    text = b"[" + b",".join(within_limit(one, most) for one in answer) + b"]"
    if len(text) <= most:
        return text
    error = RpcError(-32011, "The batch response was too large", limit)
    return orjson.dumps(failed(None, error))


def joined(answers: list[Json]) -> Json:
    """The answer to a batch, none where nothing is due; bytes of one stand for all of it."""
    told = [answer for answer in answers if answer is not None]
    return next((one for one in told if isinstance(one, bytes)), told or None)


def failed(request_id: object, error: RpcError) -> dict[str, object]:
    return {"jsonrpc": "2.0", "id": request_id, "error": error.to_json()}
