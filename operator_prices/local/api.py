"""How the serving process is started: its program, its environment, its child entry in `up`."""

import os
import signal
import subprocess
import sys

from psycopg.conninfo import make_conninfo

from operator_prices.local.ports import answering, reached_at
from operator_prices.local.spawning import dying_with_parent
from operator_prices.local.supervisor import Child
from operator_prices.settings import READER, Settings

PROGRAM = (sys.executable, "-m", "operator_prices.web")


def api_environment(settings: Settings, *, embedded: bool) -> dict[str, str]:
    """What the serving process reads; our own server lets the role that only reads in by itself."""
    url = settings.api_database_url or str(settings.database_url)
    if embedded and settings.api_database_url is None:
        url = make_conninfo(url, user=READER)
    return settings.environment() | {"API_DATABASE_URL": url, "API_HOST": settings.api_host}


def child(settings: Settings, *, embedded: bool) -> Child:
    """The API and the dashboard as a child of `up`."""
    return Child(
        name="api",
        argv=PROGRAM,
        env=api_environment(settings, embedded=embedded),
        log=settings.data_dir / "logs" / "api.log",
        ready=answering(reached_at(settings.api_host), settings.api_port, "/healthz"),
    )


def run(settings: Settings, *, embedded: bool) -> int:
    """Serve until a signal or the server itself ends it; returns its exit code."""
    told = {**os.environ, **api_environment(settings, embedded=embedded)}
    with subprocess.Popen(dying_with_parent(PROGRAM), env=told) as process:  # noqa: S603
        try:
            return process.wait()
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
