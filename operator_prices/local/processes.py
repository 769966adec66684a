"""The child processes of `up`: started in order, started again when they die, stopped together."""

import math
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from threading import Event
from types import FrameType, TracebackType
from typing import Self

import filelock
import psutil

from operator_prices.errors import ExplainedError
from operator_prices.local.ports import described

MARK = "OPERATOR_PRICES_UP"
"""The variable by which every descendant of `up` is known, whatever session it has moved to."""

STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

NOHUP = (signal.SIGHUP, signal.SIG_IGN)

LOOK_SECONDS = 0.1

ECHO_SECONDS = 2
"""A signal so soon after another says the same: Ctrl-C reaches us from the terminal and by make."""

DIES_WITH_PARENT = """
import ctypes, os, signal, sys
ctypes.CDLL(None).prctl(1, int(signal.SIGTERM), 0, 0, 0)
if os.getppid() != int(sys.argv[1]):
    sys.exit("the parent is gone")
signal.signal(signal.SIGPIPE, signal.SIG_DFL)
os.execvp(sys.argv[2], sys.argv[2:])
"""
"""Asks Linux for SIGTERM when the parent dies, then becomes the child. (A `preexec_fn` would ask
the same, but is not safe beside the threads of polars and Dagster.)"""


class SupervisionError(ExplainedError):
    """What keeps `up` from running."""


class ChildError(SupervisionError):
    """A child cannot start, or cannot be stopped."""


class DataDirError(SupervisionError):
    """The data directory is not ours to use."""


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
        with self._signals, _handling(signal.SIG_IGN):
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
                _signal(running.remains, signal.SIGKILL)
                running.process = self._spawn(running.child)
                running.since, running.due = now, None
        elif (code := running.process.poll()) is not None:
            running.remains = _session(running.process.pid)
            _signal(running.remains, signal.SIGTERM)
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
        if sys.platform == "linux":
            argv = [sys.executable, "-I", "-S", "-c", DIES_WITH_PARENT, str(os.getpid()), *argv]
        with child.log.open("ab") as log:
            return subprocess.Popen(  # noqa: S603
                argv,
                cwd=child.cwd,
                env={**os.environ, **child.env, MARK: _mark(self._data_dir)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def _stop(self) -> None:
        """End the children, last started first, then whatever they started and let go of."""
        with ExitStack() as stopping:
            stopping.callback(_end, lambda: _marked(self._data_dir), self._grace)
            for running in self._running:
                stopping.callback(_end, partial(_living, running.process), self._grace)


@contextmanager
def lock(data_dir: Path) -> Iterator[None]:
    """Be the only `up` on the data directory."""
    holder = data_dir / "up.pid"
    only = filelock.FileLock(data_dir / "up.lock")
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        only.acquire(timeout=0)
    except filelock.Timeout:
        who = f"pid {holder.read_text()}" if holder.exists() else "just starting"
        raise DataDirError(
            f"Another operator-prices ({who}) is using the data directory {data_dir};"
            " stop it, or set another DATA_DIR."
        ) from None
    except OSError as error:
        raise DataDirError(
            f"The data directory {data_dir} cannot be used ({error.filename}: {error.strerror});"
            " set another DATA_DIR."
        ) from error
    try:
        holder.write_text(str(os.getpid()))
        yield
    finally:
        holder.unlink(missing_ok=True)
        only.release()


def reap_leftovers(data_dir: Path, *, grace: float = 10) -> list[str]:
    """End what an `up` that was killed has left running; return what that was.

    Call it with the `lock` held: only then is everything that bears the mark of this data directory
    a leftover.
    """
    found = {process.pid: described(process) for process in _marked(data_dir)}
    _end(lambda: _marked(data_dir), grace)
    return list(found.values())


@contextmanager
def stoppable() -> Iterator[None]:
    """Let SIGTERM and SIGHUP end us as Ctrl-C does: by KeyboardInterrupt, so that `finally` runs.

    The echo of a signal does not disturb the unwinding. Only `nohup` is heeded: a SIGHUP that is
    ignored stays ignored.
    """
    with _handling(_interrupt):
        yield


_interrupted = [-math.inf]
"""When, by the monotonic clock."""


def _interrupt(number: int, _: FrameType | None) -> None:
    now = time.monotonic()
    if now - _interrupted[0] >= ECHO_SECONDS:
        _interrupted[0] = now
        raise KeyboardInterrupt(signal.Signals(number).name)


@contextmanager
def _handling(handler: Callable[[int, FrameType | None], None] | signal.Handlers) -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in STOPPING}
    heard = [number for number in STOPPING if (number, before[number]) != NOHUP]
    try:
        for number in heard:
            signal.signal(number, handler)
        yield
    finally:
        for number in heard:
            signal.signal(number, before[number])


def _mark(data_dir: Path) -> str:
    return str(data_dir.resolve())


def _marked(data_dir: Path) -> list[psutil.Process]:
    """Who lives and descends from an `up` on the data directory, except for ourselves."""
    mark = _mark(data_dir)
    us = psutil.Process()
    own = {us.pid, *(parent.pid for parent in us.parents())}
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if process.pid not in own and process.environ().get(MARK) == mark and _lives(process):
                found.append(process)
    return found


def _session(leader: int) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if os.getsid(process.pid) == leader and _lives(process):
                found.append(process)
    return found


def _living(leader: subprocess.Popen[bytes]) -> list[psutil.Process]:
    """Who lives in the session of a child; it does itself until we have heard of its end."""
    others = [process for process in _session(leader.pid) if process.pid != leader.pid]
    return others if leader.poll() is not None else [psutil.Process(leader.pid), *others]


def _lives(process: psutil.Process) -> bool:
    return process.status() not in {psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD}


def _signal(processes: list[psutil.Process], number: signal.Signals) -> None:
    for process in processes:
        with suppress(psutil.Error):
            process.send_signal(number)


def _end(living: Callable[[], list[psutil.Process]], grace: float) -> None:
    """End what `living` finds: politely, then by force, then once more what was born meanwhile."""
    for number in (signal.SIGTERM, signal.SIGKILL, signal.SIGKILL):
        _signal(living(), number)
        deadline = time.monotonic() + grace
        while alive := living():
            if time.monotonic() > deadline:
                break
            time.sleep(0.05)
        else:
            return
    named = ", ".join(described(process) for process in alive)
    raise ChildError(f"Some processes do not end ({named}); end them before the next start.")


def _ending(code: int) -> str:
    if code < 0:
        return f"was ended by {signal.Signals(-code).name}"
    return f"ended with exit code {code}"


def _not_ready(child: Child, fact: str) -> ChildError:
    with child.log.open(encoding="utf-8", errors="replace") as lines:
        last = deque((line.strip() for line in lines if line.strip()), maxlen=1)
    said = f" ({last[0]})" if last else ""
    return ChildError(f"{child.name} {fact}{said}; see its log {child.log}.")
