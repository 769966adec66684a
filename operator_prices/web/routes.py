"""The routes of epochs, operators and share prices."""

from collections.abc import AsyncGenerator
from functools import partial
from typing import Any

import orjson
from fastapi import APIRouter, Request, Response

from operator_prices.web import parameters as given
from operator_prices.web.answers import EpochAnswer
from operator_prices.web.database import Cursor, Version
from operator_prices.web.documented import documented
from operator_prices.web.examples import EXAMPLES
from operator_prices.web.existence import (
    Exists,
    existing_epoch,
    existing_operator,
    no_epoch,
    no_operator,
)
from operator_prices.web.operators import columns, flat, published
from operator_prices.web.queries.operators import operator_rows
from operator_prices.web.queries.points import AI3_COLUMNS, COLUMNS, lines, points
from operator_prices.web.queries.spans import Served, Span
from operator_prices.web.returns import DAYS
from operator_prices.web.rows import rows_answer
from operator_prices.web.schemas import EpochFacts, Operator, SharePrice
from operator_prices.web.service import Service, service
from operator_prices.web.tables import Form, Table, example, line

router = APIRouter()

POINTS_CSV = example([name for name, _, _ in COLUMNS], EXAMPLES[SharePrice])
OPERATORS_CSV = example([name for name, _ in columns()], EXAMPLES[Operator])


def _points(
    request: Request,
    form: Form,
    span: Span,
    operators: tuple[int, ...] | None,
    exists: Exists | None = None,
) -> Response:
    """Share prices of some operators over some epochs."""
    chosen = (*COLUMNS, *AI3_COLUMNS) if form.ai3 else COLUMNS

    def rows(cursor: Cursor, served: Served) -> AsyncGenerator[bytes, None]:
        if form.name == "json":
            return points(cursor, span, operators, served)
        return lines(cursor, span, operators, chosen, served)

    key = f"points {span} {operators} {exists is not None}"
    return rows_answer(request, form, "share-prices", key, chosen, rows, exists)


def _operators(request: Request, form: Form, chosen: tuple[int, ...] | None) -> Response:
    async def found(cursor: Cursor) -> list[dict[str, Any]]:
        told = [published(row) for row in await operator_rows(cursor, chosen, DAYS)]
        if chosen is not None and not told:
            raise await no_operator(cursor, chosen[0])
        return told

    async def told(cursor: Cursor, _: Version) -> AsyncGenerator[bytes, None]:
        operators = await found(cursor)
        yield orjson.dumps(operators if chosen is None else operators[0])

    async def rows(cursor: Cursor, _: Version) -> AsyncGenerator[bytes, None]:
        defused = form.name == "csv"
        for operator in await found(cursor):
            yield line(flat(operator, ai3_too=form.ai3), defused=defused)

    api: Service = service(request)
    key = f"operators {chosen}"
    if form.name == "json":
        return api.small(request, told, key)
    return api.table(request, Table(form, columns(ai3_too=form.ai3), rows), key, "operators")


@router.get(
    "/api/epochs/{epoch}",
    tags=["epochs"],
    responses=documented(EpochFacts, EXAMPLES[EpochFacts], 404, table=POINTS_CSV),
)
async def one_epoch(request: Request, epoch: given.Epoch, form: given.AsForm) -> Response:
    """Everything about one epoch; as a table, its operators."""
    if form.name != "json":
        return _points(request, form, Span(epoch, epoch), None, existing_epoch(epoch))
    api = service(request)
    count = partial(api.counted, "/api/epochs/{epoch}", Served(1))
    return EpochAnswer(request, api.database, epoch, partial(no_epoch, epoch=epoch), count)


@router.get(
    "/api/operators",
    tags=["operators"],
    responses=documented(list[Operator], [EXAMPLES[Operator]], table=OPERATORS_CSV),
)
async def all_operators(request: Request, form: given.AsForm) -> Response:
    """Every operator ever seen: what it is now, and its returns over 1, 7 and 30 days."""
    return _operators(request, form, None)


@router.get(
    "/api/operators/{operator}",
    tags=["operators"],
    responses=documented(Operator, EXAMPLES[Operator], 404, table=OPERATORS_CSV),
)
async def one_operator(request: Request, operator: given.Operator, form: given.AsForm) -> Response:
    """One operator."""
    return _operators(request, form, (operator,))


@router.get(
    "/api/operators/{operator}/share-prices",
    tags=["operators"],
    responses=documented(list[SharePrice], [EXAMPLES[SharePrice]], 404, table=POINTS_CSV),
)
async def history(
    request: Request,
    operator: given.Operator,
    form: given.AsForm,
    first: given.From = None,
    last: given.To = None,
) -> Response:
    """An operator's share price, what a share was worth, and its rewards, epoch by epoch."""
    span = Span(*given.span(first, last))
    return _points(request, form, span, (operator,), existing_operator(operator))


@router.get(
    "/api/share-prices",
    tags=["operators"],
    responses=documented(list[SharePrice], [EXAMPLES[SharePrice]], table=POINTS_CSV),
)
async def share_prices(
    request: Request,
    form: given.AsForm,
    first: given.From = None,
    last: given.To = None,
    operators: given.Operators = None,
) -> Response:
    """The same for several operators, ordered by epoch and operator."""
    return _points(request, form, Span(*given.span(first, last)), given.listed(operators))
