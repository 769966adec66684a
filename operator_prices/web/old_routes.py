"""The routes of the old API, in its shape."""

from asyncio import to_thread
from collections.abc import AsyncGenerator
from contextlib import aclosing
from functools import partial
from typing import Any

import orjson
from fastapi import APIRouter, Request, Response

from operator_prices.epochs.windows import between
from operator_prices.web import parameters as given
from operator_prices.web.database import Cursor, Version
from operator_prices.web.documented import documented
from operator_prices.web.examples import EXAMPLES
from operator_prices.web.queries.documents import documents, health_row, latest, steps
from operator_prices.web.queries.spans import CAP, Served, Span, bounds
from operator_prices.web.schemas import Epoch, Health, Summary
from operator_prices.web.service import service

SMALL = 10
"""As many epochs do not need a connection of those for large answers."""

router = APIRouter(tags=["as of old"])


@router.get("/api/epochs", responses=documented(list[Epoch] | Health, [EXAMPLES[Epoch]]))
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
        return api.small(request, _health, "health")
    from_epoch, to_epoch = given.span(first, last)
    span = Span(from_epoch, to_epoch, given.limited(limit, CAP), sample)
    chosen = given.listed(operators)
    way = path or api.settings.read_path
    served = Served()

    async def source(cursor: Cursor, version: Version) -> AsyncGenerator[bytes, None]:
        rows = (
            _parsed(cursor, span, chosen, served)
            if way == "json"
            else documents(cursor, version, span, chosen, served)
        )
        try:
            async with aclosing(rows):
                async for part in rows:
                    yield part
        finally:
            api.counted("/api/epochs", served)

    small = span.last - span.first < SMALL or (span.limit or CAP) <= SMALL
    give = api.small if small else api.large
    return give(request, source, f"epochs {way} {span} {chosen}")


@router.get("/api/summary", responses=documented(Summary | None, EXAMPLES[Summary]))
async def summary(request: Request) -> Response:
    """The latest epoch, or null."""
    return service(request).small(request, _summary, "summary")


async def _health(cursor: Cursor, _: Version) -> AsyncGenerator[bytes, None]:
    names = ("sample", "rewardsAvailable", "normalizedDataAvailable")
    yield orjson.dumps(dict(zip(names, await health_row(cursor), strict=True)))


async def _summary(cursor: Cursor, _: Version) -> AsyncGenerator[bytes, None]:
    row = await latest(cursor)
    if row is None:
        yield b"null"
        return
    document, rewards = orjson.loads(row[0]), row[1]
    names = ("epoch", "endBlock", "timestamp", "totalStake", "storageFees")
    yield orjson.dumps(
        {
            **{name: document[name] for name in names},
            "rewardsTotal": rewards,
            "operatorSharePrices": document["operatorSharePrices"],
            "meta": {"sharePricesDefaulted": document["meta"]["sharePricesDefaulted"]},
        }
    )


async def _parsed(
    cursor: Cursor, span: Span, operators: tuple[int, ...] | None, served: Served
) -> AsyncGenerator[bytes, None]:
    """The epochs of a span from their stored JSON, parsed now; sampled as those of the tables."""
    from operator_prices.legacy import read_paths  # noqa: PLC0415 - a megabyte that few ever need

    first, last, rows = await bounds(cursor, span, "epochs")
    step, sampled = steps(rows, span.sample)
    separator, number = b"[", 0
    left_out: bytes | None = None
    for window in between(first, last):
        await cursor.execute(read_paths.STORED, [max(first, window.first), window.last])
        stored = await cursor.fetchall()
        await cursor.execute(read_paths.FOLLOWING, [window.last])
        parse = partial(_written, stored, await cursor.fetchone(), last, operators, sampled=sampled)
        for row in await to_thread(parse):
            if number % step == 0:
                served.rows += 1
                yield separator + row
                separator, left_out = b",", None
            else:
                left_out = row
            number += 1
    if left_out is not None:  # the last one is always kept
        served.rows += 1
        yield separator + left_out
    yield b"]" if separator == b"," else b"[]"


def _written(
    stored: list[tuple[Any, ...]],
    following: tuple[Any, ...] | None,
    last: int,
    operators: tuple[int, ...] | None,
    *,
    sampled: bool,
) -> list[bytes]:
    from operator_prices.legacy import read_paths  # noqa: PLC0415

    found = []
    for row in read_paths.parsed(stored, following, last):
        shown = row if operators is None else read_paths.restricted(row, operators)
        shown["meta"]["sampleApplied"] = sampled
        found.append(orjson.dumps(shown))
    return found
