"""Ways for a node to misbehave, to hand to `serving(..., tamper=...)`."""

import asyncio
from collections import deque

import orjson

from operator_prices.devchain.rpc import Json
from operator_prices.devchain.server import Call, Refused, Tamper


def close_after(answers: int) -> Tamper:
    """Cut each connection once it has had so many answers."""

    async def tamper(call: Call) -> Json:
        if call.number > answers:
            call.close()
            return None
        return call.answer()

    return tamper


def fail_every(nth: int, code: int = -32603, message: str = "Internal error") -> Tamper:
    """Answer every nth message with an error."""

    async def tamper(call: Call) -> Json:
        return error(call, code, message) if call.total % nth == 0 else call.answer()

    return tamper


def truncate_every(nth: int) -> Tamper:
    """Send only half of every nth answer."""

    async def tamper(call: Call) -> Json:
        text = orjson.dumps(call.answer())
        return text[: len(text) // 2] if call.total % nth == 0 else text

    return tamper


def delay(seconds: float, every: int = 1) -> Tamper:
    """Wait before every nth answer; others overtake it."""

    async def tamper(call: Call) -> Json:
        if call.total % every == 0:
            await asyncio.sleep(seconds)
        return call.answer()

    return tamper


def reorder(window: int, patience: float = 0.05) -> Tamper:
    """Hold up to `window` answers back and send the last one first."""
    held: list[asyncio.Event] = []

    async def tamper(call: Call) -> Json:
        turn = asyncio.Event()
        held.append(turn)
        if len(held) < window:
            try:
                await asyncio.wait_for(turn.wait(), patience)
            except TimeoutError:
                if turn in held:  # else another call has just let it go
                    held.remove(turn)
        else:
            held.remove(turn)
        answer = call.answer()
        if held:
            asyncio.get_running_loop().call_soon(held.pop().set)
        return answer

    return tamper


def rate_limit(calls: int, seconds: float = 1) -> Tamper:
    """Refuse what exceeds so many messages in so much time: -32029, over HTTP status 429."""
    times: deque[float] = deque()

    async def tamper(call: Call) -> Json:
        now = asyncio.get_running_loop().time()
        while times and times[0] <= now - seconds:
            times.popleft()
        if len(times) >= calls:
            return Refused()
        times.append(now)
        return call.answer()

    return tamper


def error(call: Call, code: int, message: str) -> dict[str, Json]:
    """An error in place of the answer to a call."""
    request_id = call.request.get("id") if isinstance(call.request, dict) else None
    return {"jsonrpc": "2.0", "id": request_id, "error": {"code": code, "message": message}}
