"""How many stored rows a question looks at, whatever it answers."""

import psycopg
from psycopg.abc import Query


def rows_read(connection: psycopg.Connection, question: Query) -> int:
    """How many stored rows a question looks at."""
    with connection.transaction():
        before = _read(connection)
        connection.execute(question)
        return _read(connection) - before


def _read(connection: psycopg.Connection) -> int:
    """How many stored rows this connection has looked at, of which nothing is passed on yet."""
    [[count]] = connection.execute(
        "SELECT sum(seq_tup_read + coalesce(idx_tup_fetch, 0)) FROM pg_stat_xact_user_tables"
    ).fetchall()
    return int(count)
