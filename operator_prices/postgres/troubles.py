"""Troubles of a database that may be over when it is asked again, and what is said of them."""

import psycopg
from psycopg import errors

from operator_prices.postgres.keeping import SilentDatabaseError

PASSING = (
    psycopg.OperationalError,
    errors.ReadOnlySqlTransaction,
    errors.IdleInTransactionSessionTimeout,
)
"""A line that is lost or silent, a server that is started, stopped, full or put to read-only, a
limit of time, a lock: nothing of what was under way was kept, and the same may go well later."""

SENTENCES = {
    errors.ReadOnlySqlTransaction: (
        "the database takes no writes (it is read-only, or a standby): make it writable, or point"
        " DATABASE_URL at the one that is"
    ),
    errors.DiskFull: "the database has no room left on its disk: make room there",
    errors.LockNotAvailable: (
        "somebody else has held a table of ours for longer than lock_timeout: end what holds it"
        " (pg_stat_activity lists it), or raise the limit of the role"
    ),
    errors.IdleInTransactionSessionTimeout: (
        "idle_in_transaction_session_timeout ended a transaction: raise that limit of the role"
    ),
    errors.QueryCanceled: (
        "a statement was ended by somebody, or by the statement_timeout of the role or the"
        " database: raise that limit (ALTER ROLE ... SET statement_timeout = 0)"
    ),
}


def passing() -> dict[str, type[psycopg.Error]]:
    """The classes of `PASSING` and all below them, for where only the name of an error is left."""
    found: dict[str, type[psycopg.Error]] = {}
    todo: list[type[psycopg.Error]] = list(PASSING)
    while todo:
        kind = todo.pop()
        found[kind.__name__] = kind
        todo += kind.__subclasses__()
    return found


def sentence(error: BaseException) -> str:
    """What the trouble is, and what to do about it, without a full stop.

    >>> sentence(errors.DiskFull('could not extend file "base/5/1": No space left on device'))
    'the database has no room left on its disk: make room there'
    >>> sentence(SilentDatabaseError("the database has been silent for 28 s"))
    'the database has been silent for 28 s: see to its server and to the network between'
    """
    names = {kind.__name__ for kind in type(error).__mro__}  # those of psycopg2, too
    for kind, said in SENTENCES.items():
        if kind.__name__ in names:
            return said
    if isinstance(error, SilentDatabaseError):
        return f"{error}: see to its server and to the network between"
    primary = error.diag.message_primary if isinstance(error, psycopg.Error) else None
    text = " ".join((primary or str(error).partition("\n")[0] or type(error).__name__).split())
    return f"the database was lost ({text.rstrip('.')}): start its server, or wait until it is back"


def lost(error: BaseException) -> str | None:
    """The same of an error, or of what it is said to come from; None for any other trouble.

    psycopg2, by which Dagster keeps its own tables, names errors alike.
    """
    cause: BaseException | None = error
    while cause is not None:
        theirs = {
            kind.__name__ for kind in type(cause).__mro__ if kind.__module__.startswith("psycopg2")
        }
        if isinstance(cause, PASSING) or theirs & passing().keys():
            return sentence(cause)
        cause = cause.__cause__
    return None
