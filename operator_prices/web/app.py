"""The application: its routes, and what it says when it cannot answer."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import psycopg
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import JSONResponse
from psycopg_pool import PoolClosed, PoolTimeout, TooManyRequests
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from operator_prices.postgres.keeping import SilentDatabaseError
from operator_prices.settings import Settings
from operator_prices.web import live, old_routes, operations, pages, routes
from operator_prices.web import parameters as given
from operator_prices.web.metrics import Measured
from operator_prices.web.parameters import RefusedRequestError
from operator_prices.web.service import Service

LOG = logging.getLogger(__name__)

DESCRIPTION = """
Share prices of Autonomys operators, epoch by epoch. Amounts are decimal strings of Shannons
(10^18 are one AI3) and never rounded. `sharePricePerq` is the chain's number, shares per stake
times 10^18: it falls as rewards come in. `stakePerShare` is what a share is worth, stake per share
times 10^18: it rises. Answers carry a strong `ETag` that changes when the data does.
"""


class HeadersAlone:
    """Answers HEAD as GET, without the body."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def bodiless(message: Message) -> None:
            if message["type"] != "http.response.body":
                await send(message)
            elif not message.get("more_body"):
                await send({"type": "http.response.body", "body": b""})

        if scope["type"] == "http" and scope["method"] == "HEAD":
            await self._app({**scope, "method": "GET"}, receive, bodiless)
        else:
            await self._app(scope, receive, send)


def create_app(settings: Settings) -> FastAPI:
    """The API and the dashboard over one database; connects when it starts."""
    service = Service(settings)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with service.database, service.stream:
            yield

    app = FastAPI(
        title="Operator prices",
        version="1",
        description=DESCRIPTION,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
    )
    app.openapi_version = "3.0.3"  # the newest that the Swagger UI we serve can draw
    app.state.service = service
    if settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(settings.cors_origins),
            allow_methods=["GET"],
            allow_headers=["If-None-Match", "Last-Event-ID"],
            expose_headers=["ETag"],
        )
    _add_failures(app)
    for part in (old_routes, routes, live, operations, pages):
        app.include_router(part.router)
    app.add_middleware(HeadersAlone)
    app.add_middleware(Measured, metrics=service.metrics)
    return app


def _add_failures(app: FastAPI) -> None:
    @app.exception_handler(RefusedRequestError)
    async def refused(_: Request, error: RefusedRequestError) -> JSONResponse:
        return JSONResponse({"detail": error.sentence}, error.status)

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        return JSONResponse({"detail": given.sentence(error)}, 422)

    async def unavailable(_: Request, error: Exception) -> JSONResponse:
        LOG.warning("The database does not answer: %s", error)
        return JSONResponse(
            {"detail": f"{why(error)}: try again."}, 503, headers={"retry-after": "2"}
        )

    for kind in (psycopg.OperationalError, PoolTimeout, PoolClosed, TooManyRequests):
        app.exception_handler(kind)(unavailable)

    @app.exception_handler(psycopg.errors.QueryCanceled)
    async def slow(_: Request, __: Exception) -> JSONResponse:
        return JSONResponse({"detail": "That took the database too long: ask for less."}, 503)


def why(error: Exception) -> str:
    """What keeps the database from answering, as far as a stranger may know.

    >>> why(psycopg.errors.DiskFull("no space left on device"))
    'The database has no room left on its disk'
    """
    if isinstance(error, SilentDatabaseError):
        return f"The database does not answer ({error})"
    if isinstance(error, PoolTimeout):
        return "The database does not answer (no connection to it is free or can be made)"
    if isinstance(error, psycopg.errors.DiskFull):
        return "The database has no room left on its disk"
    if isinstance(error, psycopg.errors.CannotConnectNow | psycopg.errors.AdminShutdown):
        return "The database is being started or stopped"
    return f"The database does not answer ({type(error).__name__})"
