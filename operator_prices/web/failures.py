"""What is said when a request cannot be answered: always one sentence, under `detail`."""

import logging
import time

import psycopg
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from psycopg_pool import PoolClosed, PoolTimeout, TooManyRequests
from starlette.exceptions import HTTPException

from operator_prices.postgres.keeping import SilentDatabaseError
from operator_prices.web import meant
from operator_prices.web import parameters as given
from operator_prices.web.documented import document
from operator_prices.web.middleware import SAFETY, UNTRUSTED
from operator_prices.web.refusals import RETRY_SECONDS, RefusedRequestError
from operator_prices.web.unservable import LACKING, UnservableDatabaseError, unservable

LOG = logging.getLogger(__name__)

QUIET_SECONDS = 10
"""How often, at most, the log says that the database does not answer."""

LATER = {"retry-after": str(RETRY_SECONDS)}


def add_failures(app: FastAPI) -> None:
    """Have every failure end in a sentence."""
    app.exception_handler(RefusedRequestError)(_refused)
    app.exception_handler(RequestValidationError)(_invalid)
    app.exception_handler(HTTPException)(_no_route)
    for kind in (psycopg.OperationalError, PoolTimeout, PoolClosed, TooManyRequests):
        app.exception_handler(kind)(_unavailable)
    for lack in (UnservableDatabaseError, psycopg.errors.InsufficientPrivilege, *LACKING):
        app.exception_handler(lack)(_lasting)
    app.exception_handler(psycopg.errors.QueryCanceled)(_slow)
    app.exception_handler(Exception)(_failed)


async def _refused(_: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, RefusedRequestError):
        raise error
    return JSONResponse({"detail": error.sentence}, error.status, error.headers)


async def _invalid(_: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, RequestValidationError):
        raise error
    return JSONResponse({"detail": given.sentence(error)}, 422)


async def _no_route(request: Request, error: Exception) -> JSONResponse:
    """404 and 405 of the router, which knows only the status."""
    if not isinstance(error, HTTPException):
        raise error
    path = request.scope["path"].removeprefix(request.scope.get("root_path", ""))
    if error.status_code == 404:  # noqa: PLR2004
        said = meant.no_path(path, document(request.app)["paths"])
        return JSONResponse({"detail": said}, 404)
    said = f"{request.method} is not answered at {path[:200]}: GET and HEAD are."
    return JSONResponse({"detail": said}, 405, {"allow": "GET, HEAD"})


async def _unavailable(_: Request, error: Exception) -> JSONResponse:
    if time.monotonic() - _logged["at"] >= QUIET_SECONDS:
        _logged["at"] = time.monotonic()
        LOG.warning("The database does not answer: %s", error)
    return JSONResponse({"detail": f"{why(error)}: try again."}, 503, LATER)


async def _lasting(_: Request, error: Exception) -> JSONResponse:
    """503 with a sentence that says how to mend what waiting will not."""
    sentence = (unservable(error) if isinstance(error, psycopg.Error) else None) or str(error)
    if time.monotonic() - _logged["at"] >= QUIET_SECONDS:
        _logged["at"] = time.monotonic()
        LOG.warning(sentence)
    return JSONResponse({"detail": sentence}, 503, LATER)


async def _slow(_: Request, __: Exception) -> JSONResponse:
    return JSONResponse({"detail": "That took the database too long: ask for less."}, 503)


async def _failed(_: Request, __: Exception) -> JSONResponse:
    headers = {name.decode(): value.decode() for name, value in (*SAFETY, UNTRUSTED)}
    return JSONResponse({"detail": "That failed here: the log of the API says why."}, 500, headers)


_logged = {"at": -float(QUIET_SECONDS)}


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
