"""A connection to the database, its address without secrets, and the chain it is tied to."""

from psycopg import Connection, ProgrammingError
from psycopg.conninfo import conninfo_to_dict

from operator_prices.chain import WrongChainError


def connect(dsn: str) -> Connection:
    """A connection that commits each statement, unless a transaction is opened."""
    return Connection.connect(dsn, autocommit=True, connect_timeout=10)


def described(dsn: str) -> str:
    """A database's URL or conninfo without its secrets.

    Raises `psycopg.ProgrammingError` where it is neither; its text may repeat what is secret.

    >>> described("postgresql://me:secret@db.example/prices")
    'postgresql://me@db.example/prices'
    """
    known = {"host": "", "dbname": "", **conninfo_to_dict(dsn)}
    if "@" in str(known["host"]):  # what follows an @ in a password that is not written as %40
        raise ProgrammingError("the host has an @")
    user = f"{known['user']}@" if known.get("user") else ""
    port = f":{known['port']}" if known.get("port") else ""
    return f"postgresql://{user}{known['host']}{port}/{known['dbname']}"


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
