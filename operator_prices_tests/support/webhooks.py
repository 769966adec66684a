"""A webhook that takes messages as Slack does, or refuses them."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread


class Webhook(ThreadingHTTPServer):
    """Takes messages as Slack does, or refuses them."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Taking)
        self.taken: list[dict[str, object]] = []
        self.status = 200
        self.refuses = "nothing of this kind"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/services/secret"

    def texts(self) -> list[str]:
        return [str(message["text"]) for message in self.taken]


class _Taking(BaseHTTPRequestHandler):
    server: Webhook

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        assert self.headers["Content-Type"] == "application/json"
        status = 400 if self.server.refuses in body.decode() else self.server.status
        if status == 200:
            self.server.taken.append(json.loads(body))
        self.send_response(status)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def serving_webhook() -> Iterator[Webhook]:
    with Webhook() as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()
