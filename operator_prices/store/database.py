"""A connection to the database, and the chain that it is tied to."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from typing import LiteralString, TypeVar, overload

import psycopg
from psycopg import Connection

from operator_prices.chain import WrongChainError
from operator_prices.errors import ExplainedError
from operator_prices.postgres import working
from operator_prices.postgres.keeping import SilentDatabaseError
from operator_prices.postgres.parts import application_name
from operator_prices.postgres.working import Doing, WorkingLine

ASKING_SECONDS = 5
"""How long the server may take to say what it does for us."""

LONG_WORK = (
    "SELECT set_config('statement_timeout', '0', true), set_config('lock_timeout', '5min', true),"
    " set_config('idle_in_transaction_session_timeout', '2min', true)"
)
"""A role or a database may have limits meant for other work. Ours end what is stuck: somebody's
lock, and a transaction whose client is gone without the server hearing of it."""

Line = TypeVar("Line", bound=WorkingLine)


@dataclass(frozen=True, slots=True)
class Session:
    """A session at the server; the number of a process alone may be somebody else's by now."""

    dsn: str
    process: int
    begun: Decimal
    """In seconds of Unix time: a number, whatever style of dates the session has."""


_abandoned: list[Session] = []
"""Sessions that we gave up, and that may hold locks until the server is told."""


@overload
def connect(dsn: str, *, name: str = "") -> WorkingLine: ...
@overload
def connect(dsn: str, kind: type[Line], *, name: str = "") -> Line: ...
def connect(dsn: str, kind: type[WorkingLine] = WorkingLine, *, name: str = "") -> WorkingLine:
    """A connection that commits each statement, unless a transaction is opened.

    It raises `SilentDatabaseError` within a minute when its line is dead, and waits as long as it
    takes while the server works. The server knows it by the `name`, else by that of the part.
    """
    connection = working.connect(dsn, kind, application_name=application_name(name))
    try:
        _introduce(connection, dsn)
    except BaseException:
        connection.close()
        raise
    return connection


def _introduce(connection: WorkingLine, dsn: str) -> None:
    """Learn which session this is, and end those that were given up before it."""
    row = connection.execute(
        "SELECT pid, extract(epoch FROM backend_start) FROM pg_stat_activity"
        " WHERE pid = pg_backend_pid()",
        prepare=False,
    ).fetchone()
    if row is not None and row[1] is not None:
        session = Session(dsn, *row)
        connection.asked = partial(_doing, session)
        connection.abandoned = partial(_abandoned.append, session)
    _end_abandoned(connection, dsn)


def revive(connection: Connection) -> None:
    """Connect anew where the connection was lost; never in the middle of anything."""
    if isinstance(connection, WorkingLine) and connection.closed:
        connection.take_over(connect(connection.dsn))


@contextmanager
def long_work(connection: Connection) -> Iterator[None]:
    """A transaction that may take its time, whatever limits the role has for a statement."""
    with connection.transaction():
        connection.execute(LONG_WORK)
        yield


def _doing(session: Session) -> Doing:
    return _told(
        session.dsn,
        "pid = %s AND extract(epoch FROM backend_start) = %s",
        [session.process, session.begun],
    )


def _told(dsn: str, which: LiteralString, told: list[object]) -> Doing:
    try:
        with working.connect(
            dsn,
            connect_timeout=ASKING_SECONDS,
            application_name=application_name("probe"),
        ) as other:
            other.patience = ASKING_SECONDS
            row = other.execute(
                f"SELECT state, wait_event_type FROM pg_stat_activity WHERE {which}",  # noqa: S608
                told,
            ).fetchone()
    except psycopg.OperationalError as error:
        silent = isinstance(error, SilentDatabaseError | psycopg.errors.ConnectionTimeout)
        return Doing.UNKNOWN if not silent and "FATAL" in str(error) else Doing.UNREACHABLE
    if row is None:
        return Doing.WAITING
    state, waits_for = row
    if state in (None, "disabled"):
        return Doing.UNKNOWN
    return Doing.WORKING if state == "active" and waits_for != "Client" else Doing.WAITING


def doing(dsn: str, name: str) -> Doing:
    """What the server does for the program that connects under a name of its own."""
    return _told(dsn, "application_name = %s", [name])


def _end_abandoned(connection: Connection, dsn: str) -> None:
    for session in [one for one in _abandoned if one.dsn == dsn]:
        with suppress(psycopg.errors.InsufficientPrivilege):  # of a pooler that changes the role
            connection.execute(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
                " WHERE pid = %s AND extract(epoch FROM backend_start) = %s",
                [session.process, session.begun],
            )
        _abandoned.remove(session)


class HiddenRowsError(ExplainedError):
    """A role that is shown less than there is."""


def refuse_hidden(connection: Connection) -> None:
    """Raise `HiddenRowsError` where row-level security hides rows, which then read like none."""
    row = connection.execute("SELECT hidden_tables(), current_user").fetchone()
    if row is not None and row[0] is not None:
        raise HiddenRowsError(
            f"Row-level security hides the rows of {row[0]} from the role {row[1]}: run"
            " `operator-prices migrate` as the tables' owner, which puts its policies back."
        )


def refuse_other_chain(connection: Connection, genesis_hash: str, domain_id: int) -> None:
    """Raise `WrongChainError` when the database is tied to another chain or domain."""
    pinned = pinned_chain(connection)
    if pinned not in (None, (genesis_hash, domain_id)):
        kept_genesis, kept_domain = pinned
        raise WrongChainError(
            f"This database holds domain {kept_domain} of the chain with genesis {kept_genesis},"
            f" the node serves domain {domain_id} of genesis {genesis_hash}: point ARCHIVE_NODE_URL"
            " and DOMAIN_ID at the former, or use another DATA_DIR or DATABASE_URL."
        )


def pinned_chain(connection: Connection) -> tuple[str, int] | None:
    """The genesis hash and domain that the database is tied to, if it is."""
    row = connection.execute("SELECT genesis_hash, domain_id FROM chain_identity").fetchone()
    return (row[0], row[1]) if row else None
