"""How every connection is kept, how its silence is noticed, and how it is ended."""

import math
import os
import socket
from collections.abc import Callable
from contextlib import closing, suppress
from threading import Event
from time import monotonic
from typing import TypeVar

import psycopg
from psycopg.abc import PQGen
from psycopg.conninfo import conninfo_to_dict

Result = TypeVar("Result")

KEPT = {
    "connect_timeout": 10,
    "keepalives": 1,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,
}
"""The kernel ends what nobody acknowledges for 20 s, or for 25 s where nothing is sent."""


INTERRUPTED = Event()
"""Set once the process has been told to end: then nobody waits long for anything."""


class Reach:
    """When nothing at all could be reached last: for a while others need not try as long."""

    def __init__(self) -> None:
        self._failed = -math.inf
        self._since: float | None = None

    def fails(self, silent: float | None = None) -> None:
        """Note that nothing answers; for how many seconds, if that is enough to be sure."""
        since = self._since if self.failed_lately else None
        self._failed = monotonic()
        self._since = since if silent is None else self._failed - silent

    def succeeds(self) -> None:
        self._failed = -math.inf

    @property
    def silence(self) -> float | None:
        """For how long surely nothing answers: then it is in vain to try several times."""
        return monotonic() - self._since if self._since and self.failed_lately else None

    @property
    def failed_lately(self) -> bool:
        return monotonic() - self._failed < LATELY_SECONDS


LATELY_SECONDS = 60

REACH = Reach()


class SilentDatabaseError(psycopg.OperationalError):
    """The database has not answered for so long that the connection was given up."""


def parameters(dsn: str) -> dict[str, str | int]:
    """How a connection to `dsn` is kept, except for what it says itself.

    >>> parameters("host=db.example keepalives=0 connect_timeout=3")["tcp_user_timeout"]
    20000
    >>> "connect_timeout" in parameters("host=db.example connect_timeout=3")
    False

    Raises `psycopg.ProgrammingError` where `dsn` is no address.
    """
    known = conninfo_to_dict(dsn)
    return {name: value for name, value in KEPT.items() if name not in known}


class Silence:
    """How long a statement has been waiting for anything to come or go."""

    def __init__(self) -> None:
        self.given_up = False
        self.broken()

    def broken(self) -> None:
        """Count anew: something came, or could be sent."""
        self._begun = monotonic()

    @property
    def seconds(self) -> float:
        return monotonic() - self._begun

    def give_up(self, connection: psycopg.BaseConnection[object]) -> None:
        """End a connection by its socket: whoever waits for an answer is told that it is closed.

        To ask the server to cancel would go down the same dead line.
        """
        self.given_up = True
        if not connection.closed:
            with (
                suppress(OSError),
                closing(socket.socket(fileno=os.dup(connection.fileno()))) as end,
            ):
                end.shutdown(socket.SHUT_RDWR)

    def error(self) -> SilentDatabaseError:
        return SilentDatabaseError(f"the database has been silent for {self.seconds:.0f} s")


def watched(gen: PQGen[Result], silence: Silence, idle: Callable[[], None]) -> PQGen[Result]:
    """The same work of psycopg's; `idle` is called several times a second in silence."""
    try:
        wanted = next(gen)
        while True:
            ready = yield wanted
            if not ready:
                idle()
            elif not silence.given_up:
                silence.broken()
            wanted = gen.send(ready)
    except StopIteration as end:
        result: Result = end.value
        return result
