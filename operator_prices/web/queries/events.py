"""What has happened to an operator, the newest first, as the database's own function finds it."""

from dataclasses import dataclass

from psycopg import sql
from psycopg.rows import class_row

from operator_prices.web.database import Cursor

EVENTS = sql.SQL(
    "SELECT event.epoch, event.kind, event.before, event.after, event.what AS text,"
    " event.happened_at AS timestamp, coalesce(event.from_chain, false) AS from_chain,"
    " coalesce(event.happened_at, later.timestamp, earlier.timestamp) AS at"
    " FROM operator_events(0, {last}, {operator}, {still}) AS event"
    " LEFT JOIN LATERAL (SELECT timestamp FROM epoch_documents WHERE epoch > event.epoch"
    "   AND timestamp IS NOT NULL ORDER BY epoch LIMIT 1) AS later ON event.happened_at IS NULL"
    " LEFT JOIN LATERAL (SELECT timestamp FROM epoch_documents WHERE epoch < event.epoch"
    "   AND timestamp IS NOT NULL ORDER BY epoch DESC LIMIT 1) AS earlier"
    "   ON event.happened_at IS NULL AND later.timestamp IS NULL"
    " ORDER BY event.epoch DESC, event.kind"
)
NAMED = sql.SQL(
    "SELECT name, (SELECT genesis_hash FROM chain_identity),"
    " (SELECT domain_id FROM chain_identity)"
    " FROM operators_metadata WHERE operator_id = {operator}"
)


@dataclass(frozen=True, slots=True)
class Event:
    epoch: int
    kind: str
    before: str | None
    after: str | None
    text: str
    timestamp: int | None
    """When the epoch ended, in ms; None where nobody has said it."""
    from_chain: bool
    at: int | None
    """The same, or where it is unknown the nearest time that is known, the later one first."""


@dataclass(frozen=True, slots=True)
class Named:
    """An operator, of the chain and domain that the database holds."""

    operator: int
    name: str | None
    genesis_hash: str | None
    domain_id: int | None


async def events_of(cursor: Cursor, operator: int, still: int) -> list[Event]:
    """All of them; the price stands still after `still` epochs, 0 for never."""
    connection = cursor.connection
    async with connection.cursor(row_factory=class_row(Event)) as typed:
        await typed.execute(
            EVENTS.format(
                last=sql.Literal(2**31 - 1),
                operator=sql.Literal(operator),
                still=sql.Literal(still),
            )
        )
        return await typed.fetchall()


async def named(cursor: Cursor, operator: int) -> Named | None:
    """The operator by its name, None if there is none."""
    await cursor.execute(NAMED.format(operator=sql.Literal(operator)))
    row = await cursor.fetchone()
    return None if row is None else Named(operator, *row)
