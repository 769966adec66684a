"""A development chain in a process of its own, as far away as is asked for."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from operator_prices.local.ports import free_port, listening


@contextmanager
def development_chain(
    epochs: int,
    operators: int,
    *,
    nominators: int = 0,
    seconds_per_block: float = 0,
    latency_ms: float = 0,
    host: str = "127.0.0.1",
) -> Iterator[str]:
    """Serve a chain until the block is left; its address."""
    port = free_port()
    arguments = {
        "--host": host,
        "--port": port,
        "--epochs": epochs,
        "--operators": operators,
        "--nominators": nominators,
        "--seconds-per-block": seconds_per_block,
        "--latency": latency_ms,
    }
    program = [sys.executable, "-m", "operator_prices.devchain"]
    for name, value in arguments.items():
        program += [name, str(value)]
    with subprocess.Popen(program, stdout=subprocess.DEVNULL) as process:  # noqa: S603
        try:
            is_listening = listening(host, port)
            until_done(lambda: is_listening() or process.poll() is not None, time.monotonic())
            if process.poll() is not None:
                raise SystemExit("the development chain did not start: its own words are above")
            yield f"ws://{host}:{port}"
        finally:
            process.terminate()


def until_done(done: Callable[[], object], begun: float) -> float:
    while not done():
        time.sleep(0.25)
    return time.monotonic() - begun
