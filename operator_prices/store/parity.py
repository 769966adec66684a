"""Parity: the tables held against the raw JSON, and whether they are complete and possible."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from psycopg import Connection

from operator_prices.store.database import long_work
from operator_prices.store.objects import SQL

QUERIES = SQL / "05_verify_migration.sql"

OFFENDERS = "no "
"""What the name of a query begins with that must return no rows."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What one of the queries returned; its name is the header of its first column."""

    name: str
    columns: Sequence[str]
    rows: Sequence[tuple[object, ...]]

    @property
    def is_check(self) -> bool:
        """Whether it must return nothing."""
        return self.name.startswith(OFFENDERS)

    @property
    def passed(self) -> bool:
        return not (self.is_check and self.rows)


def findings(connection: Connection) -> Iterator[Finding]:
    """Run all queries of `sql/05_verify_migration.sql` in their order.

    They read the raw JSON in SQL, on a path of their own beside the code of the pipeline.
    """
    with long_work(connection), connection.cursor() as cursor:
        cursor.execute(QUERIES.read_bytes())
        while True:
            if cursor.description:
                columns = [column.name for column in cursor.description]
                yield Finding(columns[0], columns, cursor.fetchall())
            if not cursor.nextset():
                return
