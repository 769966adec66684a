"""Rows of the database as the answer of a route: JSON, or a table in the form that is asked for."""

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing

from fastapi import Request, Response

from operator_prices.web.database import Cursor, Version
from operator_prices.web.existence import Exists
from operator_prices.web.queries.spans import Column, Served
from operator_prices.web.service import service
from operator_prices.web.tables import Form, Table

Rows = Callable[[Cursor, Served], AsyncGenerator[bytes, None]]
"""The rows in their form, which counts them."""


def rows_answer(  # noqa: PLR0917
    request: Request,
    form: Form,
    name: str,
    key: str,
    columns: Sequence[Column],
    rows: Rows,
    exists: Exists | None = None,
) -> Response:
    """The rows, once it is known that what they are of exists; `name` is the table's as a file."""
    api = service(request)
    served = Served()

    async def producer(cursor: Cursor, _: Version) -> AsyncGenerator[bytes, None]:
        if exists:
            await exists(cursor)
        try:
            async with aclosing(rows(cursor, served)) as parts:
                async for part in parts:
                    yield part
        finally:
            api.counted(request.scope["route"].path, served)

    if form.name == "json":
        return api.large(request, producer, key)
    table = Table(form, [(title, kind) for title, kind, _ in columns], producer)
    return api.table(request, table, key, name)
