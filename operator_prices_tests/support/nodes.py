"""Nodes that misbehave, and servers that are none."""

import re
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

from operator_prices.chain.substrate.storage import NUMBER
from operator_prices.devchain import tampering
from operator_prices.devchain.chain import DevChain
from operator_prices.devchain.server import Call, Tamper
from operator_prices.devchain.serving import Node, serving
from operator_prices_tests.support.samples import (
    own_copy,
)


def urls(nodes: Iterable[Node], *, http: bool) -> str:
    return ",".join(node.http_url if http else node.url for node in nodes)


class Switch:
    """A tamper that cuts every connection while it is on."""

    def __init__(self, after: int | None = None) -> None:
        self.on = False
        self.after = after

    async def __call__(self, call: Call) -> object:
        if self.on or (self.after is not None and call.total > self.after):
            call.close()
            return None
        return call.answer()


def failing_with(code: int, message: str, *methods: str) -> Tamper:
    """Answer some methods with an error, or all if none is named."""

    async def tamper(call: Call) -> object:
        if not methods or call.request["method"] in methods:
            return tampering.error(call, code, message)
        return call.answer()

    return tamper


@contextmanager
def noting(chain: DevChain, tamper: Tamper | None = None) -> Iterator[tuple[Node, list[str]]]:
    """A node and the methods it is asked for."""
    asked: list[str] = []

    async def note(call: Call) -> object:
        asked.append(call.request["method"])
        return await tamper(call) if tamper else call.answer()

    with serving(chain, tamper=note) as node:
        yield node, asked


async def without_hashes(call: Call) -> object:
    """Knows its head, and the blocks below it not yet."""
    answer = own_copy(call)
    if call.request["method"] == "chain_getBlockHash" and isinstance(answer["result"], list):
        asked = call.request["params"][0]
        answer["result"] = [
            None if 0 < block < 2000 else known
            for block, known in zip(asked, answer["result"], strict=True)
        ]
    return answer


async def of_another_block(call: Call) -> object:
    """Answers every question about a state with a state whose number is another."""
    answer = own_copy(call)
    if call.request["method"] == "state_queryStorageAt":
        for change in answer["result"][0]["changes"]:
            if change[0] == NUMBER and change[1]:
                change[1] = "0xffffff00"
    return answer


async def without_keys(call: Call) -> object:
    answer = own_copy(call)
    if call.request["method"] == "state_queryStorageAt":
        del answer["result"][0]["changes"][-1]
    return answer


@contextmanager
def answering(status: int, body: bytes) -> Iterator[tuple[str, list[str | None]]]:
    """A server that answers all with the same JSON; its place, and each `Authorization`."""
    seen: list[str | None] = []

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            seen.append(self.headers.get("Authorization"))
            self.rfile.read(int(self.headers.get("content-length", 0)))
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = answer  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_port}", seen
        server.shutdown()


@dataclass(frozen=True, slots=True)
class Stoppable:
    """A development chain in a process of its own, which can be made to hang."""

    url: str
    process: subprocess.Popen[str]

    def stop(self) -> None:
        """Leave its connections open, and answer nothing."""
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self.process.send_signal(signal.SIGCONT)


@contextmanager
def stoppable(*options: str) -> Iterator[Stoppable]:
    """A small development chain, served by a process until the block is left."""
    program = [sys.executable, "-m", "operator_prices.devchain", "--port", "0", "--epochs", "6"]
    process = subprocess.Popen(
        [*program, "--operators", "3", "--seconds-per-block", "0", *options],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        found = re.search(r"ws://\S+", process.stdout.readline())
        assert found
        yield Stoppable(found[0], process)
    finally:
        process.send_signal(signal.SIGCONT)
        process.terminate()
        process.communicate(timeout=30)
