"""What `pg_restore` writes, carried out over a connection: statements, and rows by COPY."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import IO

from psycopg import Connection

OWN_SETTINGS = re.compile(
    rb"^(SET (\w*_timeout|client_encoding|standard_conforming_strings|check_function_bodies"
    rb"|xmloption|client_min_messages|row_security|default_tablespace|default_table_access_method)"
    rb" = |SELECT pg_catalog\.set_config\('search_path'|\\(un)?restrict )"
)
"""What a script sets for its session, some of it unknown to older servers: ours is set instead."""

SETTINGS = """
SELECT set_config('search_path', '', true), set_config('check_function_bodies', 'off', true),
       set_config('client_min_messages', 'warning', true)
"""

COPY = re.compile(rb"^COPY .* FROM stdin;$")

END = b"\\.\n"

INDEX = re.compile(r"^CREATE (?:UNIQUE )?INDEX (\S+) ON (?:ONLY )?\S+?\.(\S+) USING", re.MULTILINE)


@contextmanager
def chosen(entries: Sequence[str], dump: Path, reader: str) -> Iterator[list[str]]:
    """The command that writes the script of these entries of a dump."""
    with NamedTemporaryFile("w", encoding="utf-8") as listed:
        listed.writelines(f"{line}\n" for line in entries)
        listed.flush()
        yield [
            reader,
            *("--no-owner", "--no-privileges", f"--use-list={listed.name}"),
            *("--file=-", str(dump)),
        ]


def indexed(script: str) -> dict[str, str]:
    """The table of each index that a script makes."""
    return {name.strip('"'): table.strip('"') for name, table in INDEX.findall(script)}


def execute(connection: Connection, script: IO[bytes]) -> None:
    """Carry a script out in the connection's transaction."""
    connection.execute(SETTINGS)
    statements: list[bytes] = []
    for line in script:
        if COPY.match(line.rstrip(b"\n")):
            _flush(connection, statements)
            _copy(connection, line, script)
        elif not OWN_SETTINGS.match(line):
            statements.append(line)
    _flush(connection, statements)


def _flush(connection: Connection, statements: list[bytes]) -> None:
    text = b"".join(statements)
    statements.clear()
    if any(line.strip() and not line.startswith(b"--") for line in text.splitlines()):
        connection.execute(text)


def _copy(connection: Connection, statement: bytes, script: IO[bytes]) -> None:
    with connection.cursor() as cursor, cursor.copy(statement.rstrip(b";\n")) as rows:
        for line in script:
            if line == END:
                return
            rows.write(line)
