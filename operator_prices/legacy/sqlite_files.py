"""SQLite files as sources: those of the old script, and those that `staging` makes."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from socket import gethostname

from operator_prices.epochs.windows import SIZE, EpochWindow
from operator_prices.legacy.decoding import LARGEST_ID, shown
from operator_prices.legacy.errors import UnusableSourceError, require_columns
from operator_prices.legacy.forms.reading import SQLITE
from operator_prices.legacy.snapshots import Offender, Row, misplaced

FETCHED = 20
"""Rows at a time: 100 KB each as a rule, a megabyte at the worst."""

STAGED = 0x4F505347
"""What marks a SQLite file as one that `staging` made."""

WAL = (b"\x02\x02", b"\x02\x01", b"\x01\x02")
"""The bytes of a header that say that the file is in the write-ahead mode."""


def is_readable_sqlite(place: str) -> bool:
    """Whether it is a SQLite file that can be read where it is, without a trace.

    One that was not closed properly cannot: to read it is to repair it first.
    """
    path = Path(place)
    if not path.is_file() or not _header(path).startswith(SQLITE):
        return False
    beside = {suffix: path.with_name(path.name + suffix) for suffix in ("-wal", "-shm", "-journal")}
    wal = beside["-wal"].exists()
    if beside["-journal"].exists() or (wal and not beside["-shm"].exists()):
        return False
    try:
        with closing(sqlite3.connect(_uri(path), uri=True)) as connection:
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlite3.Error:
        return False
    return True


def _header(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(100)


def _uri(path: Path) -> str:
    """The file as one that is only read; what nobody writes is told to be so, to leave no trace."""
    uri = f"{path.resolve().as_uri()}?mode=ro"
    in_wal_mode = _header(path)[18:20] in WAL
    alone = not path.with_name(f"{path.name}-wal").exists()
    return f"{uri}&immutable=1" if in_wal_mode and alone else uri


def sqlite_source(path: Path) -> sqlite3.Connection:
    if not path.is_file():
        raise UnusableSourceError(
            f"The source {path} is no file on host {gethostname()}: import it on the host that has"
            " it, by `operator-prices import-legacy`, or name a SQLite file that is here, or a URL"
            " that begins with postgresql://."
        )
    try:
        connection = sqlite3.connect(_uri(path), uri=True)
        connection.text_factory = bytes  # what is no UTF-8 is named, and not raised by the driver
        known = {name.decode() for _, name, *_ in connection.execute("PRAGMA table_info(epochs)")}
    except sqlite3.Error as error:
        raise UnusableSourceError(
            f"The source {path} cannot be read as SQLite ({error}): bring it in with"
            " `operator-prices import-legacy`, which reads other forms, too."
        ) from error
    require_columns(str(path), known)
    return connection


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

    def misplaced(self) -> list[Offender]:
        told = self.file.execute(
            "SELECT epoch FROM epochs WHERE typeof(epoch) <> 'integer' OR epoch < 0 OR epoch > ?",
            [LARGEST_ID],
        )
        return [misplaced(_as_text(epoch)) for (epoch,) in told]

    def forms(self, window: EpochWindow) -> list[tuple[int, str]]:
        return [(row.epoch, "SQLite") for row in self.rows(window)]

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


@dataclass(frozen=True, slots=True)
class StagedSource(SqliteSource):
    """A file that `staging` made: it knows the form of each row, and the pieces that are none."""

    def misplaced(self) -> list[Offender]:
        told = self.file.execute(
            "SELECT coalesce(epoch, 'none'), data FROM epochs"
            " WHERE typeof(epoch) <> 'integer' OR epoch < 0 OR epoch > ?",
            [LARGEST_ID],
        )
        rows = [misplaced(_as_text(epoch))._replace(raw=shown(data)) for epoch, data in told]
        pieces = self.file.execute("SELECT place, raw, reason FROM refused")
        return rows + [
            Offender(
                None, "epochs", f"{self.name}: {place.decode()}", raw.decode(), reason.decode()
            )
            for place, raw, reason in pieces
        ]

    def forms(self, window: EpochWindow) -> list[tuple[int, str]]:
        told = self.file.execute(
            "SELECT epoch, name FROM epochs JOIN forms ON forms.id = form"
            " WHERE epoch BETWEEN ? AND ? AND typeof(epoch) = 'integer' ORDER BY epoch",
            [window.first, window.last],
        )
        return [(epoch, name.decode()) for epoch, name in told]

    def fingerprint(self, window: EpochWindow) -> str:
        told = self.file.execute(
            "SELECT count(*), sum(digest) FROM epochs"
            " WHERE epoch BETWEEN ? AND ? AND typeof(epoch) = 'integer'",
            [window.first, window.last],
        ).fetchone()
        return " ".join(map(str, told))


def _row(epoch: int, end_block: object, end_hash: object, timestamp: object, data: object) -> Row:
    return Row(epoch, _as_text(end_block), _as_text(end_hash), _as_text(timestamp), data)


def _as_text(value: object) -> object:
    return value.decode(errors="backslashreplace") if isinstance(value, bytes) else value
