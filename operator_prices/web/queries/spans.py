"""Which epochs and operators are asked for, and how rows come over in chunks."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass

from psycopg import sql

from operator_prices.web.database import Cursor

CHUNK = 136_000
"""Bytes that a chunk should have: smaller ones cost more to send, larger ones more memory."""

CAP = 5_000
"""The most epochs that a numeric `limit` gives, as of old."""

EPOCHS_WITHIN = sql.SQL(
    "SELECT min(epoch), max(epoch), count(*) FROM {table} WHERE epoch BETWEEN {first} AND {last}"
)
LAST_EPOCHS_WITHIN = sql.SQL(
    "SELECT min(epoch), max(epoch), count(*) FROM (SELECT epoch FROM {table}"
    " WHERE epoch BETWEEN {first} AND {last} ORDER BY epoch DESC LIMIT {limit}) AS newest"
)


@dataclass(frozen=True, slots=True)
class Span:
    """Which epochs are asked for, and as how many of them."""

    first: int = 0
    last: int = 2**32 - 1
    limit: int | None = None
    sample: int | None = None


Column = tuple[str, str, sql.Composable]
"""A column of a table: its name, whether it is `integer` or `text`, and where it is read."""


@dataclass(slots=True)
class Served:
    """How many rows an answer has given."""

    rows: int = 0


async def bounds(
    cursor: Cursor, span: Span, table: str = "epoch_documents"
) -> tuple[int, int, int]:
    """First and last stored epoch of the span, and how many there are; (0, -1, 0) for none."""
    names = {
        "first": sql.Literal(span.first),
        "last": sql.Literal(span.last),
        "table": sql.Identifier(table),
    }
    if span.limit is None:
        await cursor.execute(EPOCHS_WITHIN.format(**names))
    else:
        await cursor.execute(LAST_EPOCHS_WITHIN.format(**names, limit=sql.Literal(span.limit)))
    row = await cursor.fetchone()
    return (row[0], row[1], row[2]) if row and row[2] else (0, -1, 0)


def chosen(operators: tuple[int, ...] | None, column: str = "operator_id") -> sql.Composable:
    """The condition that a row is of one of these operators."""
    if operators is None:
        return sql.SQL("true")
    name = sql.Identifier(*column.split("."))
    if len(operators) == 1:
        return sql.SQL("{} = {}").format(name, sql.Literal(operators[0]))
    return sql.SQL("{} = ANY ({}::integer[])").format(name, sql.Literal(list(operators)))


async def chunks(cursor: Cursor, copy: sql.Composed, served: Served) -> AsyncGenerator[bytes, None]:
    """The second column of what is copied; the first one is the number of rows in it."""
    async with cursor.copy(copy) as rows:
        rows.set_types(["int8", "bytea"])  # text travels as its bytes: they need no decoding
        async for number, chunk in rows.rows():
            served.rows += number
            yield chunk


def csv_line(columns: Sequence[Column]) -> sql.Composable:
    """A row as a line of CSV, of values that need no quotation marks."""
    fields = [sql.SQL("coalesce({}::text, '')").format(source) for _, _, source in columns]
    return sql.SQL("concat_ws(',', {})").format(sql.SQL(", ").join(fields))


async def as_array(parts: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    """Chunks of JSON, each of values between commas, as one array."""
    separator = b"["
    async with aclosing(parts):
        async for chunk in parts:
            yield separator + chunk
            separator = b","
    yield b"]" if separator == b"," else b"[]"


async def as_lines(parts: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    """Chunks of lines, the last one of each unended, with all ended."""
    async with aclosing(parts):
        async for chunk in parts:
            yield chunk + b"\n"
