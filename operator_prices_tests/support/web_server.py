"""A serving process of its own over a database of its own, and questions put to it by HTTP."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from typing import Any, LiteralString
from uuid import uuid4

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from operator_prices.local.ports import answering, free_port
from operator_prices.settings import READER

HOST = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:  # noqa: ANN401
        return json.loads(self.body)


@dataclass(frozen=True, slots=True)
class Served:
    port: int
    dsn: str
    """Of the database, with all rights."""
    process: subprocess.Popen[str]

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"

    def rows(self, statement: LiteralString) -> list[tuple[Any, ...]]:
        """What the database says."""
        with psycopg.connect(self.dsn) as connection:
            return connection.execute(statement).fetchall()

    def get(self, path: str, *, seconds: float = 30, method: str = "GET", **headers: str) -> Reply:
        told = {name.replace("_", "-"): text for name, text in headers.items()}
        with closing(HTTPConnection(HOST, self.port, timeout=seconds)) as connection:
            connection.request(method, path, headers=told)
            with connection.getresponse() as answer:
                known = {name.lower(): text for name, text in answer.getheaders()}
                return Reply(answer.status, known, answer.read())


def reader(dsn: str) -> str:
    """The same database for the role that only reads, whatever the server asks of who logs in."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        role = sql.Identifier(READER)
        connection.execute(sql.SQL("ALTER ROLE {} PASSWORD 'reader'").format(role))
    return make_conninfo(dsn, user=READER, password="reader")  # noqa: S106


@contextmanager
def database(server: str, template: str) -> Iterator[str]:
    """A copy of a migrated database."""
    names = {"name": sql.Identifier(f"web_{uuid4().hex}"), "template": sql.Identifier(template)}
    with psycopg.connect(server, autocommit=True) as admin:
        admin.execute(sql.SQL("CREATE DATABASE {name} TEMPLATE {template}").format(**names))
        yield make_conninfo(server, dbname=names["name"].as_string().strip('"'))
        admin.execute(sql.SQL("DROP DATABASE {name} WITH (FORCE)").format(**names))


@contextmanager
def serving(
    dsn: str, url: str | None = None, *, descriptors: int | None = None, **settings: str
) -> Iterator[Served]:
    """The API over `dsn`, with the role that only reads unless it is given another `url`.

    It may open only so many `descriptors`.
    """
    argv = [sys.executable, "-m", "operator_prices.web"]
    if descriptors is not None:
        argv = ["sh", "-c", f'ulimit -n {descriptors}; exec "$@"', "sh", *argv]
    port = free_port()
    environment = {
        **os.environ,
        "API_DATABASE_URL": url or reader(dsn),
        "API_PORT": str(port),
        **settings,
    }
    with subprocess.Popen(
        argv,
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            ready = answering(HOST, port, "/healthz")
            until = time.monotonic() + 60
            while not ready():
                if process.poll() is not None or time.monotonic() > until:
                    said = process.stderr.read() if process.stderr else ""
                    raise RuntimeError(f"the API does not serve: {said}")
                time.sleep(0.05)
            yield Served(port, dsn, process)
        finally:
            process.terminate()
