"""The serving process: `python -m operator_prices.web`, with its settings in the environment."""

import asyncio
import ctypes
import logging
import sys

import psycopg

from operator_prices.errors import ExplainedError
from operator_prices.postgres import serving
from operator_prices.postgres.reach import reason
from operator_prices.settings import READER, SettingError, Settings
from operator_prices.web.app import create_app
from operator_prices.web.database import Database
from operator_prices.web.limits import Room
from operator_prices.web.unservable import LACKING, UnservableDatabaseError, unservable

# Uvicorn would load a megabyte that it watches files with, for a reloader that we never start.
sys.modules["watchfiles"] = None  # type: ignore[assignment]
import uvicorn  # noqa: E402

from operator_prices.web.server import Connection, Server, descriptors  # noqa: E402

LOG = logging.getLogger("operator_prices.web")

STOP_SECONDS = 5

KEEP_ALIVE_SECONDS = 75
"""Longer than proxies keep idle connections to us: none is closed while it is being used."""

MALLOC_LIMITS = {-1: 2 * 2**20, -3: 4 * 2**20, -8: 1}
"""What glibc may keep: M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX. Chunks come from
the heap, since mapping each anew makes an answer twice as slow; what bursts leave is returned."""


def main() -> None:
    """Serve until a signal ends it; what cannot be served ends in one sentence and exit code 1."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
    logging.getLogger("psycopg.pool").setLevel(logging.ERROR)
    try:
        settings = Settings.read()
        if settings.api_database_url is None:
            raise SettingError(
                "API_DATABASE_URL is not set: name the pipeline's database there, with the role"
                f" {READER}."
            )
        with asyncio.Runner() as runner:
            if complaint := runner.run(_checked(settings.api_database_url)):
                LOG.warning(complaint)
    except ExplainedError as error:
        print(error, file=sys.stderr)  # noqa: T201
        sys.exit(1)
    _bound_memory()
    room = Room.of(descriptors(), settings.api_streams)
    app = create_app(settings, room)
    config = uvicorn.Config(
        app,
        host=settings.api_host,
        port=settings.api_port,
        loop="uvloop",
        http=Connection,
        ws="none",
        lifespan="on",
        access_log=False,
        log_level="warning",
        server_header=False,
        proxy_headers=bool(settings.trusted_proxies),
        forwarded_allow_ips=list(map(str, settings.trusted_proxies)),
        timeout_graceful_shutdown=STOP_SECONDS,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        backlog=1024,
    )
    server = Server(config, app.state.service.stream, room)
    LOG.info("Serving on http://%s:%d", settings.api_host, settings.api_port)
    server.run()
    if not server.started:
        sys.exit(1)


def _bound_memory() -> None:
    if sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # glibc has it, others do not
        for option, limit in MALLOC_LIMITS.items():
            if mallopt is not None:
                mallopt(option, limit)


async def _checked(database_url: str) -> str | None:
    """What is wrong with our role, if anything; raises if the database cannot be served from."""
    try:
        connection = await serving.connect(database_url)
        await connection.close()
        async with Database(database_url) as database:
            await database.version()
            return await database.complaint()
    except (psycopg.errors.InsufficientPrivilege, *LACKING) as error:
        raise UnservableDatabaseError(unservable(error)) from error
    except psycopg.Error as error:
        said = reason(database_url, error)
        raise UnservableDatabaseError(
            f"The database of API_DATABASE_URL does not answer ({said}): start it or correct"
            " API_DATABASE_URL."
        ) from error


if __name__ == "__main__":
    main()
