"""What lies between us and the server: nothing, a pooler that keeps sessions, or one that does not.

It is told by what it does, and nothing is changed in finding out.
"""

from enum import Enum

import psycopg
from psycopg import Connection
from psycopg.conninfo import conninfo_to_dict

from operator_prices.errors import ExplainedError
from operator_prices.postgres import working
from operator_prices.postgres.keeping import SilentDatabaseError
from operator_prices.postgres.parts import application_name

TRANSACTION_PORT = "6543"
"""Where Supabase and others offer transaction pooling."""

PROBES, SUSPICIOUS_PROBES = 12, 24
"""How often to look; more often where the port makes us suspicious."""

PROBE_SECONDS = 10


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
    with _connected(dsn) as first:
        process = _process(first)
        if process == first.info.backend_pid:
            return Pooling.NONE
        suspicious = conninfo_to_dict(dsn).get("port") == TRANSACTION_PORT
        if _exchanged(dsn, first, process, SUSPICIOUS_PROBES if suspicious else PROBES):
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


def _exchanged(dsn: str, first: Connection, process: int, probes: int) -> bool:
    """Whether two connections are ever served by the same process, or one by two."""
    with _connected(dsn) as second:
        others: set[int] = set()
        try:
            for _ in range(probes):
                with second.transaction():  # keeps its process busy, so that `first` gets another
                    others.add(_process(second))
                    if len(others) > 1 or process in others or _process(first) != process:
                        return True
        except psycopg.errors.ProtocolViolation:
            return True  # not even transactions are kept together
        except SilentDatabaseError as error:
            raise SilentDatabaseError(
                f"the pooler has lent us no second connection for {PROBE_SECONDS} s, so its pool"
                " may be used up"
            ) from error
    return False


def _connected(dsn: str) -> Connection:
    connection = working.connect(
        dsn, application_name=application_name("probe"), prepare_threshold=None
    )
    connection.patience = PROBE_SECONDS
    return connection


def _process(connection: Connection) -> int:
    row = connection.execute("SELECT pg_backend_pid()").fetchone()
    if row is None:
        raise LookupError("pg_backend_pid() gave no row")
    return int(row[0])


def _session_form(dsn: str) -> str:
    known = conninfo_to_dict(dsn)
    host = known.get("host") or "HOST"
    return f"postgresql://...@{host}:5432/{known.get('dbname') or 'postgres'}"
