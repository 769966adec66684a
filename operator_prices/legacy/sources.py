"""Where the old system's rows are: a SQLite file, a Postgres elsewhere, or our own table.

A source is only ever read, row by row, so that its size does not matter.
"""

import sqlite3
from collections.abc import Container, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import LiteralString, Protocol

import psycopg
from psycopg import Connection, sql

from operator_prices.epochs.windows import SIZE, EpochWindow
from operator_prices.errors import ExplainedError
from operator_prices.legacy.entries import LARGEST_ID
from operator_prices.legacy.snapshots import Row
from operator_prices.postgres.address import described, is_address, understood

FETCHED = 20
"""Rows at a time: 100 KB each as a rule, a megabyte at the worst."""

IN_PLACE = ""
"""The name of the source that is our own table."""

WANTED = ("epoch", "end_block", "end_hash", "timestamp", "data")

SOURCE = "The source"

EPOCH_TYPES = ("smallint", "integer", "bigint", "numeric")


class UnusableSourceError(ExplainedError):
    """A source that cannot be imported, said in one sentence with the fix."""


class Source(Protocol):
    """Rows of the old table, in the order of their epochs."""

    @property
    def name(self) -> str:
        """What it is remembered by."""

    def windows(self) -> list[EpochWindow]:
        """The windows that it has rows of, in ascending order."""

    def misplaced(self) -> list[object]:
        """What stands in the place of an epoch, and is none."""

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
    """
    if not _is_postgres(place):
        return str(Path(place).resolve()) if place else "its own table epochs"
    return described(understood(place, SOURCE))


def _is_postgres(place: str) -> bool:
    return "://" in place or is_address(place)


@contextmanager
def open_source(place: str, database: Connection) -> Iterator[Source]:
    """The source at `place`, `IN_PLACE` for the table `epochs` of `database` itself.

    Raises `UnusableSourceError`.
    """
    if place == IN_PLACE:
        yield PostgresSource(source_name(place), database, in_place=True)
    elif _is_postgres(place):
        with _connected(place) as connection:
            yield PostgresSource(source_name(place), connection)
    else:
        with closing(_sqlite(Path(place))) as file:
            yield SqliteSource(source_name(place), file)


@contextmanager
def _connected(url: str) -> Iterator[Connection]:
    try:
        connection = psycopg.connect(understood(url, SOURCE), connect_timeout=10, autocommit=True)
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
        _require(source_name(url), known)
        if known["epoch"] not in EPOCH_TYPES:
            raise UnusableSourceError(
                f"The source {source_name(url)} has epochs of type {known['epoch']}: they must be"
                f" {', '.join(EPOCH_TYPES)}."
            )
        yield connection


def _sqlite(path: Path) -> sqlite3.Connection:
    if not path.is_file():
        raise UnusableSourceError(
            f"The source {path} is no file: name a SQLite file of the old system, or a URL that"
            " begins with postgresql://."
        )
    try:
        connection = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)
        connection.text_factory = bytes  # what is no UTF-8 is named, and not raised by the driver
        known = {name.decode() for _, name, *_ in connection.execute("PRAGMA table_info(epochs)")}
    except sqlite3.Error as error:
        raise UnusableSourceError(
            f"The source {path} cannot be read as SQLite ({error}): name another file."
        ) from error
    _require(str(path), known)
    return connection


def _require(place: str, columns: Container[str]) -> None:
    if lacking := [name for name in WANTED if name not in columns]:
        raise UnusableSourceError(
            f"The source {place} has no table epochs of the old system: it lacks"
            f" {', '.join(lacking)}."
        )


@dataclass(frozen=True, slots=True)
class SqliteSource:
    """A SQLite file as the old script wrote it."""

    name: str
    file: sqlite3.Connection

    def windows(self) -> list[EpochWindow]:
        told = self.file.execute(
            "SELECT DISTINCT epoch / ? * ? FROM epochs WHERE typeof(epoch) = 'integer'"
            " AND epoch BETWEEN 0 AND ? ORDER BY 1",
            [SIZE, SIZE, LARGEST_ID],
        )
        return [EpochWindow(first) for (first,) in told]

    def misplaced(self) -> list[object]:
        told = self.file.execute(
            "SELECT epoch FROM epochs WHERE typeof(epoch) <> 'integer' OR epoch < 0 OR epoch > ?",
            [LARGEST_ID],
        )
        return [_as_text(epoch) for (epoch,) in told]

    def fingerprint(self, window: EpochWindow) -> str:
        told = self.file.execute(
            "SELECT count(*), sum(epoch), total(timestamp), total(end_block), sum(length(data))"
            " FROM epochs WHERE epoch BETWEEN ? AND ?",
            [window.first, window.last],
        ).fetchone()
        return " ".join(map(str, told))

    def rows(self, window: EpochWindow) -> Iterator[Row]:
        cursor = self.file.execute(
            "SELECT epoch, end_block, end_hash, timestamp, data FROM epochs"
            " WHERE epoch BETWEEN ? AND ? AND typeof(epoch) = 'integer' ORDER BY epoch",
            [window.first, min(window.last, LARGEST_ID)],
        )
        cursor.arraysize = FETCHED
        return (_row(*told) for told in cursor)

    def next_row(self, epoch: int) -> Row | None:
        told = self.file.execute(
            "SELECT epoch, end_block, end_hash, timestamp, data FROM epochs"
            " WHERE epoch > ? AND epoch <= ? AND typeof(epoch) = 'integer' ORDER BY epoch LIMIT 1",
            [epoch, LARGEST_ID],
        ).fetchone()
        return None if told is None else _row(*told)


def _row(epoch: int, end_block: object, end_hash: object, timestamp: object, data: object) -> Row:
    return Row(epoch, _as_text(end_block), _as_text(end_hash), _as_text(timestamp), data)


def _as_text(value: object) -> object:
    return value.decode(errors="backslashreplace") if isinstance(value, bytes) else value


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

    def misplaced(self) -> list[object]:
        query = self._select("SELECT epoch FROM epochs WHERE {ours} AND coalesce(NOT {fit}, true)")
        return [epoch for (epoch,) in self.connection.execute(query)]

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
