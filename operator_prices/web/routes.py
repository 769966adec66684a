"""The routes of epochs, operators and share prices."""

import csv
import io
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from functools import partial
from typing import Any

import orjson
from fastapi import APIRouter, Request, Response

from operator_prices.web import parameters as given
from operator_prices.web import worker
from operator_prices.web.answers import EpochAnswer
from operator_prices.web.database import Cursor, Version
from operator_prices.web.operators import columns, flat, published
from operator_prices.web.parameters import FORMATS, RefusedRequestError, documented
from operator_prices.web.queries.operators import last_operator, operator_exists, operator_rows
from operator_prices.web.queries.points import POINT_KINDS, point_table, points, snapshot
from operator_prices.web.queries.spans import Served, Span, bounds
from operator_prices.web.queries.status import epoch_exists, skipped
from operator_prices.web.returns import DAYS
from operator_prices.web.service import service

TABLES = tuple(FORMATS.values())

router = APIRouter()


def _points(
    request: Request,
    *,
    form: str,
    epochs: tuple[int | None, int | None],
    operators: tuple[int, ...] | None,
    route: str,
    exists: Callable[[Cursor], Awaitable[None]] | None = None,
) -> Response:
    """Share prices of some operators over some epochs; `exists` raises if that is no question."""
    api = service(request)
    span = Span(*given.span(*epochs))
    served = Served()

    async def source(cursor: Cursor, _: Version) -> AsyncGenerator[bytes, None]:
        if exists:
            await exists(cursor)
        if form in ("parquet", "arrow"):
            rows = worker.written(
                {
                    "format": form,
                    "snapshot": await snapshot(cursor),
                    "copy": await point_table(cursor, span, operators),
                    "columns": POINT_KINDS,
                },
                api.database_url,
            )
        else:
            rows = points(cursor, span, operators, csv=form == "csv", served=served)
        try:
            async with aclosing(rows):
                async for part in rows:
                    yield part
        finally:
            api.counted(route, served)

    return api.answer(
        request,
        source,
        key=f"points {span} {operators} {exists is not None}",
        form=form,
        large=True,
        name="share-prices",
    )


def _operator_table(request: Request, form: str, chosen: tuple[int, ...] | None) -> Response:
    api = service(request)

    async def source(cursor: Cursor, _: Version) -> AsyncGenerator[bytes, None]:
        told = await _operators(cursor, chosen)
        if chosen is not None and not told:
            raise RefusedRequestError(404, await _no_operator(cursor, chosen[0]))
        if form == "json":
            yield orjson.dumps(told if chosen is None else told[0])
            return
        rows = [flat(operator) for operator in told]
        named = columns()
        if form == "csv":
            yield _csv([[name for name, _ in named], *rows])
            return
        task = {"format": form, "rows": rows, "columns": named}
        async with aclosing(worker.written(task, api.database_url)) as parts:
            async for part in parts:
                yield part

    return api.answer(request, source, key=f"operators {chosen}", form=form, name="operators")


@router.get("/api/epochs/{epoch}", tags=["epochs"], responses=documented(404, media=TABLES))
async def one_epoch(request: Request, epoch: given.Epoch, format: given.Format = None) -> Response:  # noqa: A002
    """Everything about one epoch; as a table, its operators."""
    form = given.form(request, format)

    async def exists(cursor: Cursor) -> None:
        if not await epoch_exists(cursor, epoch):
            raise RefusedRequestError(404, await _no_epoch(cursor, epoch))

    if form != "json":
        return _points(
            request,
            form=form,
            epochs=(epoch, epoch),
            operators=None,
            route="/api/epochs/{epoch}",
            exists=exists,
        )

    async def missing(cursor: Cursor) -> RefusedRequestError:
        return RefusedRequestError(404, await _no_epoch(cursor, epoch))

    api = service(request)
    count = partial(api.counted, "/api/epochs/{epoch}", Served(1))
    return EpochAnswer(request, api.database, epoch, missing, count)


@router.get("/api/operators", tags=["operators"], responses=documented(media=TABLES))
async def all_operators(request: Request, format: given.Format = None) -> Response:  # noqa: A002
    """Every operator ever seen: what it is now, and its returns over 1, 7 and 30 days."""
    return _operator_table(request, given.form(request, format), None)


@router.get(
    "/api/operators/{operator}", tags=["operators"], responses=documented(404, media=TABLES)
)
async def one_operator(
    request: Request,
    operator: given.Operator,
    format: given.Format = None,  # noqa: A002
) -> Response:
    """One operator."""
    return _operator_table(request, given.form(request, format), (operator,))


@router.get(
    "/api/operators/{operator}/share-prices",
    tags=["operators"],
    responses=documented(404, media=TABLES),
)
async def history(
    request: Request,
    operator: given.Operator,
    first: given.From = None,
    last: given.To = None,
    format: given.Format = None,  # noqa: A002
) -> Response:
    """An operator's share price, what a share was worth, and its rewards, epoch by epoch."""

    async def exists(cursor: Cursor) -> None:
        if not await operator_exists(cursor, operator):
            raise RefusedRequestError(404, await _no_operator(cursor, operator))

    route = "/api/operators/{operator}/share-prices"
    form = given.form(request, format)
    return _points(
        request,
        form=form,
        epochs=(first, last),
        operators=(operator,),
        route=route,
        exists=exists,
    )


@router.get("/api/share-prices", tags=["operators"], responses=documented(media=TABLES))
async def share_prices(
    request: Request,
    first: given.From = None,
    last: given.To = None,
    operators: given.Operators = None,
    format: given.Format = None,  # noqa: A002
) -> Response:
    """The same for several operators, ordered by epoch and operator."""
    form, chosen = given.form(request, format), given.listed(operators)
    return _points(
        request, form=form, epochs=(first, last), operators=chosen, route="/api/share-prices"
    )


async def _operators(cursor: Cursor, chosen: tuple[int, ...] | None) -> list[dict[str, Any]]:
    return [published(row) for row in await operator_rows(cursor, chosen, DAYS)]


async def _no_epoch(cursor: Cursor, epoch: int) -> str:
    if reason := await skipped(cursor, epoch):
        return f"Epoch {epoch} was skipped: {reason}."
    first, last, rows = await bounds(cursor, Span())
    stored = f"epochs {first} to {last} are stored" if rows else "no epoch is stored yet"
    return f"Epoch {epoch} is not stored: {stored}."


async def _no_operator(cursor: Cursor, operator: int) -> str:
    last = await last_operator(cursor)
    known = "no operator is" if last is None else f"operators up to {last} are"
    return f"Operator {operator} is in no stored epoch: {known} known."


def _csv(rows: list[list[Any]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode()
