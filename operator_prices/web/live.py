"""The routes for whoever watches: new epochs as they come, and how complete what is stored is."""

from collections.abc import AsyncGenerator
from typing import Annotated

from fastapi import APIRouter, Header, Request, Response
from fastapi.responses import JSONResponse

from operator_prices.web import freshness
from operator_prices.web.database import Cursor, Version
from operator_prices.web.documented import documented, text
from operator_prices.web.examples import EXAMPLES
from operator_prices.web.queries.status import situation
from operator_prices.web.queries.status import status as stored
from operator_prices.web.schemas import Freshness, Status
from operator_prices.web.service import service
from operator_prices.web.stream import CONTENT_TYPE, EventStream, event

router = APIRouter(tags=["live"])


@router.get(
    "/api/stream",
    status_code=200,
    response_class=EventStream,
    responses=text(CONTENT_TYPE, event(1234, 1756259880862).decode()),
)
async def stream(
    request: Request,
    last_event_id: Annotated[str | None, Header(description="The last epoch seen.")] = None,
) -> Response:
    """Server-sent events: `epoch` for each new epoch; a client that comes back misses none."""
    after = last_event_id or ""
    known = int(after) if after.isascii() and after.isdecimal() and len(after) < 11 else None  # noqa: PLR2004
    api = service(request)
    return EventStream(api.stream.watch(known), api.watching)


@router.get("/api/status", responses=documented(Status, EXAMPLES[Status]))
async def status(request: Request) -> Response:
    """What is stored, how old it is, and what of it could not be understood."""
    return service(request).small(request, _status, "status")


async def _status(cursor: Cursor, _: Version) -> AsyncGenerator[bytes, None]:
    yield (await stored(cursor)).encode()


@router.get("/api/freshness", responses=documented(Freshness, EXAMPLES[Freshness], fresh=True))
async def fresh(request: Request) -> JSONResponse:
    """Whether the newest epoch is as new as the source, from the epochs that are missing."""
    async with service(request).database.cursor() as cursor:
        seen = await situation(cursor)
    return JSONResponse(freshness.told(seen), headers={"cache-control": "no-store"})
