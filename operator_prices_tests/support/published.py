"""A small history that the API publishes: with a gap, and an epoch that lacks a price."""

import psycopg
from psycopg import sql

from operator_prices_tests.support import history

EPOCHS = 40
OPERATORS = 6


def fill(connection: psycopg.Connection) -> None:
    """Forty epochs of six operators; epoch 39 lacks a price of operator 2, epoch 20 is missing."""
    history.write(connection, 0, EPOCHS - 1, OPERATORS)
    for gone in ("operator_shares", "operator_share_prices", "epochs"):
        table = sql.Identifier(gone)
        connection.execute(sql.SQL("DELETE FROM {} WHERE epoch = 20").format(table))
    connection.execute("DELETE FROM operator_share_prices WHERE (epoch, operator_id) = (39, 2)")
    connection.execute("SELECT refresh_epoch_analytics(0, 99)")
