"""A served development chain for tests: a server in a thread of its own."""

import asyncio
import threading
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

from operator_prices.devchain.chain import DevChain
from operator_prices.devchain.scenario import Scenario
from operator_prices.devchain.server import Server, Tamper

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Node:
    """A running node: where to connect, what is true, and how to move on."""

    url: str
    http_url: str
    chain: DevChain
    _server: Server
    _loop: asyncio.AbstractEventLoop

    def __str__(self) -> str:
        return self.url

    def produce(self, blocks: int = 1) -> None:
        """Append blocks now; subscribers are told of each."""
        self._run(self._server.produce(blocks))

    def reorg(self, first: int, *, extra: int = 1) -> None:
        """Replace the blocks from `first` on by others, `extra` more of them."""
        self._run(self._server.reorg(first, extra))

    def _run(self, work: Coroutine[None, None, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result()


@contextmanager
def serving(
    played: Scenario | DevChain,
    *,
    tamper: Tamper | None = None,
    batches: Tamper | None = None,
    batch_limit: int | None = None,
    latency_ms: float = 0,
    host: str = "127.0.0.1",
    port: int = 0,
) -> Iterator[Node]:
    """Serve a scenario, or a chain that was played before, until the block is left."""
    chain = played if isinstance(played, DevChain) else DevChain(played)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="development chain", daemon=True)
    thread.start()

    def run(work: Coroutine[None, None, _T]) -> _T:
        return asyncio.run_coroutine_threadsafe(work, loop).result()

    server = Server(
        chain, tamper=tamper, batches=batches, batch_limit=batch_limit, latency_ms=latency_ms
    )
    try:
        at = run(server.start(host, port))
        yield Node(f"ws://{host}:{at}", f"http://{host}:{at}", chain, server, loop)
    finally:
        run(server.stop())
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
