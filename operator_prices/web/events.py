"""The routes of what has happened to operators: as JSON, and as a feed."""

from collections.abc import AsyncGenerator
from dataclasses import asdict
from urllib.parse import urlsplit

import orjson
from fastapi import APIRouter, Request, Response

from operator_prices.web import atom
from operator_prices.web import parameters as given
from operator_prices.web.database import Cursor, Version
from operator_prices.web.documented import documented, text
from operator_prices.web.examples import EXAMPLES
from operator_prices.web.existence import no_operator
from operator_prices.web.queries.events import Event, Named, events_of, named
from operator_prices.web.schemas import OperatorEvent
from operator_prices.web.service import service

router = APIRouter(tags=["operators"])

UP = "../../../"
"""From a feed to the dashboard, where `API_URL` does not say which site that is."""

HERE = {"127.0.0.1", "localhost", "::1"}


class Feed(Response):
    """An Atom feed, as the document of the API calls it."""

    media_type = "application/atom+xml"


def _example() -> str:
    told = {**EXAMPLES[OperatorEvent], "from_chain": True, "at": 1756259880862}
    del told["timestampFromChain"]
    return atom.feed(Named(0, None, "0x" + "11" * 32, 0), [Event(**told)], UP).decode()


EXAMPLE = _example()


@router.get(
    "/api/operators/{operator}/events",
    responses=documented(list[OperatorEvent], [EXAMPLES[OperatorEvent]], 404),
)
async def operator_events(request: Request, operator: given.Operator) -> Response:
    """What has happened to an operator, the newest first; `/feed.atom` beside it is the feed."""
    api = service(request)
    still = api.settings.alert_price_epochs

    async def told(cursor: Cursor, _: Version) -> AsyncGenerator[bytes, None]:
        await _known(cursor, operator)
        found = await events_of(cursor, operator, still)
        yield orjson.dumps([_published(event) for event in found])

    return api.small(request, told, f"events {operator} {still}")


@router.get(
    "/api/operators/{operator}/feed.atom",
    response_class=Feed,
    responses=text(Feed.media_type, EXAMPLE, 404, fresh=False),
)
async def operator_feed(request: Request, operator: given.Operator) -> Response:
    """The same as an Atom feed of the newest 200, which feed readers follow."""
    api = service(request)
    ours = api.settings.api_url.rstrip("/")
    still = api.settings.alert_price_epochs
    site = UP if urlsplit(ours).hostname in HERE else f"{ours}/"

    async def told(cursor: Cursor, _: Version) -> AsyncGenerator[bytes, None]:
        known = await _known(cursor, operator)
        found = await events_of(cursor, operator, still)
        yield atom.feed(known, found, site)

    return api.small(request, told, f"feed {operator} {still} {site}", atom.MEDIA_TYPE)


async def _known(cursor: Cursor, operator: int) -> Named:
    found = await named(cursor, operator)
    if found is None:
        raise await no_operator(cursor, operator)
    return found


def _published(event: Event) -> dict[str, object]:
    told = asdict(event)
    del told["at"]
    told["timestampFromChain"] = told.pop("from_chain")
    return told
