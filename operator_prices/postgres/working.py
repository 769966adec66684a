"""A connection for work that may rightly take long, and is given up when it is dead all the same.

Silence alone says nothing: a statement over all that is stored says nothing for minutes. So whoever
waits long asks the server, over a connection of its own, what it is doing for us.
"""

from collections.abc import Callable
from enum import Enum
from time import monotonic
from typing import Any, TypeVar

import psycopg
from psycopg import Connection
from psycopg.abc import PQGen
from psycopg.rows import TupleRow

from operator_prices.postgres.keeping import INTERRUPTED, REACH, Silence, parameters, watched

Result = TypeVar("Result")

DOUBT_SECONDS, AGAIN_SECONDS = 10, 2
"""How long a statement may be silent before the server is asked, and how soon it is again."""

AGREEING = 2
"""One answer is no proof: we may have asked at the very moment in which the statement ended."""

UNKNOWN_SECONDS = 300
"""How long to believe a server that answers, but cannot say what it does for us."""

CANCEL_SECONDS = 2

IMPATIENT_SECONDS = 5
"""How long to connect may take when it just has been in vain."""


class Doing(Enum):
    """What the other side does about a statement that we wait for."""

    WORKING = "it works on the statement"
    WAITING = "it waits for us, or knows nothing of us"
    UNREACHABLE = "nothing answers"
    UNKNOWN = "it answers, and does not say"


class WorkingLine(Connection[TupleRow]):
    """A connection that is cut when the server says, or nobody does, that it will never answer."""

    asked: Callable[[], Doing] | None = None
    """What the server does for us; if there is nobody to ask, `patience` is all."""

    abandoned: Callable[[], None] | None = None
    """Told when the connection is given up."""

    patience: float = 60

    dsn: str = ""

    def take_over(self, fresh: "WorkingLine") -> None:
        """Become another connection, in whose place the lost one goes."""
        self.pgconn, fresh.pgconn = fresh.pgconn, self.pgconn
        super().__init__(self.pgconn)
        self.autocommit = True
        self.asked, self.abandoned = fresh.asked, fresh.abandoned

    def wait(
        self, gen: PQGen[Result], interval: float = 0.1, timeout: float | None = None
    ) -> Result:
        """As psycopg's, which every statement goes through; raises `SilentDatabaseError`."""
        silence = Silence()
        doubt = Doubt(self.asked, self.patience + (timeout or 0))

        def idle() -> None:
            if not silence.given_up and doubt.confirmed(silence.seconds):
                silence.give_up(self)
                if self.abandoned is not None:
                    self.abandoned()

        try:
            return psycopg.waiting.wait(
                watched(gen, silence, idle), self.pgconn.socket, interval=interval, timeout=timeout
            )
        except psycopg.Error:
            if silence.given_up:
                raise silence.error() from None
            raise
        except BaseException as error:
            if isinstance(error, Exception):
                raise
            # Ctrl-C, or what Dagster makes of it: psycopg would wait ten seconds for a dead line.
            INTERRUPTED.set()
            self._try_cancel(timeout=CANCEL_SECONDS)
            self.pgconn.finish()
            raise


class Doubt:
    """Whether the other side will ever answer, in the course of one statement."""

    def __init__(self, asked: Callable[[], Doing] | None, patience: float) -> None:
        self._asked = asked
        self._patience = patience
        self._begin()

    def _begin(self) -> None:
        self._last = 0.0
        self._due = float(DOUBT_SECONDS)
        self._against = 0
        self._unknown_since: float | None = None

    def confirmed(self, silent: float) -> bool:
        """Whether to give up after so many seconds of silence."""
        if self._asked is None:
            return silent > self._patience
        if silent < self._last:  # something came in between
            self._begin()
        self._last = silent
        if silent < self._due:
            return False
        begun = monotonic()
        doing = self._asked()
        self._due = silent + (monotonic() - begun) + AGAIN_SECONDS
        if doing is Doing.UNKNOWN:
            self._unknown_since = self._unknown_since or silent
            return silent - self._unknown_since > UNKNOWN_SECONDS
        self._unknown_since = None
        self._against = 0 if doing is Doing.WORKING else self._against + 1
        confirmed = self._against >= AGREEING
        if confirmed and doing is Doing.UNREACHABLE:
            REACH.fails(silent)
        return confirmed


def connect(
    dsn: str,
    kind: type[WorkingLine] = WorkingLine,
    **more: Any,  # noqa: ANN401 - what psycopg takes
) -> WorkingLine:
    """A connection that commits each statement, unless a transaction is opened."""
    kept = parameters(dsn)
    if REACH.failed_lately and "connect_timeout" in kept:
        kept["connect_timeout"] = IMPATIENT_SECONDS
    line = kind.connect(dsn, autocommit=True, **{**kept, **more})
    REACH.succeeds()
    line.dsn = dsn
    return line
