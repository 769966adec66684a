"""Where an import reads rows: a SQLite file, a Postgres elsewhere, or our own table.

A source is only ever read, row by row, so that its size does not matter. What has another form
becomes a SQLite file first: see `staging`.
"""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import LiteralString, Protocol
from urllib.parse import urlsplit, urlunsplit

import psycopg
from psycopg import Connection, sql

from operator_prices import store
from operator_prices.epochs.windows import SIZE, EpochWindow
from operator_prices.legacy.decoding import LARGEST_ID
from operator_prices.legacy.errors import UnusableSourceError, require_columns
from operator_prices.legacy.snapshots import Offender, Row, misplaced
from operator_prices.legacy.sqlite_files import (
    FETCHED,
    STAGED,
    SqliteSource,
    StagedSource,
    sqlite_source,
)
from operator_prices.postgres.address import described, is_address, understood

IN_PLACE, STANDARD_INPUT = "", "-"
"""The place of the source that is our own table, and of what is piped in."""

SOURCE = "The source"

EPOCH_TYPES = ("smallint", "integer", "bigint", "numeric")


class Source(Protocol):
    """Rows of the old table, in the order of their epochs."""

    @property
    def name(self) -> str:
        """What it is remembered by."""

    def windows(self) -> list[EpochWindow]:
        """The windows that it has rows of, in ascending order."""

    def misplaced(self) -> list[Offender]:
        """What stands in the place of an epoch and is none, and what is no row at all."""

    def forms(self, window: EpochWindow) -> list[tuple[int, str]]:
        """The epoch and the form of each row of the window."""

    def fingerprint(self, window: EpochWindow) -> str:
        """Another text whenever rows of the window were added, removed or written anew."""

    def rows(self, window: EpochWindow) -> Iterator[Row]:
        """The rows of the window."""

    def next_row(self, epoch: int) -> Row | None:
        """The first row after `epoch`."""


def source_name(place: str) -> str:
    """A source without its secrets, as it is remembered and shown.

    >>> source_name("postgresql://me:secret@db.example/old")
    'postgresql://me@db.example/old'
    >>> source_name("https://me:secret@files.example/old.json?signature=secret")
    'https://files.example/old.json'
    """
    if is_web(place):
        parts = urlsplit(place)
        host = parts.netloc.rpartition("@")[2]
        return urlunsplit((parts.scheme, host, parts.path, "", ""))
    if not is_postgres(place):
        names = {IN_PLACE: "its own table epochs", STANDARD_INPUT: "standard input"}
        return names.get(place) or str(Path(place).resolve())
    return described(understood(place, SOURCE))


def is_postgres(place: str) -> bool:
    return not is_web(place) and ("://" in place or is_address(place))


def is_web(place: str) -> bool:
    return place.startswith(("http://", "https://"))


@contextmanager
def open_source(place: str, database: Connection) -> Iterator[Source]:
    """The source at `place`, `IN_PLACE` for the table `epochs` of `database` itself.

    Raises `UnusableSourceError`.
    """
    if place == IN_PLACE:
        yield PostgresSource(source_name(place), database, in_place=True)
    elif is_postgres(place):
        with _connected(place) as connection:
            yield PostgresSource(source_name(place), connection)
    else:
        with closing(sqlite_source(Path(place))) as file:
            ((mark,),) = file.execute("PRAGMA application_id")
            if mark == STAGED:
                ((name,),) = file.execute("SELECT name FROM source")
                yield StagedSource(name.decode(), file)
            else:
                yield SqliteSource(source_name(place), file)


@contextmanager
def _connected(url: str) -> Iterator[Connection]:
    try:
        connection = store.connect(understood(url, SOURCE))
    except psycopg.Error as error:
        raise UnusableSourceError(
            f"The source {source_name(url)} does not answer ({' '.join(str(error).split())}):"
            " correct its URL, or start it."
        ) from error
    with connection:
        connection.read_only = True
        known: dict[str, str] = dict(
            connection.execute(
                "SELECT attname, atttypid::regtype::text FROM pg_attribute"
                " WHERE attrelid = to_regclass('epochs') AND attnum > 0 AND NOT attisdropped"
            ).fetchall()
        )
        require_columns(source_name(url), known)
        if known["epoch"] not in EPOCH_TYPES:
            raise UnusableSourceError(
                f"The source {source_name(url)} has epochs of type {known['epoch']}: they must be"
                f" {', '.join(EPOCH_TYPES)}."
            )
        yield connection


NOT_YET_OURS = sql.SQL(
    "(source IS NULL OR EXISTS (SELECT FROM normalized_epochs AS normal"
    " WHERE normal.epoch = epochs.epoch) AND source <> 'chain')"
)
"""What of our own table is to be normalized: rows of the old system, left as they were."""


@dataclass(frozen=True, slots=True)
class PostgresSource:
    """A table `epochs` with JSONB, elsewhere or our own."""

    name: str
    connection: Connection
    in_place: bool = False

    def windows(self) -> list[EpochWindow]:
        query = self._select(
            "SELECT DISTINCT (epoch - epoch % {})::bigint FROM epochs WHERE {rows} ORDER BY 1", SIZE
        )
        return [EpochWindow(first) for (first,) in self.connection.execute(query)]

    def misplaced(self) -> list[Offender]:
        query = self._select("SELECT epoch FROM epochs WHERE {ours} AND coalesce(NOT {fit}, true)")
        return [misplaced(epoch) for (epoch,) in self.connection.execute(query)]

    def forms(self, window: EpochWindow) -> list[tuple[int, str]]:
        query = self._select(
            "SELECT epoch::bigint FROM epochs WHERE epoch BETWEEN {} AND {} AND {rows}",
            window.first,
            window.last,
        )
        return [(epoch, "Postgres") for (epoch,) in self.connection.execute(query)]

    def fingerprint(self, window: EpochWindow) -> str:
        query = self._select(
            "SELECT count(*), sum(epoch), sum(timestamp), sum(end_block), max(xmin::text::bigint)"
            " FROM epochs WHERE epoch BETWEEN {} AND {} AND {rows}",
            window.first,
            window.last,
        )
        return " ".join(map(str, self.connection.execute(query).fetchone() or ()))

    def rows(self, window: EpochWindow) -> Iterator[Row]:
        query = self._select(
            "SELECT epoch::bigint, end_block, end_hash, timestamp, data::text FROM epochs"
            " WHERE epoch BETWEEN {} AND {} AND {rows} ORDER BY epochs.epoch",
            window.first,
            window.last,
        )
        with self.connection.transaction(), self.connection.cursor("legacy") as cursor:
            cursor.itersize = FETCHED
            yield from map(Row._make, cursor.execute(query))

    def next_row(self, epoch: int) -> Row | None:
        query = self._select(
            "SELECT epoch::bigint, end_block, end_hash, timestamp, data::text FROM epochs"
            " WHERE epoch > {} AND {rows} ORDER BY epochs.epoch LIMIT 1",
            epoch,
        )
        told = self.connection.execute(query).fetchone()
        return None if told is None else Row._make(told)

    def _select(self, query: LiteralString, *numbers: int) -> sql.Composed:
        """The query with its numbers, and with what makes a row ours, or an epoch one."""
        ours = NOT_YET_OURS if self.in_place else sql.SQL("true")
        fit = sql.SQL("(epoch BETWEEN 0 AND {} AND epoch % 1 = 0)").format(LARGEST_ID)
        rows = sql.SQL("{} AND {}").format(ours, fit)
        return sql.SQL(query).format(*numbers, ours=ours, fit=fit, rows=rows)
