"""The application: its routes, and what holds for all of them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import Depends, FastAPI
from fastapi.middleware.cors import CORSMiddleware
from fastapi.routing import APIRoute

from operator_prices.settings import Settings
from operator_prices.web import events, live, nominators, old_routes, operations, pages, routes
from operator_prices.web.documented import document
from operator_prices.web.failures import add_failures
from operator_prices.web.limits import Room
from operator_prices.web.meant import known_parameters
from operator_prices.web.metrics import Measured
from operator_prices.web.middleware import HeadsAlone, Manners
from operator_prices.web.service import Service

DESCRIPTION = """
Share prices of Autonomys operators, epoch by epoch. Amounts are decimal strings of Shannons
(10^18 are one AI3) and never rounded. `sharePricePerq` is the chain's number, shares per stake
times 10^18: it falls as rewards come in. `stakePerShare` is what a share is worth, stake per share
times 10^18: it rises. Answers carry a strong `ETag` that changes when the data does.
"""

EXPOSED = ["ETag", "Content-Length", "Content-Range", "Accept-Ranges", "Retry-After"]


def create_app(settings: Settings, room: Room) -> FastAPI:
    """The API and the dashboard over one database; connects when it starts."""
    service = Service(settings, room)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with service.database, service.spool, service.stream:
            yield

    app = FastAPI(
        title="Operator prices",
        version="1",
        description=DESCRIPTION,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        root_path=settings.root_path,
        redirect_slashes=False,
        generate_unique_id_function=_name,
    )
    app.openapi_version = "3.0.3"  # the newest that the Swagger UI we serve can draw
    app.state.service = service
    add_failures(app)
    for part in (old_routes, routes, events, nominators, live, operations):
        app.include_router(part.router, dependencies=[Depends(known_parameters)])
    app.include_router(pages.router)
    app.add_api_route("/openapi.json", lambda: document(app), include_in_schema=False)
    app.add_middleware(HeadsAlone)
    if settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(settings.cors_origins),
            allow_methods=["GET", "HEAD"],
            allow_headers=["If-None-Match", "If-Range", "Last-Event-ID", "Range"],
            expose_headers=EXPOSED,
        )
    app.add_middleware(Manners)
    app.add_middleware(Measured, metrics=service.metrics)
    return app


def _name(route: APIRoute) -> str:
    """What a generated client calls the route."""
    return route.name
