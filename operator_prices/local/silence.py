"""The deadline of Dagster's own statements, which psycopg2 would wait for without end.

Nor would it hear a signal while it waits.
"""

import select
from time import monotonic
from typing import Any

import psycopg2
from psycopg2 import extensions

from operator_prices.postgres.keeping import INTERRUPTED, REACH
from operator_prices.postgres.parts import part

CONNECTING_SECONDS, IMPATIENT_SECONDS = 5, 1
"""How long to connect may take; and how long when it just has been in vain. Dagster tries six times
each time, and whoever waits for it gives up within a minute."""

SILENT_SECONDS = 45

RUN_SECONDS = 90
"""The same in a run, connecting or not: nobody waits for it, and a minute's silence ends none."""

INTERRUPTED_SECONDS = 2
"""Whoever has been told to end waits no longer than that for anything."""

LOOK_SECONDS = 0.5


class SilentStorageError(psycopg2.OperationalError):  # type: ignore[misc]
    """The database has not answered Dagster for so long that the connection was given up."""


def install() -> None:
    """Have all connections of psycopg2 in this process wait as `patiently` does."""
    extensions.set_wait_callback(patiently)


def patiently(connection: Any) -> None:  # noqa: ANN401 - psycopg2 has no types
    """Wait until an answer is there; raises `psycopg2.OperationalError` if none comes.

    psycopg2 then closes the connection. After Ctrl-C or SIGTERM, it raises `KeyboardInterrupt`
    again, since what Dagster does about an error is to try again.
    """
    connecting = connection.status == extensions.STATUS_SETUP
    limit = _limit(connecting=connecting)
    try:
        _wait(connection, limit)
    except SilentStorageError:
        if connecting and limit >= CONNECTING_SECONDS:  # who waited less has shown nothing
            REACH.fails(limit if limit == RUN_SECONDS else None)
        raise
    except BaseException as error:
        if not isinstance(error, Exception):  # Ctrl-C, or what Dagster makes of it
            INTERRUPTED.set()
        raise
    if connecting:
        REACH.succeeds()


def _limit(*, connecting: bool) -> float:
    """How many seconds of silence are borne."""
    if part() == "run":
        return RUN_SECONDS
    if connecting:
        return IMPATIENT_SECONDS if REACH.failed_lately else CONNECTING_SECONDS
    return SILENT_SECONDS


def _wait(connection: Any, limit: float) -> None:  # noqa: ANN401
    since = monotonic()
    while (state := connection.poll()) != extensions.POLL_OK:
        reading = [connection] if state == extensions.POLL_READ else []
        writing = [connection] if state == extensions.POLL_WRITE else []
        if any(select.select(reading, writing, [], LOOK_SECONDS)):
            continue
        silent = monotonic() - since
        if INTERRUPTED.is_set() and (silent > INTERRUPTED_SECONDS or REACH.failed_lately):
            REACH.fails()  # whatever else wants to be told of the end need not try as long
            raise KeyboardInterrupt
        if silent > limit:
            raise SilentStorageError(f"the database has been silent for {silent:.0f} s")
