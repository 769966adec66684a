"""The process of a cluster's server: whether it runs, who outlived it, and its socket's folder."""

import os
import signal
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import psutil

from operator_prices.local.postgres.errors import EmbeddedPostgresError
from operator_prices.local.postgres.owners import closed_to_others

SOCKET = ".s.PGSQL.5432"

LONGEST_SOCKET = 103
"""Bytes in the path of a Unix socket, on the strictest of the systems we run on."""


class Postmaster(NamedTuple):
    process: psutil.Process
    sockets: Path
    status: str


def running_postmaster(cluster: Path) -> Postmaster | None:
    """The running server, if the process that `postmaster.pid` names is one of this cluster."""
    try:
        lines = (cluster / "postmaster.pid").read_text().splitlines()
    except FileNotFoundError:
        return None
    with suppress(psutil.Error, ValueError, IndexError):
        process = psutil.Process(int(lines[0]))
        if _serves(process, cluster):
            status = "".join(lines[7:8]).strip() or "starting"
            return Postmaster(process, Path(lines[4]), status)
    return None


def survivors(cluster: Path) -> bool:
    """Whether a killed server's sessions still live: beside them a new one would spoil the data."""
    return any(_serves(process, cluster) for process in psutil.process_iter())


def _serves(process: psutil.Process, cluster: Path) -> bool:
    """Whether `process` is Postgres at work in `cluster`, which is always its working directory.

    A container may keep even root from seeing that. Then a server tells by its arguments, and of a
    session that lost its server the worst is assumed.
    """
    with suppress(psutil.Error, OSError):
        if "postgres" not in process.name() or process.uids().real != cluster.stat().st_uid:
            return False
        with suppress(psutil.AccessDenied):
            return cluster.samefile(process.cwd())
        command, parent = process.cmdline(), process.parent()
        if "-D" in command:
            return str(cluster) in command
        return parent is None or "postgres" not in parent.name()
    return False


def end_orphans(cluster: Path) -> None:
    """End a server whose data was deleted under it, or it deletes its successor's socket."""
    orphans = [
        process
        for process in psutil.process_iter(["name", "cmdline"])
        if "postgres" in (process.info["name"] or "")
        and str(cluster) in (process.info["cmdline"] or [])
    ]
    for number in (signal.SIGQUIT, signal.SIGKILL):
        for process in orphans:
            with suppress(psutil.NoSuchProcess):
                process.send_signal(number)
        _, orphans = psutil.wait_procs(orphans, timeout=10)


def sockets_folder(cluster: Path) -> Path:
    """The cluster's own folder, or one as private under a plain name where that will not do."""
    if _fits(cluster):
        return cluster
    for short in (Path(tempfile.gettempdir()), Path("/tmp")):  # noqa: S108
        if _fits(short / "operator-prices-12345678") and not (
            os.geteuid() == 0 and closed_to_others(short)
        ):
            folder = Path(tempfile.mkdtemp(prefix="operator-prices-", dir=short))
            owner = cluster.stat()
            os.chown(folder, owner.st_uid, owner.st_gid)
            return folder
    raise EmbeddedPostgresError(
        f"The path {cluster} is too long for a socket; set DATA_DIR or TMPDIR to a shorter one."
    )


def _fits(folder: Path) -> bool:
    """Whether a URL can name a socket there; a comma would separate two."""
    return len(os.fsencode(folder / SOCKET)) <= LONGEST_SOCKET and "," not in str(folder)
