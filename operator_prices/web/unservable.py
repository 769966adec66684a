"""What keeps a database from being served until somebody mends it, in sentences that say how."""

import psycopg

from operator_prices.errors import ExplainedError
from operator_prices.settings import READER

LACKING = (
    psycopg.errors.UndefinedTable,
    psycopg.errors.UndefinedColumn,
    psycopg.errors.UndefinedFunction,
)

NO_VERSION = (
    "The table data_version has lost its one row: run INSERT INTO data_version DEFAULT VALUES as"
    " the tables' owner; no data is lost, and answers are cached anew."
)


class UnservableDatabaseError(ExplainedError):
    """A database that the API cannot serve from."""


def unservable(error: psycopg.Error) -> str | None:
    """What keeps the database from serving until somebody mends it, None for anything else."""
    if isinstance(error, LACKING):
        return (
            "The database of API_DATABASE_URL lacks our migrations"
            f" ({error.diag.message_primary}): run `operator-prices migrate` first."
        )
    if isinstance(error, psycopg.errors.InsufficientPrivilege):
        return (
            "The role of API_DATABASE_URL may not read what is published"
            f" ({error.diag.message_primary}): use {READER}, and run `operator-prices migrate` as"
            " the tables' owner, which grants it what it needs."
        )
    return None
