"""How `pg_dump` is run: beside a connection of ours, at its server, and not for ever."""

import secrets
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
from psycopg import Connection
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from operator_prices import store
from operator_prices.local import client_programs, tls_relay
from operator_prices.local.client_programs import ClientProgramError
from operator_prices.postgres.keeping import parameters
from operator_prices.postgres.parts import application_name
from operator_prices.postgres.working import Doing, Doubt
from operator_prices.store.objects import Relation

FAILED = "The backup failed"

LOOK_SECONDS = 0.2


def dump(
    dsn: str, connection: Connection, snapshot: str, relations: Iterable[Relation], file: Path
) -> None:
    """Write the relations as `snapshot` of the connection has them. Raises `ClientProgramError`.

    When nothing comes any more, the server is asked whether it is still at work for us.
    """
    program = client_programs.fitting("pg_dump", connection.info.server_version // 10_000)
    name = f"{application_name('backup')} {secrets.token_hex(4)}"
    arguments = ["--format=custom", "--no-password", f"--snapshot={snapshot}", "--strict-names"]
    arguments += ["--enable-row-security"]  # that it hides nothing is known by now
    arguments += [f'--table="{one.schema}"."{one.name}"' for one in relations]
    arguments += ["--file", str(file)]
    told = conninfo_to_dict(dsn) | parameters(dsn) | {"application_name": name}
    with _way(connection, str(program), told) as (address, environment):
        command = [str(program), *arguments, "--dbname", address]
        _watched(command, environment, file, lambda: store.doing(dsn, name))


@contextmanager
def _way(
    connection: Connection, program: str, told: dict[str, Any]
) -> Iterator[tuple[str, Mapping[str, str]]]:
    """How the program gets to the very server of the connection, of all that an address names."""
    info = connection.info
    told |= {"host": info.host, "hostaddr": info.hostaddr, "port": info.port}
    told |= {"password": info.password}
    if not connection.pgconn.ssl_in_use or client_programs.speaks_tls(program):
        yield client_programs.apart(_conninfo(told))
        return
    with tls_relay.relayed(connection) as relay:
        plain = {name: one for name, one in told.items() if not _is_of_the_way(f"PG{name}")}
        plain |= {"host": str(relay.folder), "port": tls_relay.PORT, "sslmode": "disable"}
        address, environment = client_programs.apart(_conninfo(plain))
        try:
            yield (
                address,
                {name: one for name, one in environment.items() if not _is_of_the_way(name)},
            )
        except ClientProgramError as error:
            if relay.trouble is None:
                raise
            raise ClientProgramError(f"{FAILED}: {relay.trouble}.") from error


def _conninfo(told: Mapping[str, Any]) -> str:
    return make_conninfo("", **{name: value for name, value in told.items() if value})


def _is_of_the_way(variable: str) -> bool:
    """Whether a variable of Postgres's library, or an option by its name, is heeded by the relay.

    >>> [_is_of_the_way(name) for name in ("PGSSLROOTCERT", "PGchannel_binding", "PGUSER")]
    [True, True, False]
    """
    name = variable.upper().replace("_", "")
    return name.startswith("PGSSL") or name in {"PGCHANNELBINDING", "PGHOSTADDR", "PGREQUIREPEER"}


def _watched(
    command: Sequence[str],
    environment: Mapping[str, str],
    file: Path,
    asked: Callable[[], Doing],
) -> None:
    """Run the program; end it when neither it nor the server does anything any more."""
    with (
        tempfile.TemporaryFile() as said,
        subprocess.Popen(command, stderr=said, env=environment) as process,  # noqa: S603
    ):
        try:
            _await(process, file, Doubt(asked, 0))
        except BaseException:
            process.kill()
            raise
        if process.returncode:
            said.seek(0)
            raise ClientProgramError(f"{FAILED}: {client_programs.complaint(said.read())}.")


def _await(process: subprocess.Popen[bytes], file: Path, doubt: Doubt) -> None:
    done, since = (0, 0.0), time.monotonic()
    while process.poll() is None:
        time.sleep(LOOK_SECONDS)
        if (now := _progress(process.pid, file)) != done:
            done, since = now, time.monotonic()
        if doubt.confirmed(silent := time.monotonic() - since):
            raise ClientProgramError(
                f"{FAILED}: the database has been silent for {silent:.0f} s, so see to its server"
                " and to the network between, and try again."
            )


def _progress(process: int, file: Path) -> tuple[int, float]:
    """The bytes that a program has written, and the seconds that it has worked."""
    size = file.stat().st_size if file.exists() else 0
    try:
        spent = psutil.Process(process).cpu_times()
    except psutil.NoSuchProcess:
        return size, 0.0
    return size, spent.user + spent.system
