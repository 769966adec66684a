"""What is stored as a whole: how new, how complete, and which epochs have come since."""

from psycopg import AsyncConnection, sql
from psycopg.rows import TupleRow

from operator_prices.web.database import Cursor, version_of
from operator_prices.web.freshness import Situation
from operator_prices.web.unservable import NO_VERSION, UnservableDatabaseError

FRESHNESS = sql.SQL("SELECT epoch, timestamp FROM epoch_documents ORDER BY epoch DESC LIMIT 1")
SITUATION = sql.SQL(
    "SELECT newest.epoch, newest.timestamp, newest.from_chain, EXTRACT(EPOCH FROM now())::float8,"
    " (SELECT percentile_disc(0.5) WITHIN GROUP (ORDER BY lasted) FROM (SELECT timestamp"
    " - lag(timestamp) OVER (ORDER BY epoch) AS lasted FROM (SELECT epoch, timestamp FROM"
    " epoch_documents WHERE from_chain AND epoch > newest.epoch - 50) AS latest) AS pairs),"
    " EXTRACT(EPOCH FROM now() - heard_at)::float8, EXTRACT(EPOCH FROM now() - grown_at)::float8,"
    " completed_epoch FROM (SELECT) AS nothing"
    " LEFT JOIN (SELECT epoch, timestamp, from_chain FROM epoch_documents ORDER BY epoch DESC"
    " LIMIT 1) AS newest ON true LEFT JOIN source_head ON true"
)
"""The fields of `Situation`."""
STATUS = sql.SQL(
    "SELECT json_build_object('version', version, 'changedAt', changed_at,"
    " 'genesisHash', (SELECT genesis_hash FROM chain_identity),"
    " 'domainId', (SELECT domain_id FROM chain_identity),"
    " 'epochs', (SELECT count(*) FROM epoch_documents),"
    " 'firstEpoch', (SELECT min(epoch) FROM epoch_documents),"
    " 'lastEpoch', (SELECT max(epoch) FROM epoch_documents),"
    " 'lastTimestamp', (SELECT timestamp FROM epoch_documents ORDER BY epoch DESC LIMIT 1),"
    " 'lastTimestampFromChain', (SELECT from_chain FROM epoch_documents ORDER BY epoch DESC"
    " LIMIT 1),"
    " 'operators', (SELECT count(*) FROM operators_metadata),"
    " 'gaps', (SELECT coalesce(json_agg(json_build_array(before + 1, epoch - 1) ORDER BY epoch),"
    " '[]') FROM (SELECT epoch, lag(epoch) OVER (ORDER BY epoch) AS before FROM (SELECT epoch FROM"
    " epoch_documents UNION SELECT epoch FROM skipped_epochs) AS known) AS pairs"
    " WHERE before + 1 < epoch),"
    " 'skipped', (SELECT coalesce(json_agg(epoch ORDER BY epoch), '[]') FROM skipped_epochs),"
    " 'incomplete', (SELECT coalesce(json_agg(epoch ORDER BY epoch), '[]') FROM epochs"
    " WHERE NOT complete),"
    " 'quarantined', (SELECT coalesce(json_agg(json_build_object('epoch', epoch, 'values', amount)"
    " ORDER BY epoch), '[]') FROM (SELECT epoch, count(*) AS amount FROM quarantine GROUP BY epoch)"
    " AS counted))::text FROM data_version"
)
SKIPPED = sql.SQL("SELECT reason FROM skipped_epochs WHERE epoch = {epoch}")
NEW_EPOCHS = sql.SQL(
    "SELECT epoch, timestamp FROM epoch_documents WHERE epoch > {after} ORDER BY epoch"
    " LIMIT {limit}"
)
LISTEN = sql.SQL("LISTEN operator_prices_epoch")
EPOCH = sql.SQL("SELECT FROM epoch_documents WHERE epoch = {epoch}")


async def freshness(cursor: Cursor) -> tuple[int, int] | None:
    """The last stored epoch and its time stamp in ms, None without any."""
    await version_of(cursor)  # what is hidden is not nothing
    await cursor.execute(FRESHNESS)
    row = await cursor.fetchone()
    return None if row is None or row[0] is None else (row[0], row[1])


async def situation(cursor: Cursor) -> Situation:
    """The newest epoch, the chain's pace, and how far the source was when it last answered."""
    await version_of(cursor)  # what is hidden is not nothing
    await cursor.execute(SITUATION)
    row = await cursor.fetchone()
    if row is None:
        raise LookupError("the situation is one row, and none came")
    return Situation(*row)


async def status(cursor: Cursor) -> str:
    """All of it as JSON."""
    await cursor.execute(STATUS)
    row = await cursor.fetchone()
    if row is None:
        raise UnservableDatabaseError(NO_VERSION)
    return str(row[0])


async def epoch_exists(cursor: Cursor, epoch: int) -> bool:
    await cursor.execute(EPOCH.format(epoch=sql.Literal(epoch)))
    return await cursor.fetchone() is not None


async def skipped(cursor: Cursor, epoch: int) -> str | None:
    """Why an epoch was skipped, None if it was not."""
    await cursor.execute(SKIPPED.format(epoch=sql.Literal(epoch)))
    row = await cursor.fetchone()
    return None if row is None else row[0]


async def new_epochs(cursor: Cursor, after: int, limit: int) -> list[tuple[int, int]]:
    """Number and time stamp of the first epochs after one."""
    await cursor.execute(NEW_EPOCHS.format(after=sql.Literal(after), limit=sql.Literal(limit)))
    return [(row[0], row[1]) for row in await cursor.fetchall()]


async def listen(connection: AsyncConnection[TupleRow]) -> None:
    """Have the connection told of each new epoch, by its number."""
    await connection.execute(LISTEN)


async def answered(connection: AsyncConnection[TupleRow]) -> None:
    """Raise for a connection over which nothing is answered any more."""
    await connection.execute("SELECT")
