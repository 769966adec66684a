"""A source of whatever form as a SQLite file of the old layout, in which it is imported.

Windows are imported one by one and in any order, and most forms can only be read once, from front
to back: so they are read into a file first, row by row, whatever their size.
"""

import hashlib
import io
import shutil
import sqlite3
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import requests
from filelock import FileLock, Timeout

from operator_prices.legacy.errors import UnusableSourceError
from operator_prices.legacy.forms.items import BrokenFormError, FoundRow, Refused
from operator_prices.legacy.forms.reading import (
    SQLITE,
    Tools,
    UnknownFormError,
    rows_of,
    rows_of_sqlite,
)
from operator_prices.legacy.forms.streams import CHUNK, Stream
from operator_prices.legacy.forms.values import WHOLE
from operator_prices.legacy.sources import (
    IN_PLACE,
    STANDARD_INPUT,
    is_postgres,
    is_web,
    source_name,
)
from operator_prices.legacy.sqlite_files import STAGED, is_readable_sqlite

LAYOUT = f"""
PRAGMA application_id = {STAGED};
PRAGMA journal_mode = off;
PRAGMA synchronous = off;
CREATE TABLE epochs (epoch, end_block, end_hash, timestamp, data, form INTEGER, digest INTEGER);
CREATE TABLE forms (id INTEGER PRIMARY KEY, name TEXT UNIQUE);
CREATE TABLE refused (form INTEGER, place TEXT, raw TEXT, reason TEXT);
CREATE TABLE source (name TEXT);
"""

TIMEOUT = (10, 60)
"""Seconds to wait for a connection, and for more of an answer."""

SIDECARS = ("-wal", "-shm", "-journal")
"""What SQLite keeps beside a file."""

LARGEST = 2**63


@dataclass(frozen=True, slots=True)
class Staged:
    """A source that can be opened, and what it was made from."""

    place: str
    """What `open_source` takes."""
    forms: dict[str, int] = field(default_factory=dict)
    """Rows and refused pieces by form; empty where the source was left where it is."""
    passed_over: dict[str, str] = field(default_factory=dict)
    """Files of a folder that are of no form of ours, and why."""


def silent(_: int) -> None:
    """Tell nobody how many rows have been read."""


@contextmanager
def staged(
    place: str,
    folder: Path,
    pg_restore: Callable[[], Path],
    tell: Callable[[int], None] = silent,
    own: str = "",
) -> Iterator[Staged]:
    """The source at `place` as one that can be opened; what lies in `folder` for it goes again.

    A file, a folder of files, an `http://` or `https://` address, or `-` for the standard input. A
    Postgres, our own table and a SQLite file that can be read where it is stay there. While others
    are read, `tell` is told after each row how many there were. One process at a time may import a
    source, unless each has a name of its `own`. Raises `UnusableSourceError`.
    """
    if place == IN_PLACE or is_postgres(place) or is_readable_sqlite(place):
        yield Staged(place)
        return
    folder.mkdir(parents=True, exist_ok=True)
    name = source_name(place)
    file = folder / f"{hashlib.sha256(f'{name}{own}'.encode()).hexdigest()[:16]}.db"
    try:
        with FileLock(file.with_suffix(".lock"), timeout=0):
            file.unlink(missing_ok=True)
            try:
                yield _filled(file, place, name, Tools(folder, pg_restore), tell)
            finally:
                file.unlink(missing_ok=True)
    except Timeout as error:
        raise UnusableSourceError(
            f"The source {name} is being imported by another process: wait until that has ended."
        ) from error


def _filled(file: Path, place: str, name: str, tools: Tools, tell: Callable[[int], None]) -> Staged:
    passed_over: dict[str, str] = {}
    with closing(sqlite3.connect(file)) as target:
        target.executescript(LAYOUT)
        target.execute("INSERT INTO source VALUES (?)", [name])
        stage = _Stage(target, tell)
        for part, rows in _parts(place, name, tools):
            alone = part == name
            try:
                stage.add(rows, "" if alone else f"{part}, ")
            except UnknownFormError as error:
                if alone:
                    raise UnusableSourceError(
                        f"The source {name} {error}: name another one."
                    ) from error
                passed_over[part] = str(error)
            except BrokenFormError as error:
                where = name if alone else f"{name} has a file {part} that"
                raise UnusableSourceError(
                    f"The source {where} {error}; nothing of it was imported: mend it, or fetch it"
                    " again."
                ) from error
        target.execute("CREATE INDEX epochs_by_epoch ON epochs (epoch)")
        target.commit()
    if passed_over and not stage.counts:
        part, reason = next(iter(passed_over.items()))
        raise UnusableSourceError(
            f"The source {name} has no file of a form that can be read ({part} {reason}): name"
            " another one."
        )
    return Staged(str(file), stage.counts, passed_over)


class _Stage:
    """Writes rows and refused pieces, and counts them by form."""

    def __init__(self, target: sqlite3.Connection, tell: Callable[[int], None]) -> None:
        self._target = target
        self._tell = tell
        self._read = 0
        self._ids: dict[str, int] = {}
        self.counts: dict[str, int] = {}

    def add(self, found: Iterable[FoundRow | Refused], prefix: str) -> None:
        for one in found:
            form = self._form(one.form)
            self.counts[one.form] += 1
            self._read += 1
            self._tell(self._read)
            if isinstance(one, Refused):
                self._target.execute(
                    "INSERT INTO refused VALUES (?, ?, ?, ?)",
                    [form, prefix + one.place, one.raw, one.reason],
                )
                continue
            columns = [_epoch(one.epoch), *map(_storable, one[2:])]
            self._target.execute(
                "INSERT INTO epochs VALUES (?, ?, ?, ?, ?, ?, ?)",
                [*columns, form, _digest(columns)],
            )

    def _form(self, name: str) -> int:
        if name not in self._ids:
            self._ids[name] = len(self._ids) + 1
            self.counts[name] = 0
            self._target.execute("INSERT INTO forms VALUES (?, ?)", [self._ids[name], name])
        return self._ids[name]


def _storable(value: object) -> object:
    """What SQLite can hold without changing it: other numbers as their text."""
    if isinstance(value, bool) or (isinstance(value, int) and not -LARGEST <= value < LARGEST):
        return str(value)
    if isinstance(value, str):
        return value.encode(errors="backslashreplace").decode()
    return value if value is None or isinstance(value, int | float | bytes) else str(value)


def _epoch(value: object) -> object:
    """A whole number that was written as text is one."""
    return int(value) if isinstance(value, str) and WHOLE.fullmatch(value) else _storable(value)


def _digest(columns: list[object]) -> int:
    """Forty bits of what the row says, so that a window's digests can be summed."""
    return int.from_bytes(hashlib.blake2b(repr(columns).encode(), digest_size=5).digest())


def _parts(
    place: str, name: str, tools: Tools
) -> Iterator[tuple[str, Iterator[FoundRow | Refused]]]:
    """The names and the rows of what the source is made of; a single part has the source's name."""
    if place == STANDARD_INPUT:
        yield name, rows_of(sys.stdin.buffer, tools)
    elif is_web(place):
        yield name, _rows_of_answer(place, name, tools)
    elif (path := Path(place)).is_dir():
        found = [file for file in sorted(path.rglob("*")) if file.is_file()]
        files = [file for file in found if not file.name.endswith(SIDECARS)]
        if not files:
            raise UnusableSourceError(f"The source {name} is a folder without files: name another.")
        for file in files:
            yield str(file.relative_to(path)), _rows_of_file(file, tools)
    elif path.is_file():
        yield name, _rows_of_file(path, tools)
    else:
        raise UnusableSourceError(
            f"The source {path} is no file: name a file or a folder of the old system, an address"
            " that begins with https:// or postgresql://, or - for the standard input."
        )


def _rows_of_file(path: Path, tools: Tools) -> Iterator[FoundRow | Refused]:
    try:
        with path.open("rb") as stream:
            if stream.peek(len(SQLITE)).startswith(SQLITE):
                yield from _rows_of_sqlite(path, tools)
            else:
                yield from rows_of(stream, tools)
    except PermissionError as error:
        raise UnusableSourceError(
            f"The source {error.filename} may not be read: correct its rights."
        ) from error


def _rows_of_sqlite(path: Path, tools: Tools) -> Iterator[FoundRow]:
    """The rows of a copy, since reading what SQLite keeps beside a file may have to write there."""
    with TemporaryDirectory(dir=tools.folder, prefix="sqlite-") as folder:
        copy = Path(folder) / "copy.db"
        shutil.copyfile(path, copy)
        for suffix in ("-wal", "-journal"):
            if (beside := path.with_name(path.name + suffix)).exists():
                shutil.copyfile(beside, copy.with_name(copy.name + suffix))
        yield from rows_of_sqlite(copy)


def _rows_of_answer(url: str, name: str, tools: Tools) -> Iterator[FoundRow | Refused]:
    """The rows of what an address answers, read as it comes."""
    try:
        with requests.get(url, stream=True, timeout=TIMEOUT) as answer:
            if not answer.ok:
                raise UnusableSourceError(
                    f"The source {name} answers {answer.status_code} {answer.reason}: correct its"
                    " address."
                )
            pieces = answer.iter_content(CHUNK)
            yield from rows_of(io.BufferedReader(Stream(lambda: next(pieces, b""))), tools)
    except requests.RequestException as error:
        raise UnusableSourceError(
            f"The source {name} does not answer to the end ({type(error).__name__}): correct its"
            " address, or try again."
        ) from error
