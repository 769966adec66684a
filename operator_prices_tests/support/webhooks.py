"""Those who take alerts: webhooks over HTTP, also by the names of real services, and mail."""

import json
import ssl
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from email import message_from_bytes, policy
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import trustme
from aiosmtpd.controller import Controller
from aiosmtpd.handlers import Message
from aiosmtpd.smtp import AuthResult

from operator_prices.local.ports import free_port
from operator_prices_tests.support.proxies import Proxy, proxying


@dataclass(frozen=True, slots=True)
class Taken:
    """A request, whether its message was taken or refused."""

    host: str
    path: str
    agent: str
    body: dict[str, Any]


class Webhook(ThreadingHTTPServer):
    """Takes messages as Slack does, or refuses them."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Taking)
        self.asked: list[Taken] = []
        self.taken: list[dict[str, Any]] = []
        self.status = 200
        self.says = b"ok"
        self.location: str | None = None
        self.refuses = "nothing of this kind"
        self.pause = 0.0
        """Seconds between one byte of an answer and the next."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/services/secret"

    def texts(self) -> list[str]:
        return [str(message["text"]) for message in self.taken]


class _Taking(BaseHTTPRequestHandler):
    server: Webhook

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        assert self.headers["Content-Type"].startswith("application/json")
        told = json.loads(body)
        asked = Taken(self.headers["Host"], self.path, self.headers["User-Agent"], told)
        self.server.asked.append(asked)
        status = 400 if self.server.refuses in body.decode() else self.server.status
        if status == 200:
            self.server.taken.append(told)
        self.send_response(status)
        if self.server.location:
            self.send_header("Location", self.server.location)
        self.send_header("Content-Length", str(len(self.server.says)))
        self.end_headers()
        for byte in self.server.says:
            time.sleep(self.server.pause)
            self.wfile.write(bytes([byte]))

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def serving_webhook() -> Iterator[Webhook]:
    with Webhook() as server:
        yield from _served(server)


def _served(server: Webhook) -> Iterator[Webhook]:
    Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()


@contextmanager
def serving_as(
    hosts: Sequence[str], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Webhook, Proxy]]:
    """A server that a proxy takes for all these hosts, with certificates that are believed."""
    authority = trustme.CA()
    bundle = folder / "authority.pem"
    authority.cert_pem.write_to_path(bundle)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*hosts).configure_cert(context)
    with Webhook() as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        with proxying(dict.fromkeys(hosts, server.server_port)) as proxy:
            monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(bundle))
            monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.port}")
            yield from ((one, proxy) for one in _served(server))


class Mailbox(Message):
    """Keeps the letters that come, and knows one user with one password."""

    def __init__(self) -> None:
        super().__init__()
        self.letters: list[EmailMessage] = []

    def prepare_message(self, session: Any, envelope: Any) -> EmailMessage:  # noqa: ANN401, ARG002
        return message_from_bytes(envelope.content, policy=policy.default)

    def handle_message(self, message: Any) -> None:  # noqa: ANN401
        self.letters.append(message)


@contextmanager
def serving_mail(user: str, password: str) -> Iterator[tuple[Mailbox, int]]:
    """A mail server that knows one user by a password, and its port."""

    def known(*arguments: Any) -> AuthResult:  # noqa: ANN401
        given = arguments[-1]
        fits = (given.login, given.password) == (user.encode(), password.encode())
        return AuthResult(success=fits, handled=False)

    box = Mailbox()
    controller = Controller(
        box,
        hostname="127.0.0.1",
        port=free_port(),
        authenticator=known,
        auth_require_tls=False,
    )
    controller.start()
    try:
        yield box, controller.port
    finally:
        controller.stop()
