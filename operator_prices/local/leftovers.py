"""Who works on a data directory: one `up` at a time, and nothing of one that was killed."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import filelock
import psutil

from operator_prices.errors import ExplainedError
from operator_prices.local.ports import process_name

MARK = "OPERATOR_PRICES_UP"
"""The variable by which every descendant of `up` is known, whatever session it has moved to."""


class SupervisionError(ExplainedError):
    """What keeps `up` from running."""


class ChildError(SupervisionError):
    """A child cannot start, or cannot be stopped."""


class DataDirError(SupervisionError):
    """The data directory is not ours to use."""


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
    found = {process.pid: process_name(process) for process in marked(data_dir)}
    end_all(lambda: marked(data_dir), grace)
    return list(found.values())


def mark_of(data_dir: Path) -> str:
    return str(data_dir.resolve())


def marked(data_dir: Path) -> list[psutil.Process]:
    """Who lives and descends from an `up` on the data directory, except for ourselves."""
    return bearing(MARK, mark_of(data_dir))


def bearing(name: str, value: str) -> list[psutil.Process]:
    """Who lives and was started with a variable, except for ourselves."""
    us = psutil.Process()
    own = {us.pid, *(parent.pid for parent in us.parents())}
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if process.pid not in own and process.environ().get(name) == value and _lives(process):
                found.append(process)
    return found


def session_of(leader: int) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if os.getsid(process.pid) == leader and _lives(process):
                found.append(process)
    return found


def _lives(process: psutil.Process) -> bool:
    return process.status() not in {psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD}


def signal_all(processes: list[psutil.Process], number: signal.Signals) -> None:
    for process in processes:
        with suppress(psutil.Error):
            process.send_signal(number)


def end_all(living: Callable[[], list[psutil.Process]], grace: float) -> None:
    """End what `living` finds: politely, then by force, then once more what was born meanwhile."""
    for number in (signal.SIGTERM, signal.SIGKILL, signal.SIGKILL):
        signal_all(living(), number)
        deadline = time.monotonic() + grace
        while alive := living():
            if time.monotonic() > deadline:
                break
            time.sleep(0.05)
        else:
            return
    named = ", ".join(process_name(process) for process in alive)
    raise ChildError(f"Some processes do not end ({named}); end them before the next start.")
