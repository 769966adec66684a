"""The routes for whoever runs the API."""

import asyncio
import math
import time
from collections.abc import Coroutine
from typing import Any, TypeVar

import psycopg
from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from psycopg_pool import PoolClosed, PoolTimeout, TooManyRequests

from operator_prices.postgres.keeping import SilentDatabaseError
from operator_prices.web.documented import text
from operator_prices.web.examples import EXAMPLES
from operator_prices.web.freshness import Situation, judged
from operator_prices.web.queries.status import situation
from operator_prices.web.schemas import Alive, Ready
from operator_prices.web.service import Service, service
from operator_prices.web.unservable import UnservableDatabaseError, unservable

Result = TypeVar("Result")

router = APIRouter(tags=["operations"])

PROBE_SECONDS, PROBED_SECONDS = 2, 4
"""How long whoever looks if we are ready waits for a connection, and for all there is to know."""

UNAVAILABLE = (
    psycopg.Error,
    PoolTimeout,
    PoolClosed,
    TooManyRequests,
    UnservableDatabaseError,
)
"""What is raised while the database does not answer."""

ALIVE: dict[int | str, dict[str, Any]] = {
    200: {"model": Alive, "content": {"application/json": {"example": EXAMPLES[Alive]}}}
}
READY: dict[int | str, dict[str, Any]] = {
    200: {"model": Ready, "content": {"application/json": {"example": EXAMPLES[Ready]}}},
    503: {
        "model": Ready,
        "description": "Not ready, with why.",
        "content": {
            "application/json": {"example": {"ready": False, "database": "connection refused"}}
        },
    },
}
METRICS = text("text/plain", "operator_prices_last_epoch 1234.0\n")


@router.get("/healthz", responses=ALIVE)
async def healthz() -> JSONResponse:
    """The process is alive."""
    return JSONResponse({"status": "ok"})


async def _freshness(api: Service) -> tuple[Situation, float | None]:
    async with api.database.cursor(PROBE_SECONDS) as cursor:
        seen = await situation(cursor)
    return seen, None if seen.timestamp is None else time.time() - seen.timestamp / 1000


async def _soon(asking: Coroutine[Any, Any, Result]) -> Result:
    """What the database says, if it does within `PROBED_SECONDS`; who waits longer is left alone.

    To cancel and wait for that would take as long as a dead line makes it.
    """
    asked = asyncio.create_task(asking)
    await asyncio.wait({asked}, timeout=PROBED_SECONDS)
    if asked.done():
        return asked.result()
    asked.add_done_callback(lambda late: late.cancelled() or late.exception())
    asked.cancel()
    raise SilentDatabaseError(f"the database has been silent for {PROBED_SECONDS} s")


@router.get("/readyz", responses=READY)
async def readyz(request: Request) -> JSONResponse:
    """Whether the database answers, how old its last epoch is, why, and if our role only reads."""
    api = service(request)
    limit = api.settings.api_max_lag_seconds
    try:
        seen, lag = await _soon(_freshness(api))
        complaint = await _soon(api.database.complaint(PROBE_SECONDS))
    except UNAVAILABLE as error:
        lasting = unservable(error) if isinstance(error, psycopg.Error) else None
        said = lasting or " ".join(str(error).split())
        return JSONResponse({"ready": False, "database": said}, 503)
    fresh = limit is None or (lag is not None and lag <= limit)
    verdict = judged(seen)
    return JSONResponse(
        {
            "ready": fresh,
            "database": "ok",
            "lastEpoch": seen.epoch,
            "lagSeconds": None if lag is None else round(lag, 3),
            "fresh": fresh,
            "warning": complaint,
            "source": {
                "state": verdict.state,
                "sentence": verdict.sentence,
                "advice": verdict.advice,
            },
        },
        200 if fresh else 503,
    )


@router.get("/metrics", response_class=PlainTextResponse, responses=METRICS)
async def metrics(request: Request) -> Response:
    """For Prometheus."""
    api = service(request)
    try:
        seen, lag = await _soon(_freshness(api))
        epoch = seen.epoch
        api.metrics.database_up.set(1)
    except UNAVAILABLE:
        epoch, lag = None, None
        api.metrics.database_up.set(0)
    api.metrics.last_epoch.set(-1 if epoch is None else epoch)
    api.metrics.lag.set(math.nan if lag is None else lag)
    api.metrics.listeners.set(api.stream.watchers)
    return Response(generate_latest(api.metrics.registry), media_type=CONTENT_TYPE_LATEST)
