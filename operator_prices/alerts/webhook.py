"""A plain webhook, which takes JSON as Slack does: so do Mattermost, Rocket.Chat and many more."""

import logging
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from contextvars import ContextVar
from html import escape
from threading import Thread
from typing import Self
from urllib.parse import urlsplit

import requests

from operator_prices import VERSION
from operator_prices.alerts.messages import Message
from operator_prices.alerts.refusals import RefusedError
from operator_prices.alerts.secrets import parts, without

AGENT = f"operator-prices/{VERSION}"
"""Who we say we are: firewalls refuse the names of libraries."""

CONNECT_SECONDS, ANSWER_SECONDS = 5, 10

SECONDS = 15
"""How long a message may take in all, however its answer comes: each piece has its own limit."""

READ = 2_000
"""Bytes that are read of an answer."""

_unanswered: dict[str, Thread] = {}
"""Of an address, the request whose answer was given up and may still come, a bit at a time."""

COLOURS = {"bad": "danger", "good": "good", "neutral": "#3AA3E3"}


class Webhook:
    """An http or https address that takes what Slack takes."""

    def __init__(self, url: str) -> None:
        place = urlsplit(url)
        self.label = f"{place.scheme}://{place.netloc.rpartition('@')[2]}"
        self._url = url

    @classmethod
    def at(cls, url: str) -> Self | None:
        """The webhook at an address; None for one of another kind."""
        try:
            place = urlsplit(url)
            known = place.scheme in ("http", "https") and place.hostname and place.port != 0
            fits = known and not any(map(str.isspace, url))
        except ValueError:
            return None
        return cls(url) if fits else None

    def send(self, message: Message) -> None:
        last = _unanswered.pop(self._url, None)
        if last is not None and last.is_alive():
            _unanswered[self._url] = last
            why: str | None = "it is still answering the message before"
        else:
            why = self._within(message)
        if why is not None:
            # From None: what lies below names the whole address.
            raise RefusedError(self.label, without(why, parts(self._url))) from None

    def _within(self, message: Message) -> str | None:
        """Why a message was not taken in `SECONDS`, None if it was."""
        answer: Future[str | None] = Future()

        def ask() -> None:
            try:
                answer.set_result(self._ask(message))
            except BaseException as error:  # noqa: BLE001 - it is raised where it is waited for
                answer.set_exception(error)

        asking = Thread(target=ask, name=f"alert to {self.label}", daemon=True)
        asking.start()
        try:
            return answer.result(SECONDS)
        except TimeoutError:
            _unanswered[self._url] = asking
            return f"no whole answer within {SECONDS} s"

    def _ask(self, message: Message) -> str | None:
        try:
            with (
                unlogged(),
                requests.post(
                    self._url,
                    json=body(message),
                    headers={"User-Agent": AGENT},
                    timeout=(CONNECT_SECONDS, ANSWER_SECONDS),
                    allow_redirects=False,  # the message would get lost on the way
                    stream=True,
                ) as answer,
            ):
                if answer.ok and not answer.is_redirect:
                    return None
                said = next(answer.iter_content(READ), b"").decode(errors="replace")
                why = f"{answer.status_code} {answer.reason}" + (f": {said}" if said else "")
                if answer.is_redirect:
                    why += f", sent on to {urlsplit(answer.headers['location']).hostname}"
                return why
        except (requests.RequestException, ValueError) as error:  # of a place that is none, too
            return cause(error)


def body(message: Message) -> dict[str, object]:
    """What Slack, and all that speak like it, are told."""
    head, rest = (escape(text, quote=False) for text in (message.head, message.body))
    text = f"{head}\n{rest}\n{message.link}"
    colour = COLOURS[message.tone]
    return {"text": text, "attachments": [{"color": colour, "text": rest, "fallback": head}]}


def cause(error: BaseException) -> str:
    """What lies at the bottom of a request that failed, in few words."""
    if isinstance(error, requests.exceptions.ProxyError):
        return f"the proxy that the environment names does not let us through: {_bottom(error)}"
    if isinstance(error, requests.Timeout):
        return f"no answer within {ANSWER_SECONDS} s"
    return _bottom(error)


def _bottom(error: BaseException) -> str:
    """The innermost cause; requests and urllib3 hide it in arguments and reasons."""
    seen = {id(error)}
    while True:
        inner = next(
            (
                one
                for one in (getattr(error, "reason", None), *error.args, error.__cause__)
                if isinstance(one, BaseException) and id(one) not in seen
            ),
            error.__context__,
        )
        if inner is None or id(inner) in seen:
            return f"{type(error).__name__}: {error}"
        seen.add(id(inner))
        error = inner


_unlogged: ContextVar[bool] = ContextVar("unlogged", default=False)

for _name in ("urllib3.connectionpool", "urllib3.util.retry"):
    logging.getLogger(_name).addFilter(lambda _: not _unlogged.get())


@contextmanager
def unlogged() -> Iterator[None]:
    """Keep the paths of addresses out of the log of connections, in threads begun here, too."""
    token = _unlogged.set(True)
    try:
        yield
    finally:
        _unlogged.reset(token)
