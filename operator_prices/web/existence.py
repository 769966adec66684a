"""What must be there for a question to have an answer: else it is refused, with what there is."""

from collections.abc import Awaitable, Callable

from operator_prices.web.database import Cursor
from operator_prices.web.queries.operators import last_operator, operator_exists
from operator_prices.web.queries.positions import address_of, known
from operator_prices.web.queries.spans import Span, bounds
from operator_prices.web.queries.status import epoch_exists, skipped
from operator_prices.web.refusals import RefusedRequestError

Exists = Callable[[Cursor], Awaitable[None]]
"""Raises `RefusedRequestError` if there is no such thing."""


def existing_operator(operator: int) -> Exists:
    """That an operator has ever been in a stored epoch."""

    async def exists(cursor: Cursor) -> None:
        if not await operator_exists(cursor, operator):
            raise await no_operator(cursor, operator)

    return exists


def existing_epoch(epoch: int) -> Exists:
    """That an epoch is stored."""

    async def exists(cursor: Cursor) -> None:
        if not await epoch_exists(cursor, epoch):
            raise await no_epoch(cursor, epoch)

    return exists


def existing_account(nominator: str) -> Exists:
    """That an account ever had a position."""

    async def exists(cursor: Cursor) -> None:
        await known_address(cursor, nominator)

    return exists


async def known_address(cursor: Cursor, nominator: str) -> str:
    """The address of an account, or `RefusedRequestError` if it never had a position."""
    if (address := await address_of(cursor, nominator)) is not None:
        return address
    first, last, accounts = await known(cursor)
    if first is None:
        what = "no epoch of nominators has been read yet"
    else:
        what = f"{accounts} accounts had one in epochs {first} to {last}"
    raise RefusedRequestError(404, f"Account {nominator} never had a position: {what}.")


async def no_operator(cursor: Cursor, operator: int) -> RefusedRequestError:
    last = await last_operator(cursor)
    there = "no operator is" if last is None else f"operators up to {last} are"
    return RefusedRequestError(404, f"Operator {operator} is in no stored epoch: {there} known.")


async def no_epoch(cursor: Cursor, epoch: int) -> RefusedRequestError:
    if reason := await skipped(cursor, epoch):
        return RefusedRequestError(404, f"Epoch {epoch} was skipped: {reason}.")
    first, last, rows = await bounds(cursor, Span())
    stored = f"epochs {first} to {last} are stored" if rows else "no epoch is stored yet"
    return RefusedRequestError(404, f"Epoch {epoch} is not stored: {stored}.")
