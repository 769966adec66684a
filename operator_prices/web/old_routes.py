"""The routes of the old API, in its shape."""

from collections.abc import AsyncIterator

import orjson
from fastapi import APIRouter, Request, Response
from psycopg import sql

from operator_prices.web import parameters as given
from operator_prices.web import queries
from operator_prices.web.database import Cursor, Version
from operator_prices.web.json_path import old_shape
from operator_prices.web.parameters import RefusedError, described
from operator_prices.web.queries import Served, Span
from operator_prices.web.service import service

ROWS_AT_ONCE = 64
"""Raw documents that are parsed before other requests get their turn."""

SMALL = 10
"""As many epochs do not need a connection of those for large answers."""

router = APIRouter(tags=["as of old"])


@router.get("/api/epochs", responses=described())
async def epochs(  # noqa: PLR0917
    request: Request,
    limit: given.Limit = None,
    sample: given.Sample = None,
    first: given.From = None,
    last: given.To = None,
    operators: given.Operators = None,
    path: given.ReadPath = None,
    health: given.Health = None,
) -> Response:
    """Epochs in the shape of the old API, in ascending order."""
    api = service(request)
    if health == "1":
        return api.answer(request, _health, key="health")
    from_epoch, to_epoch = given.span(first, last)
    span = Span(from_epoch, to_epoch, given.limited(limit, queries.CAP), sample)
    chosen = given.listed(operators)
    way = path or api.configuration.read_path
    served = Served()

    async def source(cursor: Cursor, version: Version) -> AsyncIterator[bytes]:
        rows = (
            _parsed(cursor, span, chosen, served)
            if way == "json"
            else queries.documents(cursor, version, span, chosen, served)
        )
        try:
            async for part in rows:
                yield part
        finally:
            api.counted("/api/epochs", served)

    small = span.last - span.first < SMALL or (span.limit or queries.CAP) <= SMALL
    return api.answer(request, source, key=f"epochs {way} {span} {chosen}", large=not small)


@router.get("/api/summary", responses=described())
async def summary(request: Request) -> Response:
    """The latest epoch, or null."""
    return service(request).answer(request, _summary, key="summary")


async def _health(cursor: Cursor, _: Version) -> AsyncIterator[bytes]:
    await cursor.execute(queries.HEALTH)
    row = await cursor.fetchone() or (0, 0, False)
    names = ("sample", "rewardsAvailable", "normalizedDataAvailable")
    yield orjson.dumps(dict(zip(names, row, strict=True)))


async def _summary(cursor: Cursor, _: Version) -> AsyncIterator[bytes]:
    await cursor.execute(queries.LATEST)
    row = await cursor.fetchone()
    if row is None:
        yield b"null"
        return
    latest = orjson.loads(row[0])
    names = ("epoch", "endBlock", "timestamp", "totalStake", "storageFees")
    yield orjson.dumps(
        {
            **{name: latest[name] for name in names},
            "rewardsTotal": str(sum(map(int, latest["rewards"].values()))),
            "operatorSharePrices": latest["operatorSharePrices"],
            "meta": {"sharePricesDefaulted": latest["meta"]["sharePricesDefaulted"]},
        }
    )


async def _parsed(
    cursor: Cursor, span: Span, operators: tuple[int, ...] | None, served: Served
) -> AsyncIterator[bytes]:
    """The epochs of a span from their raw JSON, parsed now."""
    first, last, rows = await queries.bounds(cursor, span)
    step = -(-rows // span.sample) if span.sample and rows else 1
    separator, number = b"[", 0
    names = {"first": sql.Literal(first), "last": sql.Literal(last)}
    async for row in cursor.stream(queries.RAW.format(**names), size=ROWS_AT_ONCE):
        epoch, end_block, timestamp, domain_id, source, data = row
        if number % step == 0 or number == rows - 1:
            if source != "chain":
                raise RefusedError(
                    422, f"path=json cannot read epoch {epoch}, a legacy snapshot: use path=tables"
                )
            shaped = old_shape(epoch, end_block, timestamp, domain_id, data, operators)
            shaped["meta"]["sampleApplied"] = step > 1
            served.rows += 1
            yield separator + orjson.dumps(shaped)
            separator = b","
        number += 1
    yield b"]" if separator == b"," else b"[]"
