"""Where the old system's rows are: a SQLite file, a Postgres elsewhere, or our own table.

A source is only ever read, row by row, so that its size does not matter.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import psycopg
from psycopg import Connection, sql
from psycopg.conninfo import conninfo_to_dict

from operator_prices.errors import ExplainedError
from operator_prices.legacy.snapshots import Row
from operator_prices.windows import EpochWindow

FETCHED = 20
"""Rows at a time: 100 KB each as a rule, a megabyte at the worst."""

IN_PLACE = ""
"""The name of the source that is our own table."""

WANTED = ("epoch", "end_block", "end_hash", "timestamp", "data")


class UnusableSourceError(ExplainedError):
    """A source that cannot be imported, said in one sentence with the fix."""


class Source(Protocol):
    """Rows of the old table, in the order of their epochs."""

    @property
    def name(self) -> str:
        """What it is remembered by."""

    def span(self) -> tuple[int, int] | None:
        """Its first and last epoch, None without rows."""

    def fingerprint(self, window: EpochWindow) -> str:
        """Another text whenever rows of the window were added, removed or written anew."""

    def rows(self, window: EpochWindow) -> Iterator[Row]:
        """The rows of the window."""

    def next_row(self, epoch: int) -> Row | None:
        """The first row after `epoch`."""


def described(place: str) -> str:
    """A source without its secrets, as it is remembered and shown.

    >>> described("postgresql://me:secret@db.example/old")
    'postgresql://me@db.example/old'
    """
    if not _is_postgres(place):
        return str(Path(place).resolve()) if place else "its own table epochs"
    known = conninfo_to_dict(place)
    user = f"{known['user']}@" if known.get("user") else ""
    port = f":{known['port']}" if known.get("port") else ""
    return f"postgresql://{user}{known.get('host', '')}{port}/{known.get('dbname', '')}"


def _is_postgres(place: str) -> bool:
    return place.startswith(("postgresql://", "postgres://"))


@contextmanager
def opened(place: str, database: Connection) -> Iterator[Source]:
    """The source at `place`, `IN_PLACE` for the table `epochs` of `database` itself.

    Raises `UnusableSourceError`.
    """
    if place == IN_PLACE:
        yield PostgresSource(described(place), database, in_place=True)
    elif _is_postgres(place):
        with _connected(place) as connection:
            yield PostgresSource(described(place), connection)
    else:
        with closing(_sqlite(Path(place))) as file:
            yield SqliteSource(described(place), file)


@contextmanager
def _connected(url: str) -> Iterator[Connection]:
    try:
        connection = psycopg.connect(url, connect_timeout=10, autocommit=True)
    except psycopg.Error as error:
        raise UnusableSourceError(
            f"The source {described(url)} does not answer ({' '.join(str(error).split())}):"
            " correct its URL, or start it."
        ) from error
    with connection:
        connection.read_only = True
        known = {
            name
            for (name,) in connection.execute(
                "SELECT attname FROM pg_attribute WHERE attrelid = to_regclass('epochs')"
                " AND attnum > 0 AND NOT attisdropped"
            )
        }
        _require(described(url), known)
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


def _require(place: str, columns: set[str]) -> None:
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

    def span(self) -> tuple[int, int] | None:
        first, last = self.file.execute("SELECT min(epoch), max(epoch) FROM epochs").fetchone()
        return None if first is None else (int(first), int(last))

    def fingerprint(self, window: EpochWindow) -> str:
        told = self.file.execute(
            "SELECT count(*), sum(epoch), sum(timestamp), sum(end_block) FROM epochs"
            " WHERE epoch BETWEEN ? AND ?",
            [window.first, window.last],
        ).fetchone()
        return " ".join(map(str, told))

    def rows(self, window: EpochWindow) -> Iterator[Row]:
        cursor = self.file.execute(
            "SELECT epoch, end_block, end_hash, timestamp, data FROM epochs"
            " WHERE epoch BETWEEN ? AND ? ORDER BY epoch",
            [window.first, window.last],
        )
        cursor.arraysize = FETCHED
        return (_row(*told) for told in cursor)

    def next_row(self, epoch: int) -> Row | None:
        told = self.file.execute(
            "SELECT epoch, end_block, end_hash, timestamp, data FROM epochs"
            " WHERE epoch > ? ORDER BY epoch LIMIT 1",
            [epoch],
        ).fetchone()
        return None if told is None else _row(*told)


def _row(epoch: int, end_block: object, end_hash: object, timestamp: object, data: object) -> Row:
    def text(value: object) -> object:
        return value.decode(errors="backslashreplace") if isinstance(value, bytes) else value

    return Row(epoch, text(end_block), text(end_hash), text(timestamp), data)


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

    @property
    def _ours(self) -> sql.SQL:
        return NOT_YET_OURS if self.in_place else sql.SQL("true")

    def span(self) -> tuple[int, int] | None:
        query = sql.SQL("SELECT min(epoch), max(epoch) FROM epochs WHERE {}").format(self._ours)
        told = self.connection.execute(query).fetchone()
        return None if told is None or told[0] is None else (int(told[0]), int(told[1]))

    def fingerprint(self, window: EpochWindow) -> str:
        query = sql.SQL(
            "SELECT count(*), sum(epoch), sum(timestamp), sum(end_block), max(xmin::text::bigint)"
            " FROM epochs WHERE epoch BETWEEN {} AND {} AND {}"
        ).format(window.first, window.last, self._ours)
        return " ".join(map(str, self.connection.execute(query).fetchone() or ()))

    def rows(self, window: EpochWindow) -> Iterator[Row]:
        query = sql.SQL(
            "SELECT epoch, end_block, end_hash, timestamp, data::text FROM epochs"
            " WHERE epoch BETWEEN {} AND {} AND {} ORDER BY epoch"
        ).format(window.first, window.last, self._ours)
        with self.connection.transaction(), self.connection.cursor("legacy") as cursor:
            cursor.itersize = FETCHED
            yield from map(Row._make, cursor.execute(query))

    def next_row(self, epoch: int) -> Row | None:
        query = sql.SQL(
            "SELECT epoch, end_block, end_hash, timestamp, data::text FROM epochs"
            " WHERE epoch > {} AND {} ORDER BY epoch LIMIT 1"
        ).format(epoch, self._ours)
        told = self.connection.execute(query).fetchone()
        return None if told is None else Row._make(told)
