"""Incidents: what is wrong is kept once until it is over, and whether that was told to anybody."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from psycopg import Connection, sql
from psycopg.rows import class_row


@dataclass(frozen=True, slots=True, kw_only=True)
class Incident:
    """Something that is wrong. `key` says what it is, so that it is reported once."""

    key: str
    what: str
    place: str
    link: str


@dataclass(frozen=True, slots=True, kw_only=True)
class UntoldIncident(Incident):
    """One whose beginning, or whose end, is still to be told."""

    id: int


BEHIND = "behind"
"""The key of a node that lacks what was seen; of a balancer it may be another at each look."""

CALM = sql.SQL("INTERVAL '5 minutes'")
"""How long `BEHIND` must stay away to be told as over; coming back before, it is the same one."""


def begin(connection: Connection, incidents: Iterable[Incident]) -> int:
    """Keep the incidents that are not open already; return how many are new."""
    told = list(incidents)
    connection.execute(
        sql.SQL(
            "UPDATE alert_incidents SET recovered_at = NULL"
            " WHERE key = %s AND key = ANY (%s) AND recovered_at > now() - {}"
        ).format(CALM),
        [BEHIND, [one.key for one in told]],
    )
    return sum(
        connection.execute(
            "INSERT INTO alert_incidents (key, what, place, link) VALUES (%s, %s, %s, %s)"
            " ON CONFLICT (key) WHERE recovered_at IS NULL DO NOTHING",
            [one.key, one.what, one.place, one.link],
        ).rowcount
        for one in told
    )


def recover(connection: Connection, keys: Iterable[str]) -> int:
    """Close the open incidents of these keys; return how many there were."""
    return connection.execute(
        "UPDATE alert_incidents SET recovered_at = now()"
        " WHERE recovered_at IS NULL AND key = ANY (%s)",
        [list(keys)],
    ).rowcount


def untold(connection: Connection, *, recovered: bool) -> list[UntoldIncident]:
    """The incidents whose beginning, or with `recovered` whose end, has not been told yet.

    What was never told is left out once it is over for a day: nobody needs to know by then.
    """
    condition = (
        sql.SQL(
            "told_at IS NOT NULL AND recovered_at IS NOT NULL AND recovery_told_at IS NULL"
            " AND (key <> {} OR recovered_at <= now() - {})"
        ).format(BEHIND, CALM)
        if recovered
        else sql.SQL("told_at IS NULL AND coalesce(recovered_at, now()) > now() - INTERVAL '1 day'")
    )
    with connection.cursor(row_factory=class_row(UntoldIncident)) as cursor:
        query = sql.SQL(
            "SELECT id, key, what, place, link FROM alert_incidents WHERE {} ORDER BY id"
        ).format(condition)
        return cursor.execute(query).fetchall()


def mark_told(connection: Connection, told: Sequence[UntoldIncident], *, recovered: bool) -> None:
    """Keep that the beginning, or with `recovered` the end, of these has been told."""
    column = "recovery_told_at" if recovered else "told_at"
    connection.execute(
        f"UPDATE alert_incidents SET {column} = now() WHERE id = ANY (%s)",  # noqa: S608
        [[one.id for one in told]],
    )
