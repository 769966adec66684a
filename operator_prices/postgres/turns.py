"""Turns at the few connections that the processes of one machine share."""

import fcntl
import os
import threading
import time
from collections import Counter
from pathlib import Path

from operator_prices.errors import ExplainedError

PATIENCE_SECONDS = 60
"""How long a thread waits for its turn."""

LOOK_SECONDS = 0.005

WAITING = "waiting"
"""The file on which whoever waits has a lock."""


class NoTurnError(ExplainedError):
    """A thread waited too long; the sentence says for what."""


class Turns:
    """How many threads may be connected at a time, of all processes that use the same folder.

    A thread that is connected may connect again, or it would wait for itself. The kernel takes a
    turn from who dies with it.
    """

    def __init__(self, folder: Path, share: int, seconds: float = PATIENCE_SECONDS) -> None:
        self._folder, self._share, self._seconds = folder, share, seconds
        self._depths: Counter[int] = Counter()
        self._locks: dict[int, int] = {}
        self._change = threading.Lock()

    def take(self) -> int:
        """Wait for a turn of this thread; what is returned is to be given back."""
        thread = threading.get_ident()
        with self._change:
            self._depths[thread] += 1
            if self._depths[thread] > 1:
                return thread
        try:
            self._locks[thread] = self._wait()
        except BaseException:
            with self._change:
                del self._depths[thread]
            raise
        return thread

    def give(self, thread: int) -> None:
        """End a turn; whichever thread does so."""
        with self._change:
            self._depths[thread] -= 1
            if self._depths[thread] == 0:
                del self._depths[thread]
                os.close(self._locks.pop(thread))

    def park(self, thread: int) -> int | None:
        """End a turn and keep it for whoever resumes it; None if the thread is still connected."""
        with self._change:
            self._depths[thread] -= 1
            if self._depths[thread]:
                return None
            del self._depths[thread]
            return self._locks.pop(thread)

    def resume(self, lock: int) -> int:
        """Make what was parked a turn of this thread."""
        thread = threading.get_ident()
        with self._change:
            self._depths[thread] += 1
            if self._depths[thread] > 1:
                os.close(lock)
            else:
                self._locks[thread] = lock
        return thread

    def awaited(self) -> bool:
        """Whether anybody waits for a turn; nobody does where that cannot be looked up."""
        try:
            lock = self._lock(WAITING, fcntl.LOCK_EX)
        except OSError:
            return False
        if lock is not None:
            os.close(lock)
        return lock is None

    def _wait(self) -> int:
        self._folder.mkdir(parents=True, exist_ok=True)
        deadline = time.monotonic() + self._seconds
        waiting: int | None = None
        try:
            while (lock := self._free()) is None:
                if time.monotonic() > deadline:
                    raise NoTurnError(
                        f"A thread waited {self._seconds:g} s for one of the {self._share}"
                        " connections to Dagster's tables, which others hold: look in"
                        " pg_stat_activity for what keeps them, and try again."
                    )
                if waiting is None:  # as it is while somebody looks whether anybody waits
                    waiting = self._lock(WAITING, fcntl.LOCK_SH)
                time.sleep(LOOK_SECONDS)
        finally:
            if waiting is not None:
                os.close(waiting)
        return lock

    def _free(self) -> int | None:
        """The lock of a turn that is free."""
        locks = (self._lock(str(number), fcntl.LOCK_EX) for number in range(self._share))
        return next((lock for lock in locks if lock is not None), None)

    def _lock(self, name: str, kind: int) -> int | None:
        lock = os.open(self._folder / name, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            return None
        return lock
