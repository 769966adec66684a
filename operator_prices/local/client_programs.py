"""Postgres's client programs: the one that fits a server, how it is run, and why it failed."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from subprocess import PIPE
from typing import IO

from psycopg.conninfo import conninfo_to_dict, make_conninfo

from operator_prices.errors import ExplainedError
from operator_prices.local.postgres import programs

DEBIAN = Path("/usr/lib/postgresql")
"""Where Debian keeps the programs of each version."""


class ClientProgramError(ExplainedError):
    """A program of Postgres that is missing or failed."""


def fitting(name: str, server: int) -> Path:
    """The program of the server's own version if it is installed, else one that is newer."""
    versions = _versions(name)
    for candidate, version in versions.items():
        if version == server:
            return candidate
    newer = [candidate for candidate, version in versions.items() if version > server]
    if newer:
        return newer[-1]
    raise ClientProgramError(
        f"The server is Postgres {server} and no {name} here is as new: install the client"
        f" programs of Postgres {server} and put them on PATH."
    )


def newest(name: str) -> Path:
    """The newest program of that name: it reads what all earlier ones wrote."""
    versions = _versions(name)
    return max(versions, key=versions.__getitem__)


@cache
def speaks_tls(program: str) -> bool:
    """Whether a program was built with TLS; the package of the embedded server has none with it."""
    nowhere = "host=/nowhere sslmode=require"
    done = subprocess.run(  # noqa: S603
        [program, nowhere], capture_output=True, check=False, env=plain_environment()
    )
    return b"not compiled in" not in done.stderr


def _versions(name: str) -> dict[Path, int]:
    folders = [*sorted(DEBIAN.glob("*/bin")), os.environ.get("PATH", os.defpath)]
    found = [Path(there) for place in folders if (there := shutil.which(name, path=str(place)))]
    return {candidate: _version(candidate) for candidate in [*found, programs.binaries() / name]}


def _version(program: Path) -> int:
    said = run([str(program), "--version"], f"{program} does not run").decode()
    found = re.search(r"\(PostgreSQL\) (\d+)", said)
    return int(found[1]) if found else 0


def run(command: Sequence[str], failed: str, environment: Mapping[str, str] | None = None) -> bytes:
    """What the program writes. Raises `ClientProgramError`, which begins with `failed`."""
    done = subprocess.run(  # noqa: S603
        command, capture_output=True, check=False, env=environment or plain_environment()
    )
    if done.returncode:
        raise ClientProgramError(f"{failed}: {complaint(done.stderr)}.")
    return done.stdout


@contextmanager
def running(command: Sequence[str], failed: str) -> Iterator[IO[bytes]]:
    """What the program writes, while it does. Raises `ClientProgramError` in the end if it failed.

    What it complains of is read at the end: little enough for a pipe to hold.
    """
    with subprocess.Popen(  # noqa: S603
        command, stdout=PIPE, stderr=PIPE, env=plain_environment()
    ) as process:
        if process.stdout is None or process.stderr is None:
            raise ClientProgramError(f"{failed}: there are no pipes to {command[0]}.")
        try:
            yield process.stdout
        except BaseException:
            process.kill()
            raise
        said = process.stderr.read()
        if process.wait():
            raise ClientProgramError(f"{failed}: {complaint(said)}.")


def complaint(said: bytes) -> str:
    """The first error that a program speaks of, or the first thing it says."""
    lines = [line.strip() for line in said.decode(errors="replace").splitlines() if line.strip()]
    errors = [line for line in lines if "error" in line.lower()] or lines
    return errors[0].rstrip(".") if errors else "it does not say why"


def apart(dsn: str) -> tuple[str, Mapping[str, str]]:
    """How a program is told of a database: all but the password, which everyone could see there."""
    known = {name: str(value) for name, value in conninfo_to_dict(dsn).items()}
    password = known.pop("password", None)
    secrets = {} if password is None else {"PGPASSWORD": password}
    return make_conninfo("", **known), plain_environment() | secrets


def plain_environment() -> dict[str, str]:
    """Passwords and certificates may come from the environment, messages are in English."""
    return os.environ | {"LC_ALL": "C"}
