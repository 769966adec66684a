"""Signs of life of runs: given by the run itself, missed by whoever looks, heeded by its writes.

No clock of a host decides: whoever looks sees whether a counter has moved. No lock of a session
decides either, which a pooler would let go.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from threading import Event
from typing import Any

import psycopg
from psycopg import Connection
from psycopg.pq import TransactionStatus
from psycopg.rows import class_row

from operator_prices import VERSION
from operator_prices.errors import ExplainedError
from operator_prices.postgres.working import WorkingLine

EVERY_SECONDS = 3
"""How often a run gives its sign."""

SILENT_SECONDS = 20
"""A run whose sign has been seen not to move for so long is given up: longer than a sign takes when
one connection hangs (see `PATIENCE`) and the next one gives it."""

COUNTED_SECONDS = 8
"""The most that one look adds to a silence: while the database is away nobody can give a sign.

After that, two looks that see none are not enough."""

KEPT_DAYS = 30
"""For so long it is remembered that a run was given up."""

PATIENCE: dict[str, Any] = {
    "connect_timeout": 5,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}
"""How a connection for one sign is opened: one that hangs is let go of before the run is."""

HOLD_FENCE = (
    "SELECT pg_advisory_xact_lock_shared(hashtextextended('operator-prices run ' || %(run)s, 0))"
)
"""Take the lock that each transaction of a run holds while it lasts."""

END_HOLDERS = """
SELECT pg_terminate_backend(pid, 5000) FROM pg_locks JOIN pg_database ON pg_database.oid = database
WHERE datname = current_database() AND locktype = 'advisory' AND objsubid = 1 AND granted
  AND pid <> pg_backend_pid() AND (classid::bigint << 32) | objid::bigint
    = hashtextextended('operator-prices run ' || %(run)s, 0)
"""


class GivenUpError(ExplainedError):
    """A run that was given to another would write."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sign:
    """Who works on a run, and how long ago it was heard of, in seconds of the database's clock."""

    run_id: str
    host: str
    """Empty for a run that has never given a sign."""
    launcher: str
    process: str
    version: str
    """That of this package which works on it; empty for one that tells none."""
    signs: int
    """How many it has given."""
    age: float
    silence: float
    """Seconds for which it has been seen not to move."""
    given_up: bool


def begin(
    connection: Connection,
    run_id: str,
    *,
    host: str,
    launcher: str,
    process: str,
    version: str = VERSION,
) -> None:
    """Give a run's first sign. Raises `GivenUpError` for one that was given up before."""
    begun = connection.execute(
        "INSERT INTO run_signs AS known"
        " (run_id, host, launcher, process, version, signs, given_at)"
        " VALUES (%s, %s, %s, %s, %s, 1, clock_timestamp()) ON CONFLICT (run_id) DO UPDATE"
        " SET host = excluded.host, launcher = excluded.launcher, process = excluded.process,"
        "   version = excluded.version, signs = known.signs + 1, given_at = clock_timestamp()"
        " WHERE known.given_up_at IS NULL",
        [run_id, host, launcher, process, version],
    ).rowcount
    if not begun:
        raise _given_up(run_id)


def renew(connection: Connection, run_id: str) -> bool:
    """Give a further sign; False for a run that was given up."""
    return bool(
        connection.execute(
            "UPDATE run_signs SET signs = signs + 1, given_at = clock_timestamp()"
            " WHERE run_id = %s AND given_up_at IS NULL",
            [run_id],
        ).rowcount
    )


def renew_until(stop: Event, connect: Callable[[], Connection], run_id: str) -> None:
    """Give signs until `stop`, or until the run is given up; a database that is away is awaited.

    Each on a connection of its own: none is kept that others could use, or that hangs for long.
    """
    while not stop.wait(EVERY_SECONDS):
        with suppress(psycopg.OperationalError), connect() as connection:
            if not renew(connection, run_id):
                break


def end(connection: Connection, run_id: str) -> None:
    """A run is over by itself; one that was given up stays so."""
    connection.execute("DELETE FROM run_signs WHERE run_id = %s AND given_up_at IS NULL", [run_id])


def look(connection: Connection, started: list[str]) -> list[Sign]:
    """Look whose sign has moved, and return all there are; every run of `started` should give one.

    One that has not begun to is looked at from now on, as if it had given its first.
    """
    with connection.transaction():
        connection.execute(
            "INSERT INTO run_signs (run_id) SELECT unnest(%s::text[]) ON CONFLICT DO NOTHING",
            [started],
        )
        connection.execute(
            "UPDATE run_signs SET seen_signs = signs, looked_at = clock_timestamp(),"
            " silence = CASE WHEN signs <> seen_signs THEN INTERVAL '0' ELSE silence END"
            "   + least(make_interval(secs => %s), clock_timestamp()"
            "     - CASE WHEN signs <> seen_signs THEN given_at ELSE looked_at END)"
            " WHERE given_up_at IS NULL",
            [COUNTED_SECONDS],
        )
        connection.execute(
            "DELETE FROM run_signs WHERE given_up_at < now() - make_interval(days => %s)",
            [KEPT_DAYS],
        )
        return all_signs(connection)


def all_signs(connection: Connection) -> list[Sign]:
    """The signs of all runs that are at work or were given up, oldest first."""
    with connection.cursor(row_factory=class_row(Sign)) as cursor:
        return cursor.execute(
            "SELECT run_id, host, launcher, process, version, signs,"
            " given_up_at IS NOT NULL AS given_up,"
            " extract(epoch FROM clock_timestamp() - coalesce(given_at, begun_at))::float8 AS age,"
            " extract(epoch FROM silence)::float8 AS silence FROM run_signs"
            " ORDER BY begun_at, run_id"
        ).fetchall()


def was_given_up(connection: Connection, run_id: str) -> bool:
    return any(one.given_up for one in all_signs(connection) if one.run_id == run_id)


def forget(connection: Connection, run_id: str) -> None:
    """Forget a run; without a row here it may not write any more."""
    connection.execute("DELETE FROM run_signs WHERE run_id = %s", [run_id])


def give_up(connection: Connection, sign: Sign) -> bool:
    """Let a run write no more, unless it has given a sign since `sign`; whether that was so.

    What it has in hand is undone: its transactions are ended, in which it may be frozen with rows
    locked. Raises `psycopg.OperationalError` where one does not end.
    """
    if not sign.given_up:
        given_up = connection.execute(
            "UPDATE run_signs SET given_up_at = clock_timestamp()"
            " WHERE run_id = %s AND given_up_at IS NULL AND signs = %s",
            [sign.run_id, sign.signs],
        ).rowcount
        if not given_up:
            return False
    ended = connection.execute(END_HOLDERS, {"run": sign.run_id}).fetchall()
    if not all(one for (one,) in ended):
        raise psycopg.OperationalError(f"a transaction of run {sign.run_id} does not end")
    return True


class FencedConnection(WorkingLine):
    """The connection of a run: what it would do is refused once the run was given up."""

    run_id: str | None = None
    """None until the run has begun."""

    @contextmanager
    def transaction(
        self,
        savepoint_name: str | None = None,
        force_rollback: bool = False,  # noqa: FBT001, FBT002
    ) -> Iterator[psycopg.Transaction]:
        outermost = self.info.transaction_status == TransactionStatus.IDLE
        with super().transaction(savepoint_name, force_rollback) as transaction:
            if outermost and self.run_id is not None:
                self._refuse_given_up(self.run_id)
            yield transaction

    def execute(self, *told: Any, **more: Any) -> psycopg.Cursor[Any]:  # noqa: ANN401
        if self.run_id is None or self.info.transaction_status != TransactionStatus.IDLE:
            return super().execute(*told, **more)
        with self.transaction():
            return super().execute(*told, **more)

    def _refuse_given_up(self, run_id: str) -> None:
        """Hold the fence until the transaction ends, and look only then: see `give_up`."""
        run = {"run": run_id}
        super().execute(HOLD_FENCE, run)
        known = "SELECT FROM run_signs WHERE run_id = %(run)s AND given_up_at IS NULL"
        if super().execute(known, run).fetchone() is None:
            raise _given_up(run_id)


def _given_up(run_id: str) -> GivenUpError:
    return GivenUpError(
        f"Run {run_id} gave no sign of life and was given up, so what it would still write is"
        " refused: nothing is to be done, another run has taken over."
    )
