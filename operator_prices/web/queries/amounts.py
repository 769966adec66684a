"""Amounts of a position in SQL: what it is worth, what of it is on its way out, and its sums."""

from psycopg import sql

STAKE = (
    "CASE WHEN {shares} = 0 THEN 0 WHEN {price} < 1000000000000000000"
    " THEN div({shares} * 1000000000000000000, {price} + 1)"
    " WHEN {price} IS NOT NULL THEN {shares} END"
)
"""`shares_to_stake`, written out: a function for each of many rows costs more than the row."""

PAID_IN = sql.SQL("deposited_raw + deposited_storage_fee_raw")
PAID_OUT = sql.SQL("released_raw + released_storage_fee_raw")
TAX = sql.SQL("tax_raw + tax_storage_fee_raw")

TOTAL = sql.SQL(
    "CASE WHEN count(*) OVER states - count({amount}) OVER states"
    " = (first_value({amount}) OVER states IS NULL)::integer"
    " THEN coalesce(sum({amount}) OVER states, 0) END"
)
LEAVING = sql.SQL(
    "CASE WHEN {position}.withdrawing_shares_raw = 0 THEN 0"
    " ELSE shares_to_stake({position}.withdrawing_shares_raw, {price}) + {refund} END"
    " + CASE WHEN {position}.unlocking = '[]' THEN 0 ELSE {position}.unlocking_raw"
    " + (SELECT coalesce(sum((one ->> 'storage_fee_refund')::numeric), 0)"
    " FROM jsonb_array_elements({position}.unlocking) AS one) END"
)


def total(amount: sql.Composable) -> sql.Composed:
    """The sum of an amount over the window `states`, NULL from the first that is unknown on.

    Of the first row of all it may be unknown, as where history begins in the middle of a position.
    """
    return TOTAL.format(amount=amount)


def leaving(position: str, price: sql.Composable, refund: sql.Composable) -> sql.Composed:
    """What is on its way out: withdrawn at the price of its epoch, and waiting; with refunds."""
    return LEAVING.format(position=sql.Identifier(position), price=price, refund=refund)
