"""Signals that end a command: as Ctrl-C does, once, and not under `nohup`."""

import math
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from operator_prices.postgres.keeping import INTERRUPTED

STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

NOHUP = (signal.SIGHUP, signal.SIG_IGN)

ECHO_SECONDS = 2
"""A signal so soon after another says the same: Ctrl-C reaches us from the terminal and by make."""


@contextmanager
def stoppable() -> Iterator[None]:
    """Let SIGTERM and SIGHUP end us as Ctrl-C does: by KeyboardInterrupt, so that `finally` runs.

    The echo of a signal does not disturb the unwinding. Only `nohup` is heeded: a SIGHUP that is
    ignored stays ignored.
    """
    with handling(_interrupt):
        yield


_interrupted = [-math.inf]
"""When, by the monotonic clock."""


def _interrupt(number: int, _: FrameType | None) -> None:
    now = time.monotonic()
    if now - _interrupted[0] >= ECHO_SECONDS:
        _interrupted[0] = now
        INTERRUPTED.set()
        raise KeyboardInterrupt(signal.Signals(number).name)


@contextmanager
def handling(handler: Callable[[int, FrameType | None], None] | signal.Handlers) -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in STOPPING}
    heard = [number for number in STOPPING if (number, before[number]) != NOHUP]
    try:
        for number in heard:
            signal.signal(number, handler)
        yield
    finally:
        for number in heard:
            signal.signal(number, before[number])
