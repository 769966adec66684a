"""What lies between us and the server: nothing, a pooler that keeps sessions, or one that does not.

It is told by what it does, and nothing is changed in finding out.
"""

from enum import Enum

import psycopg
from psycopg import Connection
from psycopg.conninfo import conninfo_to_dict

from operator_prices.errors import ExplainedError
from operator_prices.store.database import connect

TRANSACTION_PORT = "6543"
"""Where Supabase and others offer transaction pooling."""

PROBES, SUSPICIOUS_PROBES = 3, 10
"""How often to look; more often where the port makes us suspicious."""


class Pooling(Enum):
    """How long a connection is tied to one session of the server."""

    NONE = "the server itself"
    SESSION = "a pooler in session mode"
    TRANSACTION = "a pooler in transaction mode"


class TransactionPoolerError(ExplainedError):
    """Work that needs a session, through a pooler that gives each transaction another one."""


def pooling(dsn: str) -> Pooling:
    """What `dsn` leads to. Raises `psycopg.OperationalError` if nothing answers.

    The server names the process that serves us. A pooler names another one, as it must answer for
    all processes behind it; and one that keeps no sessions lends the same process to two
    connections, or two processes to one.
    """
    with connect(dsn) as first:
        process = _process(first)
        if process == first.info.backend_pid:
            return Pooling.NONE
        suspicious = conninfo_to_dict(dsn).get("port") == TRANSACTION_PORT
        for _ in range(SUSPICIOUS_PROBES if suspicious else PROBES):
            if _lent_to_others(dsn, first, process):
                return Pooling.TRANSACTION
    return Pooling.SESSION


def require_session(dsn: str, variable: str = "DATABASE_URL") -> Pooling:
    """How `dsn` is pooled; raises `TransactionPoolerError` where no session is kept."""
    if (found := pooling(dsn)) is Pooling.TRANSACTION:
        raise TransactionPoolerError(
            f"The address of {variable} leads to {found.value}, where locks and settings do not"
            f" last: use the session pooler's address, {_session_form(dsn)}, or the server's own."
        )
    return found


def _lent_to_others(dsn: str, first: Connection, process: int) -> bool:
    with connect(dsn) as second:
        try:
            with second.transaction():  # which keeps its process busy, so that `first` gets another
                return _process(second) == process or _process(first) != process
        except psycopg.errors.ProtocolViolation:
            return True  # not even transactions are kept together


def _process(connection: Connection) -> int:
    row = connection.execute("SELECT pg_backend_pid()", prepare=False).fetchone()
    if row is None:
        raise LookupError("pg_backend_pid() gave no row")
    return int(row[0])


def _session_form(dsn: str) -> str:
    known = conninfo_to_dict(dsn)
    host = known.get("host") or "HOST"
    return f"postgresql://...@{host}:5432/{known.get('dbname') or 'postgres'}"
