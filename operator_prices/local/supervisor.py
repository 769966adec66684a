"""The child processes of `up`: started in order, started again when they die, stopped together."""

import os
import shutil
import signal
import subprocess
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from threading import Event
from types import TracebackType
from typing import Self

import psutil

from operator_prices.local.leftovers import (
    MARK,
    ChildError,
    end_all,
    mark_of,
    marked,
    session_of,
    signal_all,
)
from operator_prices.local.signals import handling, stoppable
from operator_prices.local.spawning import dying_with_parent

LOOK_SECONDS = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Child:
    """A program of `up`; `env` is added to our own environment."""

    name: str
    argv: Sequence[str] | Callable[[], Sequence[str]]
    """A function is asked anew at each start."""
    log: Path
    ready: Callable[[], bool] = lambda: True
    env: Mapping[str, str] = field(default_factory=dict)
    cwd: Path | None = None
    patience: float = 60
    """Seconds until it must be ready."""


@dataclass(frozen=True, slots=True)
class Death:
    """A child ended by itself and will be started again."""

    name: str
    code: int
    pause: float
    log: Path

    def __str__(self) -> str:
        return (
            f"{self.name} {_ending(self.code)}; starting it again in {self.pause:g} s"
            f" (its log is {self.log})"
        )


@dataclass(slots=True)
class _Running:
    child: Child
    process: subprocess.Popen[bytes]
    since: float
    pause: float = 0
    due: float | None = None
    """When to start it again, if it is dead."""
    remains: list[psutil.Process] = field(default_factory=list)
    """Who outlived it in its session."""


class Supervisor:
    """Keeps children running while its context lasts, and leaves none of them behind.

    Each child leads a session of its own, so Ctrl-C reaches only us. Enter the context in the main
    thread: signals end it by KeyboardInterrupt, and on Linux a child dies with the thread that
    started it. Hold the `lock`: at the end nothing lives that bears the data directory's mark.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        on_death: Callable[[Death], None] = lambda _: None,
        first_pause: float = 1,
        longest_pause: float = 60,
        stable: float = 60,
        grace: float = 10,
    ) -> None:
        """All times in seconds; `stable` is the life after which a death is the first again."""
        self._data_dir = data_dir
        self._on_death = on_death
        self._first_pause = first_pause
        self._longest_pause = longest_pause
        self._stable = stable
        self._grace = grace
        self._running: list[_Running] = []
        self._signals = ExitStack()

    def __enter__(self) -> Self:
        self._signals.enter_context(stoppable())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._signals, handling(signal.SIG_IGN):
            self._stop()

    def start(self, child: Child) -> None:
        """Start `child` with a fresh log and wait until it is ready."""
        child.log.parent.mkdir(parents=True, exist_ok=True)
        if child.log.exists():
            child.log.replace(child.log.with_name(f"{child.log.name}.1"))
        running = _Running(child, self._spawn(child), time.monotonic())
        self._running.append(running)
        while True:
            if (code := running.process.poll()) is not None:
                raise _not_ready(child, _ending(code))
            if child.ready():
                return
            if time.monotonic() - running.since > child.patience:
                raise _not_ready(child, f"is not ready after {child.patience:g} s")
            for other in self._running[:-1]:
                self._look(other)
            time.sleep(LOOK_SECONDS)

    def look(self) -> None:
        """Notice who died, and start again whose pause is over."""
        for running in self._running:
            self._look(running)

    def run_until(self, stop: Event, *, meanwhile: Callable[[], None] = lambda: None) -> None:
        """Keep the children running until `stop` is set, and do `meanwhile` at each look."""
        while not stop.wait(LOOK_SECONDS):
            self.look()
            meanwhile()

    def _look(self, running: _Running) -> None:
        now = time.monotonic()
        if running.due is not None:
            if now >= running.due:
                signal_all(running.remains, signal.SIGKILL)
                running.process = self._spawn(running.child)
                running.since, running.due = now, None
        elif (code := running.process.poll()) is not None:
            running.remains = session_of(running.process.pid)
            signal_all(running.remains, signal.SIGTERM)
            stood = now - running.since >= self._stable
            pause = self._first_pause if stood or not running.pause else 2 * running.pause
            running.pause = min(pause, self._longest_pause)
            running.due = now + running.pause
            self._on_death(Death(running.child.name, code, running.pause, running.child.log))

    def _spawn(self, child: Child) -> subprocess.Popen[bytes]:
        argv = list(child.argv() if callable(child.argv) else child.argv)
        if shutil.which(argv[0]) is None:
            raise ChildError(
                f"{child.name} cannot start, because there is no program {argv[0]};"
                " install the project again."
            )
        with child.log.open("ab") as log:
            return subprocess.Popen(  # noqa: S603
                dying_with_parent(argv),
                cwd=child.cwd,
                env={**os.environ, **child.env, MARK: mark_of(self._data_dir)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def _stop(self) -> None:
        """End the children, last started first, then whatever they started and let go of."""
        with ExitStack() as stopping:
            stopping.callback(end_all, lambda: marked(self._data_dir), self._grace)
            for running in self._running:
                stopping.callback(end_all, partial(_living, running.process), self._grace)


def _living(leader: subprocess.Popen[bytes]) -> list[psutil.Process]:
    """Who lives in the session of a child; it does itself until we have heard of its end."""
    others = [process for process in session_of(leader.pid) if process.pid != leader.pid]
    return others if leader.poll() is not None else [psutil.Process(leader.pid), *others]


def _ending(code: int) -> str:
    if code < 0:
        return f"was ended by {signal.Signals(-code).name}"
    return f"ended with exit code {code}"


def _not_ready(child: Child, fact: str) -> ChildError:
    with child.log.open(encoding="utf-8", errors="replace") as lines:
        last = deque((line.strip() for line in lines if line.strip()), maxlen=1)
    said = f" ({last[0]})" if last else ""
    return ChildError(f"{child.name} {fact}{said}; see its log {child.log}.")
