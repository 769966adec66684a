"""What a check finds in a window, by the queries of `sql/checks`."""

from psycopg import Connection
from psycopg.rows import dict_row

from operator_prices.epochs.windows import EpochWindow
from operator_prices.settings import PROJECT
from operator_prices.store.database import long_work

CHECKS = PROJECT / "sql" / "checks"
"""Queries for what must not be in a window, each in a file of its own."""


def offenders(connection: Connection, check: str, window: EpochWindow) -> list[dict[str, object]]:
    """What the check's query finds in the window: nothing, where all is well."""
    query = (CHECKS / f"{check}.sql").read_bytes()
    with long_work(connection), connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(query, {"first": window.first, "last": window.last}).fetchall()
