"""What holds for every request: HEAD, patience with those who do not read, headers of safety."""

import asyncio
import logging
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

LOG = logging.getLogger(__name__)

HEAD_ALONE: Final = "operator_prices.head_alone"
"""In the scope of a request: only the head of the answer is wanted."""

ABORT: Final = "operator_prices.abort"
"""Among the extensions of the scope: ends the connection, whatever is still to be sent."""

STALL_SECONDS = 30
"""How long a client may leave us waiting before its answer is given up."""

UNTRUSTED = (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'")
"""What an answer that is no page may load, should anybody take it for one."""

SAFETY = ((b"x-content-type-options", b"nosniff"), (b"referrer-policy", b"no-referrer"))


class StalledError(Exception):
    """A client takes nothing of what it is sent."""


class HeadsAlone:
    """Answers HEAD as GET, without the body."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def bodiless(message: Message) -> None:
            if message["type"] != "http.response.body":
                await send(message)
            elif not message.get("more_body"):
                await send({"type": "http.response.body", "body": b""})

        if scope["type"] == "http" and scope["method"] == "HEAD":
            await self._app({**scope, "method": "GET", HEAD_ALONE: True}, receive, bodiless)
        else:
            await self._app(scope, receive, send)


class Manners:
    """Safety in every answer, an end to requests with a body, and to clients that do not read."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        abort = scope.get("extensions", {}).get(ABORT)
        closing = any(
            (name == b"content-length" and value != b"0") or name == b"transfer-encoding"
            for name, value in scope["headers"]
        )

        async def patiently(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = _mannered(message["headers"], closing=closing)
            try:
                async with asyncio.timeout(STALL_SECONDS):
                    await send(message)
            except TimeoutError:
                raise StalledError from None

        try:
            await self._app(scope, receive, patiently)
        except StalledError:
            LOG.info("A client took nothing for %d s and was sent away.", STALL_SECONDS)
            if abort:
                abort()


def _mannered(headers: list[tuple[bytes, bytes]], *, closing: bool) -> list[tuple[bytes, bytes]]:
    known = {name for name, _ in headers}
    added = [pair for pair in SAFETY if pair[0] not in known]
    if UNTRUSTED[0] not in known:
        added.append(UNTRUSTED)
    if closing:  # what is still to come of its body is not waited for
        added.append((b"connection", b"close"))
    return [*headers, *added]
