"""Work that is done again when the database was lost in the middle of it."""

import logging
import sys
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

from dagster_postgres.utils import DagsterPostgresException
from sqlalchemy.exc import DBAPIError

from operator_prices.errors import ExplainedError
from operator_prices.postgres import troubles

logging.getLogger().addFilter(lambda record: "database connection" not in str(record.msg))
"""Dagster tells of each of its tries to connect; we say what came of all of them."""

Result = TypeVar("Result")

FIRST_PAUSE, LONGEST_PAUSE = 5, 30

PERSISTENT_SECONDS = 1800
"""How long to try before a command ends; running it again goes on where it ended."""

LOST = (*troubles.PASSING, DBAPIError, DagsterPostgresException)
"""How our own connections and those of Dagster's storage say that the database was lost."""


class LostDatabaseError(ExplainedError):
    """The database was lost and has not come back."""


def until_back(work: Callable[[], Result], what: str) -> Result:
    """Do `work`, again whenever the database was lost in it; raises `LostDatabaseError` in the end.

    `work` must bear being done twice.
    """
    begun = time.monotonic()
    for pause in _pauses():
        try:
            return work()
        except LOST as error:
            trouble = troubles.lost(error) or troubles.sentence(error)
            if time.monotonic() - begun > PERSISTENT_SECONDS:
                raise LostDatabaseError(
                    f"{what} was not done, {trouble}; what was done before is kept: run the command"
                    " again then, and it goes on."
                ) from error
            print(f"{what}: {trouble}; trying again in {pause} s.", file=sys.stderr)  # noqa: T201
        time.sleep(pause)
    raise AssertionError


def _pauses() -> Iterator[int]:
    pause = FIRST_PAUSE
    while True:
        yield pause
        pause = min(2 * pause, LONGEST_PAUSE)
