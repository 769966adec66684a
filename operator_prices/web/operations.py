"""The routes for whoever runs the API."""

import math
import time

import psycopg
from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from psycopg_pool import PoolClosed, PoolTimeout, TooManyRequests

from operator_prices.web.queries.status import freshness
from operator_prices.web.service import Service, service

router = APIRouter(tags=["operations"])

PROBE_SECONDS = 2
"""Whoever looks whether we are ready does not wait longer."""

UNAVAILABLE = (psycopg.Error, PoolTimeout, PoolClosed, TooManyRequests)
"""What is raised while the database does not answer."""


@router.get("/healthz")
async def healthz() -> dict[str, str]:
    """The process is alive."""
    return {"status": "ok"}


async def _freshness(api: Service) -> tuple[int | None, float | None]:
    async with api.database.cursor(PROBE_SECONDS) as cursor:
        newest = await freshness(cursor)
    return (None, None) if newest is None else (newest[0], time.time() - newest[1] / 1000)


@router.get("/readyz", responses={503: {"description": "Not ready, with why."}})
async def readyz(request: Request) -> JSONResponse:
    """Whether the database answers, how old its last epoch is, and if our role only reads."""
    api = service(request)
    limit = api.settings.api_max_lag_seconds
    try:
        epoch, lag = await _freshness(api)
        complaint = await api.database.complaint(PROBE_SECONDS)
    except UNAVAILABLE as error:
        said = " ".join(str(error).split())
        return JSONResponse({"ready": False, "database": said}, 503)
    fresh = limit is None or (lag is not None and lag <= limit)
    return JSONResponse(
        {
            "ready": fresh,
            "database": "ok",
            "lastEpoch": epoch,
            "lagSeconds": None if lag is None else round(lag, 3),
            "fresh": fresh,
            "warning": complaint,
        },
        200 if fresh else 503,
    )


@router.get("/metrics", responses={200: {"content": {"text/plain": {}}}})
async def metrics(request: Request) -> Response:
    """For Prometheus."""
    api = service(request)
    try:
        epoch, lag = await _freshness(api)
        api.metrics.database_up.set(1)
    except UNAVAILABLE:
        epoch, lag = None, None
        api.metrics.database_up.set(0)
    api.metrics.last_epoch.set(-1 if epoch is None else epoch)
    api.metrics.lag.set(math.nan if lag is None else lag)
    api.metrics.listeners.set(api.stream.watchers)
    return Response(generate_latest(api.metrics.registry), media_type=CONTENT_TYPE_LATEST)
