"""SQL text: what `pg_dump` and SQLite's `.dump` say of table `epochs`, and nothing else."""

import re
from collections.abc import Iterator, Sequence
from typing import BinaryIO

from operator_prices.legacy.decoding import shown
from operator_prices.legacy.forms.items import WANTED, BrokenFormError, FoundRow, Refused
from operator_prices.legacy.forms.values import UnknownValueError, found_row, values_of

COPY, INSERT = "SQL dump with COPY", "SQL dump with INSERT"

NAME = r'(?:(?:"[^"]+"|\w+)\.)?(?:"epochs"|`epochs`|epochs)'

COPIED = re.compile(rb"COPY\s+(.+?)\s*(?:\((.*)\))?\s+FROM\s+stdin", re.IGNORECASE | re.DOTALL)
INSERTED = re.compile(
    rf"(?:INSERT|REPLACE)\s+(?:OR\s+\w+\s+)?INTO\s+{NAME}\s*(?:\(([^)]*)\)\s*)?VALUES\s*",
    re.IGNORECASE,
)
CREATED = re.compile(
    rf"CREATE\s+TABLE\s+(?:IF\s+NOT\s+EXISTS\s+)?{NAME}\s*\((.*)\)", re.IGNORECASE | re.DOTALL
)
ENCODED = re.compile(rb"SET\s+client_encoding\s*(?:=|TO)\s*'?([\w-]+)", re.IGNORECASE)

TRANSACTION = re.compile(rb"(BEGIN|COMMIT|ROLLBACK)\b", re.IGNORECASE)

OF_EPOCHS = re.compile(NAME)

TOKENS = {
    "": re.compile(rb"'|\"|--|/\*|\$\w*\$|;"),
    "'": re.compile(rb"'"),
    '"': re.compile(rb'"'),
    "*/": re.compile(rb"\*/"),
}
"""What to look for next, by what is open."""

CONSTRAINTS = ("primary", "unique", "constraint", "check", "foreign", "exclude")

DUMP = b"-- PostgreSQL database dump"
"""What the first words and the last ones of `pg_dump` begin with."""

ESCAPE = re.compile(rb"\\(?:([0-7]{1,3})|x([0-9A-Fa-f]{1,2})|(.))", re.DOTALL)
ESCAPED = {b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t", b"v": b"\v"}

HEAD = 4_000
"""Bytes of a statement that its kind is told by."""

LONGEST = 2**28
"""Bytes of one statement: what is longer has lost its end."""


def rows_of_sql(stream: BinaryIO) -> Iterator[FoundRow | Refused]:
    """The rows that the text puts into a table `epochs`, of whatever schema.

    Raises `BrokenFormError` where it is cut off, or in another encoding than UTF-8.
    """
    columns: Sequence[str] = WANTED
    lines = _Lines(stream)
    in_transaction = False
    while statement := _statement(lines):
        if (encoded := ENCODED.match(statement)) and encoded[1].upper() not in {b"UTF8", b"UTF-8"}:
            name = encoded[1].decode()
            raise BrokenFormError(f"is in {name}: write it with pg_dump --encoding=UTF8")
        if copied := COPIED.match(statement):
            yield from _copied(lines, copied)
        elif INSERTED.match(statement[:HEAD].decode(errors="replace")):
            yield from _inserted(statement, columns, f"line {lines.number}")
        elif created := CREATED.match(statement.decode(errors="replace")):
            columns = _columns_of(created[1])
        elif ended := TRANSACTION.match(statement):
            in_transaction = ended[1].upper() == b"BEGIN"
    if in_transaction or lines.incomplete:
        raise BrokenFormError("is cut off: what a dump ends with is missing")


class _Lines:
    """The lines of a text, the number of the last one, and whether the text must go on."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self.number = 0
        self.incomplete = False

    def next(self) -> bytes:
        self.number += 1
        line = self._stream.readline()
        if line.startswith(DUMP):
            self.incomplete = b"complete" not in line
        return line


def _statement(lines: _Lines) -> bytes:
    """The next statement with its semicolon, without comments before it; empty at the end."""
    parts: list[bytes] = []
    size = 0
    opened = ""
    begun = lines.number + 1
    while line := lines.next():
        if not parts:
            begun = lines.number
            text = line.strip()
            if not text or text.startswith((b"--", b"\\")):
                continue  # a comment, or a command of psql
        ended, opened = _scanned(line, opened)
        parts.append(line)
        size += len(line)
        if ended:
            return b"".join(parts).strip()
        if size > LONGEST:
            raise BrokenFormError(f"has a statement without an end from line {begun} on")
    if parts and (opened or b"".join(parts).strip()):
        raise BrokenFormError(f"is cut off inside the statement that begins in line {begun}")
    return b""


def _scanned(line: bytes, opened: str) -> tuple[bool, str]:
    """Whether the line ends a statement, and what is open behind it."""
    position = 0
    ended = False
    while True:
        pattern = TOKENS.get(opened)
        if pattern is None:
            found_at = line.find(opened.encode(), position)
            if found_at < 0:
                return ended, opened
            position, opened = found_at + len(opened), ""
            continue
        found = pattern.search(line, position)
        if found is None:
            return ended, opened
        position, token = found.end(), found[0]
        if opened:
            opened = ""
        elif token == b"--":
            return ended, ""
        elif token == b"/*":
            opened = "*/"
        elif token == b";":
            rest = line[position:].strip()
            ended = not rest or rest.startswith(b"--")
        else:
            opened = token.decode()
            ended = False


def _columns_of(body: str) -> list[str]:
    """The columns that a CREATE TABLE lists."""
    names = []
    depth = 0
    part = ""
    for letter in f"{body},":
        depth += (letter == "(") - (letter == ")")
        if letter == "," and depth == 0:
            word = part.strip().split(None, 1)[0] if part.strip() else ""
            if word and word.lower() not in CONSTRAINTS:
                names.append(word.strip('"`'))
            part = ""
        else:
            part += letter
    return names


def _listed(columns: str) -> list[str]:
    return [name.strip().strip('"`') for name in columns.split(",")]


def _copied(lines: _Lines, copied: re.Match[bytes]) -> Iterator[FoundRow | Refused]:
    ours = OF_EPOCHS.fullmatch(copied[1].decode(errors="replace")) is not None
    columns = _listed(copied[2].decode(errors="replace")) if copied[2] else list(WANTED)
    begun = lines.number
    while line := lines.next():
        if line.rstrip(b"\r\n") == b"\\.":
            return
        if not ours:
            continue
        fields = line.rstrip(b"\r\n").split(b"\t")
        if len(fields) != len(columns):
            reason = f"has {len(fields)} fields and not {len(columns)}"
            yield Refused(COPY, f"line {lines.number}", shown(line), reason)
            continue
        values = [None if field == b"\\N" else _unescaped(field) for field in fields]
        yield found_row(COPY, dict(zip(columns, values, strict=True)))
    raise BrokenFormError(f"is cut off inside the COPY that begins in line {begun}")


def _unescaped(field: bytes) -> bytes:
    if b"\\" not in field:
        return field
    return ESCAPE.sub(_byte, field)


def _byte(escape: re.Match[bytes]) -> bytes:
    octal, hexadecimal, letter = escape.groups()
    if octal:
        return bytes([int(octal, 8) & 255])
    if hexadecimal:
        return bytes([int(hexadecimal, 16)])
    return ESCAPED.get(letter, letter)


def _inserted(statement: bytes, columns: Sequence[str], place: str) -> Iterator[FoundRow | Refused]:
    text = statement.decode(errors="surrogateescape")
    inserted = INSERTED.match(text)
    if inserted is None:
        return
    names = _listed(inserted[1]) if inserted[1] else columns
    try:
        for values in values_of(text, inserted.end(), len(names)):
            yield found_row(INSERT, dict(zip(names, values, strict=True)))
    except UnknownValueError as error:
        yield Refused(INSERT, place, shown(statement), str(error))
