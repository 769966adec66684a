"""A connection to the database, and the chain that it is tied to."""

from psycopg import Connection

from operator_prices.chain import WrongChainError
from operator_prices.errors import ExplainedError
from operator_prices.postgres.parts import application_name


def connect(dsn: str) -> Connection:
    """A connection that commits each statement, unless a transaction is opened."""
    return Connection.connect(
        dsn, autocommit=True, connect_timeout=10, application_name=application_name()
    )


class HiddenRowsError(ExplainedError):
    """A role that is shown less than there is."""


def refuse_hidden(connection: Connection) -> None:
    """Raise `HiddenRowsError` where row-level security hides rows, which then read like none."""
    row = connection.execute("SELECT hidden_tables(), current_user").fetchone()
    if row is not None and row[0] is not None:
        raise HiddenRowsError(
            f"Row-level security hides the rows of {row[0]} from the role {row[1]}: run"
            " `operator-prices migrate` as the tables' owner, which puts its policies back."
        )


def refuse_other_chain(connection: Connection, genesis_hash: str, domain_id: int) -> None:
    """Raise `WrongChainError` when the database is tied to another chain or domain."""
    pinned = pinned_chain(connection)
    if pinned not in (None, (genesis_hash, domain_id)):
        kept_genesis, kept_domain = pinned
        raise WrongChainError(
            f"This database holds domain {kept_domain} of the chain with genesis {kept_genesis},"
            f" the node serves domain {domain_id} of genesis {genesis_hash}: point ARCHIVE_NODE_URL"
            " and DOMAIN_ID at the former, or use another DATA_DIR or DATABASE_URL."
        )


def pinned_chain(connection: Connection) -> tuple[str, int] | None:
    """The genesis hash and domain that the database is tied to, if it is."""
    row = connection.execute("SELECT genesis_hash, domain_id FROM chain_identity").fetchone()
    return (row[0], row[1]) if row else None
