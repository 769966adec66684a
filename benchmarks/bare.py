"""A bare client: the requests of a whole reading, sent once more and their answers thrown away.

`python -m benchmarks.bare URL CACHE` reads everything from the node at URL, noting each request in
a file, and then sends them all over one connection, at most 64 unanswered at a time, which is what
a node buffers. Prints the number of requests and both times as JSON.
"""

import asyncio
import json
import sys
import time
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import aiohttp

from operator_prices.chain.rpc.blocking import Rpc
from operator_prices.chain.rpc.client import Client
from operator_prices.chain.rpc.endpoints import Endpoint
from operator_prices.chain.rpc.messages import Request, payload
from operator_prices.chain.substrate.reader import SubstrateChain
from operator_prices.epochs.windows import between

AT_ONCE = 64


class Noting(Client):
    """A client that writes down what it is asked for."""

    def __init__(self, endpoints: list[Endpoint], *, file: Path, **limits: Any) -> None:  # noqa: ANN401
        super().__init__(endpoints, **limits)
        self.noted = 0
        self._file = file.open("ab")

    async def call_many(
        self, requests: Iterable[Request], *, together: int = 0, turn: int = 0
    ) -> list[Any]:
        wanted = list(requests)
        for request in wanted:
            self._file.write(payload(self.noted, request) + b"\n")
            self.noted += 1
        self._file.flush()
        return await super().call_many(wanted, together=together, turn=turn)


def read_all(url: str, cache: Path, file: Path) -> float:
    """Read every completed epoch as the pipeline does, and note the requests; wall seconds."""
    endpoints = [Endpoint.parse(url)]
    with Rpc(endpoints, partial(Noting, file=file)) as rpc:
        chain = SubstrateChain(rpc, domain_id=0, cache=cache)
        begun = time.perf_counter()
        last = chain.head().last_completed_epoch or 0
        windows = (range(one.first, min(one.last, last) + 1) for one in between(0, last))
        for _ in chain.read_each(windows):
            pass
        return time.perf_counter() - begun


async def send_all(url: str, file: Path) -> tuple[int, float]:
    """Send every line of the file, and wait for all answers; how many, and wall seconds."""
    places = asyncio.Semaphore(AT_ONCE)
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(url, max_msg_size=0, compress=0) as socket,
    ):
        begun = time.perf_counter()

        async def send() -> int:
            count = 0
            with file.open() as lines:
                for line in lines:
                    await places.acquire()
                    await socket.send_str(line)
                    count += 1
            return count

        sending = asyncio.create_task(send())
        received = 0
        while not sending.done() or received < sending.result():
            await socket.receive()
            received += 1
            places.release()
        return received, time.perf_counter() - begun


def main() -> None:
    url, cache = sys.argv[1], Path(sys.argv[2])
    with TemporaryDirectory() as folder:
        file = Path(folder) / "requests"
        reading = read_all(url, cache, file)
        sent, bare = asyncio.run(send_all(url, file))
    print(json.dumps({"requests": sent, "bare": bare, "reading": reading}))


if __name__ == "__main__":
    main()
