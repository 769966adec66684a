"""How fast the API is: 5,000 epochs of 64 operators, through HTTP, the old way beside the new one.

`python -m benchmarks.api` prints the figures of docs/api.md; it needs a few minutes.
"""

import argparse
import asyncio
import json
import os
import random
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar
from urllib.request import urlopen

import psycopg
import uvloop
from psycopg.conninfo import make_conninfo

from benchmarks.figures import Figures
from operator_prices.local.ports import answering, free_port
from operator_prices.local.postgres import embedded
from operator_prices.settings import READER
from operator_prices.store import migrations
from operator_prices_tests.support import history

HOST = "127.0.0.1"
EPOCHS = 5_000
OPERATORS = 64
MEGABYTE = 10**6

Told = TypeVar("Told")


@dataclass(slots=True)
class Reply:
    status: int
    headers: dict[str, str]
    size: int
    first_byte: float
    """Seconds."""
    last_byte: float


class Client:
    """One kept-alive connection; as little of a client as measures the server and not itself."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def get(self, path: str, **headers: str) -> Reply:
        if self._reader is None or self._writer is None:
            self._reader, self._writer = await asyncio.open_connection(
                HOST, self._port, limit=2**20
            )
        told = "".join(f"{name.replace('_', '-')}: {text}\r\n" for name, text in headers.items())
        begun = time.perf_counter()
        self._writer.write(f"GET {path} HTTP/1.1\r\nhost: bench\r\n{told}\r\n".encode())
        head = await self._reader.readuntil(b"\r\n\r\n")
        status, *lines = head.decode("latin-1").split("\r\n")
        known = dict(line.lower().split(": ", 1) for line in lines if line)
        first_byte, size = 0.0, 0
        if "content-length" in known:
            wanted = int(known["content-length"])
            while size < wanted:
                size += len(await self._reader.read(min(2**20, wanted - size)))
                first_byte = first_byte or time.perf_counter() - begun
        elif known.get("transfer-encoding") == "chunked":
            while length := int(await self._reader.readline(), 16):
                await self._reader.readexactly(length + 2)
                first_byte = first_byte or time.perf_counter() - begun
                size += length
            await self._reader.readline()
        took = time.perf_counter() - begun
        return Reply(int(status.split()[1]), known, size, first_byte or took, took)

    def close(self) -> None:
        if self._writer:
            self._writer.close()


@dataclass(slots=True)
class Server:
    port: int
    pid: int

    def peak(self) -> float:
        """The most memory it has ever had, in MB."""
        text = Path(f"/proc/{self.pid}/status").read_text(encoding="ascii")
        return int(text.partition("VmHWM:")[2].split()[0]) * 1024 / MEGABYTE


@contextmanager
def served(url: str, **settings: str) -> Iterator[Server]:
    """A serving process of its own."""
    port = free_port()
    environment = {**os.environ, "API_DATABASE_URL": url, "API_PORT": str(port), **settings}
    argv = [sys.executable, "-m", "operator_prices.web"]
    with subprocess.Popen(argv, env=environment, stderr=subprocess.DEVNULL) as process:  # noqa: S603
        try:
            ready = answering(HOST, port, "/readyz")
            while not ready():
                if process.poll() is not None:
                    raise RuntimeError(f"the API ended with exit code {process.returncode}")
                time.sleep(0.05)
            yield Server(port, process.pid)
        finally:
            process.terminate()


def run(question: Coroutine[None, None, Told]) -> Told:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(question)


def milliseconds(times: list[float]) -> float:
    return statistics.median(times) * 1000


def percentile(times: list[float], share: float) -> float:
    """In milliseconds."""
    return sorted(times)[min(len(times) - 1, int(len(times) * share))] * 1000


def asked(port: int, path: str, headers: dict[str, str]) -> Callable[[], Reply]:
    """A question to be put again and again on one blocking connection, read without copying."""
    connection = socket.create_connection((HOST, port))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    told = "".join(f"{name}: {text}\r\n" for name, text in headers.items())
    question = f"GET {path} HTTP/1.1\r\nhost: bench\r\n{told}\r\n".encode()
    buffer = bytearray(2**20)

    def ask() -> Reply:
        begun = time.perf_counter()
        connection.sendall(question)
        size = connection.recv_into(buffer)
        while (end := buffer.find(b"\r\n\r\n", 0, size)) < 0:
            size += connection.recv_into(memoryview(buffer)[size:])
        first_byte = time.perf_counter() - begun if size > end + 4 else 0.0
        status, *lines = buffer[:end].decode("latin-1").split("\r\n")
        known = dict(line.lower().split(": ", 1) for line in lines)
        got = size - end - 4
        last = bytes(buffer[max(0, size - 5) : size])
        chunked = known.get("transfer-encoding") == "chunked"
        wanted = 0 if status.split()[1] == "304" else int(known.get("content-length", 0))
        while (last != b"0\r\n\r\n") if chunked else (got < wanted):
            count = connection.recv_into(buffer)
            first_byte = first_byte or time.perf_counter() - begun
            got += count
            last = (last + bytes(buffer[max(0, count - 5) : count]))[-5:]
        took = time.perf_counter() - begun
        return Reply(int(status.split()[1]), known, got, first_byte or took, took)

    return ask


def repeated(port: int, path: str, times: int, **headers: str) -> list[Reply]:
    ask = asked(port, path, {name.replace("_", "-"): text for name, text in headers.items()})
    replies = [ask() for _ in range(times + 1)][1:]
    if any(reply.status not in {200, 304} for reply in replies):
        raise RuntimeError(f"{path} was answered with {replies[0].status}")
    return replies


async def paced(port: int, seconds: float, rate: int) -> list[float]:
    """Single epochs at a steady rate, timed from when each was due."""
    free = [Client(port) for _ in range(16)]
    times: list[float] = []

    async def one(due: float) -> None:
        client = free.pop() if free else Client(port)
        await client.get(f"/api/epochs/{random.randrange(EPOCHS)}")  # noqa: S311
        times.append(time.perf_counter() - due)
        free.append(client)

    begun = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for number in range(int(seconds * rate)):
            due = begun + number / rate
            await asyncio.sleep(max(0, due - time.perf_counter()))
            group.create_task(one(due))
    for client in free:
        client.close()
    return times


async def crowd(port: int, seconds: float, clients: int) -> tuple[dict[str, list[float]], int]:
    """Parallel clients, each asking again as soon as it is answered; times by kind, and errors."""
    times: dict[str, list[float]] = {"one": [], "some": [], "all": []}
    errors = 0
    until = time.perf_counter() + seconds

    async def client(number: int) -> None:
        nonlocal errors
        chance = random.Random(number)  # noqa: S311
        connection = Client(port)
        while time.perf_counter() < until:
            pick = chance.random()
            if pick < 0.90:  # noqa: PLR2004
                kind, path = "one", f"/api/epochs/{chance.randrange(EPOCHS)}"
            elif pick < 0.99:  # noqa: PLR2004
                kind = "some"
                path = chance.choice(
                    [
                        "/api/epochs?limit=200",
                        f"/api/operators/{chance.randrange(OPERATORS)}/share-prices",
                    ]
                )
            else:
                kind, path = "all", "/api/epochs"
            try:
                reply = await connection.get(path)
            except (OSError, EOFError):
                errors += 1
                connection = Client(port)
                continue
            errors += reply.status != 200  # noqa: PLR2004
            times[kind].append(reply.last_byte)
        connection.close()

    async with asyncio.TaskGroup() as group:
        for number in range(clients):
            group.create_task(client(number))
    return times, errors


def measured(url: str, figures: Figures, *, quick: bool) -> None:
    times = 5 if quick else 15
    with served(url, API_CACHE_BYTES="0") as server:
        replies = repeated(server.port, "/api/epochs", times)
        new = milliseconds([reply.last_byte for reply in replies])
        figures.say("All, bytes", replies[0].size / MEGABYTE, "MB")
        figures.say("All, last byte", new, "ms", 150)
        figures.say(
            "All, first byte", milliseconds([reply.first_byte for reply in replies]), "ms", 15
        )
        for name, target in (("zstd", 250), ("gzip", None)):
            replies = repeated(server.port, "/api/epochs", times, accept_encoding=name)
            figures.say(f"All as {name}, bytes", replies[0].size / MEGABYTE, "MB")
            took = milliseconds([reply.last_byte for reply in replies])
            figures.say(f"All as {name}, last byte", took, "ms", target)
        for path, target in (
            ("/api/epochs?limit=200", 12),
            ("/api/epochs?sample=500", 25),
            ("/api/operators/7/share-prices", 10),
            ("/api/epochs?operators=7", None),
            ("/api/operators", None),
            ("/api/summary", None),
        ):
            replies = repeated(server.port, path, times * 3)
            figures.say(path, milliseconds([reply.last_byte for reply in replies]), "ms", target)
        replies = repeated(server.port, "/api/epochs/2500", 200)
        figures.say("one epoch, p50", milliseconds([r.last_byte for r in replies]), "ms", 1.5)
        steady = run(paced(server.port, 5 if quick else 20, 200))
        figures.say("one epoch at 200 requests/s, p50", percentile(steady, 0.5), "ms")
        figures.say("one epoch at 200 requests/s, p99", percentile(steady, 0.99), "ms", 10)
        figures.say("peak memory, streaming without a cache", server.peak(), "MB", 80)
    with served(url) as server:
        replies = repeated(server.port, "/api/epochs", times)
        took = milliseconds([reply.last_byte for reply in replies])
        figures.say("All from the warm cache, last byte", took, "ms", 20)
        tag = replies[0].headers["etag"]
        replies = repeated(server.port, "/api/epochs", 200, if_none_match=tag)
        figures.say("All, 304", milliseconds([r.last_byte for r in replies]), "ms", 1)
        figures.say("peak memory, with the warm cache", server.peak(), "MB", 100)
        seconds = 10 if quick else 60
        found, errors = run(crowd(server.port, seconds, 64))
        number = sum(map(len, found.values()))
        figures.say(f"64 clients for {seconds} s, requests", number / seconds, "per second")
        figures.say("64 clients, errors", errors, "", 0)
        figures.say("64 clients, one epoch, p50", percentile(found["one"], 0.5), "ms")
        figures.say("64 clients, one epoch, p99", percentile(found["one"], 0.99), "ms", 100)
        figures.say("64 clients, All, p50", percentile(found["all"], 0.5), "ms")
        figures.say("64 clients, peak memory", server.peak(), "MB", 85)
    with served(url, READ_PATH="json", API_CACHE_BYTES="0") as server:
        replies = repeated(server.port, "/api/epochs", 1 if quick else 3)
        old = milliseconds([reply.last_byte for reply in replies])
        figures.say("the old way, All, last byte", old, "ms")
        figures.say("the old way, peak memory", server.peak(), "MB")
        baseline = f"{old:,.0f} ms the old way"
        figures.say("All, times faster than the old way", old / new, at_least=30, baseline=baseline)


FILTERS = {
    "operators": "7",
    "from": str(EPOCHS - 200),
    "to": "199",
    "limit": "200",
    "sample": "500",
}
"""What a filter is given; `from` and `to` together would leave nothing."""

PLACES = {"{epoch}": "2500", "{operator}": "7"}
WITHOUT_END = "/api/stream"
ELSEWHERE = "/nominators"
"""In routes that `benchmarks.nominators` measures: here nobody has nominated anybody."""

WHOLE = {"/api/epochs", "/api/share-prices"}
"""Routes that bare, without any filter, answer with all there is: 23 and 70 MB."""

ROUTE_MILLISECONDS = 15


def questions(document: dict[str, Any]) -> Iterator[str]:
    """Every route of the OpenAPI document, bare, with each of its filters and with each pair."""
    for path, operations in document["paths"].items():
        if path == WITHOUT_END or ELSEWHERE in path:
            continue
        asked = path
        for place, value in PLACES.items():
            asked = asked.replace(place, value)
        taken = [told["name"] for told in operations["get"].get("parameters", [])]
        filters = [name for name in FILTERS if name in taken]
        for number in range(3):
            for chosen in combinations(filters, number):
                if set(chosen) != {"from", "to"}:
                    query = "&".join(f"{name}={FILTERS[name]}" for name in chosen)
                    yield f"{asked}?{query}" if query else asked


def walked(url: str, figures: Figures, *, quick: bool) -> None:
    """Each route and filter, read anew each time."""
    with served(url, API_CACHE_BYTES="0") as server:
        with urlopen(f"http://{HOST}:{server.port}/openapi.json") as answer:
            document = json.load(answer)
        for path in questions(document):
            replies = repeated(server.port, path, 3 if quick else 15)
            took = milliseconds([reply.last_byte for reply in replies])
            figures.say(path, took, "ms", None if path in WHOLE else ROUTE_MILLISECONDS)


def exported(url: str, figures: Figures) -> None:
    """Files of all share prices: made, had again, told by their heads, and had in part."""
    with served(url) as server:
        for form in ("parquet", "arrow", "csv"):
            path = f"/api/share-prices?format={form}"
            first = asked(server.port, path, {})()
            figures.say(f"320,000 share prices as {form}, made", first.last_byte * 1000, "ms")
            again = milliseconds([r.last_byte for r in repeated(server.port, path, 3)])
            figures.say(f"320,000 share prices as {form}, again", again, "ms")
            part = asked(server.port, path, {"range": "bytes=-65536"})
            parts = [part() for _ in range(20)]
            took = milliseconds([reply.last_byte for reply in parts])
            figures.say(f"320,000 share prices as {form}, last 64 kB", took, "ms", 15)
        figures.say("peak memory after Parquet, Arrow, CSV", server.peak(), "MB", 85)


def grown(url: str, figures: Figures) -> None:
    """Ten times the history."""
    with served(url, API_CACHE_BYTES="0") as server:
        replies = repeated(server.port, "/api/epochs", 3)
        took = milliseconds([reply.last_byte for reply in replies])
        figures.say("All of 50,000 epochs, bytes", replies[0].size / MEGABYTE, "MB")
        figures.say("All of 50,000 epochs, last byte", took, "ms")
        figures.say("peak memory, 50,000 epochs", server.peak(), "MB", 80)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-dir", type=Path, help="keep the loaded database here")
    parser.add_argument("--quick", action="store_true", help="fewer repetitions")
    parser.add_argument("--large", action="store_true", help="50,000 epochs as well")
    parser.add_argument("--keep", action="store_true", help="put the figures into the README")
    parser.add_argument(
        "--only", nargs="*", default=["walked", "exported", "measured"], help="parts of it"
    )
    asked = parser.parse_args()
    figures = Figures("api")
    with (
        TemporaryDirectory() as folder,
        embedded.server(asked.data_dir or Path(folder)) as url,
    ):
        migrations.migrate(url)
        with psycopg.connect(url, autocommit=True) as connection:
            row = connection.execute("SELECT count(*) FROM epochs").fetchone()
            if row is None or row[0] < EPOCHS:
                print(f"Loading {EPOCHS} epochs of {OPERATORS} operators", flush=True)
                history.write(connection, 0, EPOCHS - 1, OPERATORS)
                history.settle(connection)
        reader = make_conninfo(url, user=READER)
        if "walked" in asked.only:
            walked(reader, figures, quick=asked.quick)
        if "exported" in asked.only:
            exported(reader, figures)
        if "measured" in asked.only:
            measured(reader, figures, quick=asked.quick)
        if asked.large:
            with psycopg.connect(url, autocommit=True) as connection:
                history.write(connection, EPOCHS, 10 * EPOCHS - 1, OPERATORS, raw=False)
                history.settle(connection)
            grown(reader, figures)
    if asked.keep:
        figures.keep()
    load = ", ".join(f"{one:.1f}" for one in os.getloadavg())
    print(f"load average of the machine over 1, 5 and 15 minutes: {load}")
    print(f"{sum(figures.met)} of {len(figures.met)} targets met")
    return 0 if all(figures.met) else 1


if __name__ == "__main__":
    sys.exit(main())
