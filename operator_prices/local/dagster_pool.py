"""The connections of Dagster's storage: in turns, and kept from one statement to the next.

By itself Dagster opens one for each statement, of which a step sends dozens; to open one costs the
server more than most statements do.
"""

import atexit
import os
import threading
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from select import POLLIN, poll
from time import monotonic, sleep
from typing import Any, Self

from psycopg2 import extensions
from sqlalchemy import Dialect, Engine, NullPool, create_engine
from sqlalchemy.pool import ConnectionPoolEntry

from operator_prices.local import silence
from operator_prices.postgres.keeping import INTERRUPTED, KEPT, REACH, SilentDatabaseError
from operator_prices.postgres.parts import STORAGE, application_name
from operator_prices.postgres.turns import Turns
from operator_prices.settings import default_data_dir

KEEP_SECONDS = 0.1
"""How long a connection is kept that nobody uses."""

AT_A_TIME_SECONDS = 0.1
"""How long a connection is used on end while others wait for a turn."""

LOOK_SECONDS, WATCH_SECONDS = 0.01, 1
"""How often a thread looks for what to close, and for how long in vain."""

TURN, SINCE = "operator-prices turn", "operator-prices since"
"""Whose turn a connection is, and since when."""

TURNS = Turns(Path(os.environ.get("DATA_DIR") or default_data_dir(), "dagster", "turns"), STORAGE)


class BriefPool(NullPool):
    """Keeps a connection for a moment after its last statement, and its turn with it.

    Whoever waits for a turn gets it at once from who does nothing, and soon from who is at work.
    """

    def __init__(self, *given: Any, **named: Any) -> None:  # noqa: ANN401 - what Pool takes
        super().__init__(*given, **named)
        self._change = threading.Lock()
        self._idle: list[_Idle] = []
        self._process = os.getpid()
        self._is_watched = False
        atexit.register(self.dispose)

    def status(self) -> str:
        return f"{len(self._idle)} connections kept for a moment"

    def _do_get(self) -> ConnectionPoolEntry:
        while (idle := self._take()) is not None:
            if idle.is_alive():
                idle.resume()
                return idle.record
            idle.close()
        return self._create_connection()

    def _do_return_conn(self, record: ConnectionPoolEntry) -> None:
        idle = _Idle.of(record) if _is_keepable(record) else None
        if idle is None:
            record.close()
            return
        with self._change:
            self._idle.append(idle)
            if not self._is_watched:
                threading.Thread(target=self._watch, name="closer", daemon=True).start()
                self._is_watched = True

    def dispose(self) -> None:
        """Close what is kept."""
        while (idle := self._take()) is not None:
            idle.close()

    def _take(self) -> "_Idle | None":
        with self._change:
            if self._process != os.getpid():  # forked: they are our parent's
                self._process, self._is_watched = os.getpid(), False
                while self._idle:
                    os.close(self._idle.pop().lock)
            return self._idle.pop() if self._idle else None

    def _watch(self) -> None:
        try:
            self._close_idle()
        except BaseException:
            with self._change:
                self._is_watched = False  # the next one that is kept is watched by another thread
            raise

    def _close_idle(self) -> None:
        """Close what has been kept for long enough; end after a while in which nothing was."""
        seen = monotonic()
        while True:
            sleep(LOOK_SECONDS)
            with self._change:
                if not self._idle:
                    if monotonic() - seen > WATCH_SECONDS:
                        self._is_watched = False
                        return
                    continue
                seen = monotonic()
                age = seen - self._idle[0].since
                if age < KEEP_SECONDS and not (age > LOOK_SECONDS and TURNS.awaited()):
                    continue
                idle = self._idle.pop(0)
            idle.close()


@dataclass(frozen=True, slots=True)
class _Idle:
    """A connection that nobody uses, with the turn that it keeps."""

    record: ConnectionPoolEntry
    lock: int
    since: float

    @classmethod
    def of(cls, record: ConnectionPoolEntry) -> "Self | None":
        """None where the thread has another one, to which its turn belongs as well."""
        lock = TURNS.park(record.info.pop(TURN))
        return None if lock is None else cls(record, lock, monotonic())

    def is_alive(self) -> bool:
        """Whether the server is to be reached and has said nothing: unasked it says good-bye."""
        said = poll()
        said.register(self.record.dbapi_connection, POLLIN)  # type: ignore[arg-type]
        return not REACH.failed_lately and not said.poll(0)

    def resume(self) -> None:
        self.record.info[TURN] = TURNS.resume(self.lock)

    def close(self) -> None:
        self.resume()
        self.record.close()


def _is_keepable(record: ConnectionPoolEntry) -> bool:
    """Whether a connection is as good as new, and no turn of others'."""
    connection: Any = record.dbapi_connection
    return (
        connection is not None
        and not connection.closed
        and connection.info.transaction_status == extensions.TRANSACTION_STATUS_IDLE
        and not INTERRUPTED.is_set()
        and TURN in record.info
        and (monotonic() - record.info[SINCE] < AT_A_TIME_SECONDS or not TURNS.awaited())
    )


@cache
def kept_engine(url: str) -> Engine:
    """The engine of all three of Dagster's storages in a process."""
    return create_engine(url, isolation_level="AUTOCOMMIT", poolclass=BriefPool)


def turned(dialect: Dialect, record: Any, given: Any, parameters: dict[str, Any]) -> Any:  # noqa: ANN401
    """Connect when it is this thread's turn, where no pool of the engine's own limits them."""
    named(dialect, record, given, parameters)
    turn = TURNS.take()
    try:
        connection = dialect.connect(*given, **parameters)
    except silence.SilentStorageError as error:
        TURNS.give(turn)
        if (silent := REACH.silence) is None:
            raise
        # Not an error of psycopg2's, or Dagster would try six times, for each event that it keeps.
        raise SilentDatabaseError(f"the database has been silent for {silent:.0f} s") from error
    except BaseException:
        TURNS.give(turn)
        raise
    record.info[TURN], record.info[SINCE] = turn, monotonic()
    return connection


def named(_: object, __: object, ___: object, parameters: dict[str, Any]) -> None:
    """Connect under our name, and as every connection of ours is kept."""
    parameters.setdefault("application_name", application_name())
    for name, value in KEPT.items():
        parameters.setdefault(name, value)


def give_turn(record: Any) -> None:  # noqa: ANN401
    """End the turn of a connection that is closed."""
    if (turn := record.info.pop(TURN, None)) is not None:
        TURNS.give(turn)
