"""What is published to the roles of others: some tables, for reading."""

from psycopg import Connection, sql

from operator_prices.errors import ExplainedError
from operator_prices.settings import READER
from operator_prices.store import rights
from operator_prices.store.database import connect
from operator_prices.store.migrations import put_right
from operator_prices.store.objects import Ours, applied, ours


class PublicationError(ExplainedError):
    """A role that nothing can be published to."""


def publish(dsn: str, role: str) -> list[str]:
    """Open the published tables to a role for reading; return their names.

    Raises `PublicationError`, and `MigrationError` where a table is busy.
    """
    with connect(dsn) as connection:
        known = _migrated(connection)
        _refuse_unfit(connection, known, role)
        connection.execute(
            sql.SQL("INSERT INTO {} (role) VALUES (%s) ON CONFLICT DO NOTHING").format(
                _listed(known)
            ),
            [role],
        )
        put_right(connection)
        return [one.name for one in known.relations if one.name in rights.PUBLISHED]


def withdraw(dsn: str, roles: list[str]) -> list[str]:
    """Close the published tables again, to these roles or to all; return to whom they were open."""
    with connect(dsn) as connection:
        known = _migrated(connection)
        withdrawn = connection.execute(
            sql.SQL(
                "DELETE FROM {} WHERE role = ANY (%(roles)s) OR %(roles)s::text[] = '{{}}'"
                " RETURNING role"
            ).format(_listed(known)),
            {"roles": roles},
        ).fetchall()
        for (role,) in withdrawn:
            if rights.exists(connection, role):
                rights.withdraw(connection, known, role)
        put_right(connection)
        return [role for (role,) in withdrawn]


def _listed(known: Ours) -> sql.Identifier:
    return sql.Identifier(known.schema, "published_to")


def _migrated(connection: Connection) -> Ours:
    known = ours(connection)
    if not applied(connection) or all(one.name != "published_to" for one in known.relations):
        raise PublicationError(
            "The database lacks our migrations, so there is nothing to publish: run"
            " `operator-prices migrate` first."
        )
    return known


def _refuse_unfit(connection: Connection, known: Ours, role: str) -> None:
    if role.upper() == rights.EVERYBODY or not rights.exists(connection, role):
        known_roles = [name for name in rights.PLATFORM if rights.exists(connection, name)]
        raise PublicationError(
            f"This server has no role {role}: name one that it has"
            + (f", such as {' or '.join(known_roles)}." if known_roles else ".")
        )
    if role in (READER, rights.WRITER, *rights.owners(connection, known)):
        raise PublicationError(
            f"The role {role} is one of ours and reads the tables already: publish to the role of"
            " those who are to read them, at Supabase anon."
        )
