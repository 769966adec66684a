"""Incidents: what is wrong, or has happened, is kept once, and who has been told of it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from psycopg import Connection, sql
from psycopg.rows import class_row


@dataclass(frozen=True, slots=True, kw_only=True)
class Incident:
    """Something that is wrong, or an event. `key` says what it is, so that it is reported once."""

    key: str
    what: str
    place: str
    link: str
    kind: str = "trouble"


@dataclass(frozen=True, slots=True, kw_only=True)
class UntoldIncident(Incident):
    """One whose beginning, or whose end, is still to be told."""

    id: int


EVENT = "event"
"""The kind of what has happened once and is never over; the other kind is trouble."""

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
            "INSERT INTO alert_incidents (key, what, place, link, kind) VALUES (%s, %s, %s, %s, %s)"
            " ON CONFLICT (key) WHERE recovered_at IS NULL DO NOTHING",
            [one.key, one.what, one.place, one.link, one.kind],
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


def untold(connection: Connection, address: str, *, recovered: bool) -> list[UntoldIncident]:
    """The incidents whose beginning, or with `recovered` whose end, an address is still to be told.

    An end is told to whom the beginning was, or to all if an earlier version told the beginning.
    What was never told is left out once it is over for a day; an end, and an event, after a week:
    nobody needs to know by then.
    """
    condition = (
        sql.SQL(
            "recovered_at > now() - {week} AND recovery_told_at IS NULL"
            " AND (key <> {behind} OR recovered_at <= now() - {calm}) AND (EXISTS (SELECT FROM"
            " alert_deliveries WHERE incident_id = id AND NOT recovery AND address = {address})"
            " OR told_at IS NOT NULL AND NOT EXISTS (SELECT FROM alert_deliveries"
            "   WHERE incident_id = id AND NOT recovery))"
        )
        if recovered
        else sql.SQL(
            "told_at IS NULL AND CASE WHEN kind = {event} THEN opened_at > now() - {week}"
            " ELSE coalesce(recovered_at, now()) > now() - {day} END"
        )
    ).format(
        address=sql.Literal(address),
        behind=sql.Literal(BEHIND),
        calm=CALM,
        event=sql.Literal(EVENT),
        week=sql.SQL("INTERVAL '7 days'"),
        day=sql.SQL("INTERVAL '1 day'"),
    )
    with connection.cursor(row_factory=class_row(UntoldIncident)) as cursor:
        query = sql.SQL(
            "SELECT id, key, what, place, link, kind FROM alert_incidents WHERE {condition}"
            " AND NOT EXISTS (SELECT FROM alert_deliveries WHERE incident_id = id"
            " AND recovery = {recovered} AND address = {address}) ORDER BY id"
        ).format(
            condition=condition,
            recovered=sql.Literal(recovered),
            address=sql.Literal(address),
        )
        return cursor.execute(query).fetchall()


def mark_told(
    connection: Connection,
    told: Sequence[UntoldIncident],
    address: str,
    *,
    recovered: bool,
    of: Sequence[str],
) -> None:
    """Keep that an address has taken the beginning, or with `recovered` the end, of these.

    What every address `of` all that there are has taken is told for good.
    """
    column = sql.Identifier("recovery_told_at" if recovered else "told_at")
    ids = [one.id for one in told]
    with connection.transaction():
        connection.execute(
            "INSERT INTO alert_deliveries (incident_id, recovery, address)"
            " SELECT id, %s, %s FROM unnest(%s::bigint[]) AS id ON CONFLICT DO NOTHING",
            [recovered, address, ids],
        )
        connection.execute(
            sql.SQL(
                "UPDATE alert_incidents SET {column} = now() WHERE id = ANY (%s) AND NOT EXISTS"
                " (SELECT FROM unnest(%s::text[]) AS known (address) WHERE NOT EXISTS (SELECT FROM"
                " alert_deliveries AS taken WHERE taken.incident_id = id AND taken.recovery = %s"
                " AND taken.address = known.address))"
            ).format(column=column),
            [ids, list(of), recovered],
        )
