"""The routes of nominators: what each has with operators, and what operators' nominators do."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import orjson
from fastapi import APIRouter, Depends, Request, Response

from operator_prices.web import account_history, position_rows
from operator_prices.web import parameters as given
from operator_prices.web.database import Cursor, Version
from operator_prices.web.documented import documented
from operator_prices.web.existence import Exists, existing_account, existing_operator, known_address
from operator_prices.web.nominator_examples import EXAMPLES
from operator_prices.web.nominator_schemas import Flow, Nominator, NominatorsOfOperator, PositionAt
from operator_prices.web.positions import pace_of, published, summed
from operator_prices.web.queries import position_tables as tables
from operator_prices.web.queries.account_history import Account
from operator_prices.web.queries.positions import moments, pace, seen
from operator_prices.web.queries.rendered import Facts, lines, objects
from operator_prices.web.queries.spans import Served, Span
from operator_prices.web.refusals import RefusedRequestError
from operator_prices.web.rows import rows_answer
from operator_prices.web.service import service
from operator_prices.web.tables import Form, example

LEFT_OUT = (
    "Nominators are left out here: whoever runs this API has set NOMINATORS=off, and nothing of"
    " them is read, stored or served."
)


async def require_nominators(request: Request) -> None:
    """Raise `RefusedRequestError` where nominators are left out."""
    if service(request).settings.nominators == "off":
        raise RefusedRequestError(404, LEFT_OUT)


router = APIRouter(tags=["nominators"], dependencies=[Depends(require_nominators)])

HISTORY_CSV = example([name for name, _, _ in position_rows.COLUMNS], EXAMPLES[PositionAt])
NOMINATORS_CSV = example(
    [name for name, _, _ in tables.NOMINATOR_COLUMNS],
    EXAMPLES[NominatorsOfOperator]["nominators"][0],
)
FLOWS_CSV = example([name for name, _, _ in tables.FLOW_COLUMNS], EXAMPLES[Flow])


def _refuse_ai3(form: Form) -> None:
    if form.ai3:
        raise RefusedRequestError(422, "ai3 is not given here: these tables have Shannons alone")


def _table(request: Request, form: Form, name: str, facts: Facts, exists: Exists) -> Response:
    _refuse_ai3(form)

    def rows(cursor: Cursor, served: Served) -> AsyncGenerator[bytes, None]:
        give = objects if form.name == "json" else lines
        return give(cursor, facts, served)

    key = f"{name} {facts.rows.as_string()} {facts.parts.as_string() if facts.parts else ''}"
    return rows_answer(request, form, name, key, facts.columns, rows, exists)


@router.get(
    "/api/nominators/{address}",
    responses=documented(Nominator, EXAMPLES[Nominator], 404),
)
async def one_nominator(
    request: Request,
    address: given.Account,
    first: given.From = None,
    last: given.To = None,
) -> Response:
    """What an account has with all operators, and what it has earned, by default in all its life.

    With `from` and `to` the positions are those at the close of `to`, and what was paid and earned
    is of the epochs from `from` to `to`.
    """
    begin, end = given.span(first, last)

    async def told(cursor: Cursor, _: Version) -> AsyncGenerator[bytes, None]:
        written = await known_address(cursor, address)
        rows = await moments(cursor, address, begin, end)
        closing = next((row for row in rows if row["kind"] == "closing"), None)
        if closing is None:
            raise RefusedRequestError(404, await _nothing_by_then(cursor, address, end))
        positions, earnings = published(rows, pace_of(await pace(cursor, closing["at"])))
        first_seen, last_seen = await seen(cursor, address)
        yield orjson.dumps(
            {
                "nominator": address,
                "address": written,
                "firstSeenEpoch": first_seen,
                "lastSeenEpoch": last_seen,
                "epoch": closing["at"],
                "timestamp": closing["timestamp"],
                "total": summed(positions, earnings),
                "positions": positions,
            }
        )

    return service(request).small(request, told, f"nominator {address} {begin} {end}")


@router.get(
    "/api/nominators/{address}/history",
    responses=documented(list[PositionAt], [EXAMPLES[PositionAt]], 404, table=HISTORY_CSV),
)
async def position_history(  # noqa: PLR0917
    request: Request,
    address: given.Account,
    form: given.AsForm,
    first: given.From = None,
    last: given.To = None,
    sample: given.SampledEpochs = None,
    operators: given.Operators = None,
) -> Response:
    """An account's positions epoch by epoch: what each was worth, and what was paid in and out."""
    span = Span(*given.span(first, last), sample=sample)
    account = Account(address, span, given.listed(operators))

    def rows(cursor: Cursor, served: Served) -> AsyncGenerator[bytes, None]:
        give = account_history.objects if form.name == "json" else account_history.lines
        return give(cursor, account, served)

    _refuse_ai3(form)
    exists, columns = existing_account(address), position_rows.COLUMNS
    return rows_answer(request, form, "positions", f"positions {account}", columns, rows, exists)


@router.get(
    "/api/operators/{operator}/nominators",
    responses=documented(
        NominatorsOfOperator, EXAMPLES[NominatorsOfOperator], 404, table=NOMINATORS_CSV
    ),
)
async def nominators_of_operator(
    request: Request,
    operator: given.Operator,
    form: given.AsForm,
    page: given.PageSize = None,
    beyond: given.Offset = None,
) -> Response:
    """An operator's nominators at the newest epoch, the largest first, each with its share."""
    limit, offset = page or given.USUAL_PAGE, beyond or 0
    facts = tables.nominators(operator, limit, offset)
    exists = existing_operator(operator)
    if form.name != "json":
        return _table(request, form, "nominators", facts, exists)

    async def told(cursor: Cursor, _: Version) -> AsyncGenerator[bytes, None]:
        await exists(cursor)
        pool = await tables.pool(cursor, operator)
        head: dict[str, Any] = {
            "operatorId": operator,
            "epoch": pool.epoch,
            "shares": None if pool.shares is None else str(pool.shares),
            "nominatorCount": pool.nominators,
            "largest": {str(count): str(held) for count, held in pool.largest.items()},
            "nextOffset": offset + limit if offset + limit < pool.nominators else None,
        }
        yield orjson.dumps(head)[:-1] + b',"nominators":'
        async with aclosing(objects(cursor, facts, Served())) as parts:
            async for part in parts:
                yield part
        yield b"}"

    return service(request).small(request, told, f"nominators {operator} {limit} {offset}")


@router.get(
    "/api/operators/{operator}/flows",
    responses=documented(list[Flow], [EXAMPLES[Flow]], 404, table=FLOWS_CSV),
)
async def flows_of_operator(
    request: Request,
    operator: given.Operator,
    form: given.AsForm,
    first: given.From = None,
    last: given.To = None,
) -> Response:
    """What an operator's nominators paid in, withdrew and were paid out, by epoch."""
    facts = tables.flows(operator, Span(*given.span(first, last)))
    return _table(request, form, "flows", facts, existing_operator(operator))


async def _nothing_by_then(cursor: Cursor, nominator: str, last: int) -> str:
    first, _ = await seen(cursor, nominator)
    return f"Account {nominator} had no position by epoch {last}: its first is of epoch {first}."
