"""The embedded Postgres: one cluster per data directory, run for as long as anyone uses it."""

import fcntl
import os
import shlex
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

from operator_prices.local.postgres import owners
from operator_prices.local.postgres.errors import EmbeddedPostgresError, explained, failure
from operator_prices.local.postgres.owners import (
    location,
    lock_file,
    locked,
    make_room,
    system_user,
)
from operator_prices.local.postgres.postmaster import (
    SOCKET,
    end_orphans,
    running_postmaster,
    sockets_folder,
    survivors,
)
from operator_prices.local.postgres.programs import MAJOR, run_as_owner

START_SECONDS = 300
"""Enough to recover from a crash, which replays up to a gigabyte of log before it answers."""

STOP_SECONDS = 60

NO_CONNECTION = 2
"""What `psql` exits with when it gets no connection, or loses it."""

LARGEST_LOG = 16 * 2**20
"""Bytes of the server's log that a start still appends to."""

CREATE = r"""
SELECT format('CREATE DATABASE %I', :'name')
 WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = :'name') \gexec
"""


@contextmanager
def server(data_dir: Path, *, database: str = "operator_prices") -> Iterator[str]:
    """The URL of `database` on the data directory's own server, which its last user stops.

    Server and database are made if missing. Users are counted by locks, which the kernel takes from
    the dead, so a process that was killed does not keep the server alive for ever.
    """
    with explained(data_dir):
        data_dir.mkdir(parents=True, exist_ok=True)
        cluster = location(data_dir)
        make_room(cluster)
        use = lock_file(cluster.with_suffix(".users"))
    try:
        with explained(data_dir), locked(cluster.with_suffix(".lock")) as change:
            fcntl.flock(use, fcntl.LOCK_SH)
            try:
                _initialise(cluster, change)
                sockets = _start(cluster, database)
            except BaseException:
                _leave(cluster, use, change)
                raise
        try:
            yield _url(sockets, database)
        finally:
            with locked(cluster.with_suffix(".lock")) as change:
                _leave(cluster, use, change)
    finally:
        os.close(use)


def revive(data_dir: Path, *, database: str = "operator_prices") -> bool:
    """Start the server again if it has ended under its users; whether it had."""
    cluster = location(data_dir)
    if running_postmaster(cluster) is not None:
        return False
    with explained(data_dir), locked(cluster.with_suffix(".lock")):
        _start(cluster, database)
    return True


def remove(data_dir: Path) -> None:
    """Stop the server, whoever uses it, and delete its data."""
    cluster = location(data_dir)
    if not cluster.parent.exists():
        return
    with explained(data_dir), locked(cluster.with_suffix(".lock")) as change:
        if cluster.exists():
            _stop(cluster, change)
            shutil.rmtree(cluster)
        for kind in (".users", ".lock"):
            cluster.with_suffix(kind).unlink(missing_ok=True)
        if owners.SYSTEM_FOLDER in cluster.parents:
            cluster.parent.rmdir()


def _initialise(cluster: Path, lock: int) -> None:
    """Make the cluster if there is none, under another name until it is whole."""
    if set(str(cluster)) & set('"$`\\'):  # pg_ctl hands the path to a shell, between quotes
        raise EmbeddedPostgresError(
            f"Postgres cannot be started in {cluster}, whose path has one of the characters"
            ' " $ ` \\ in it; set another DATA_DIR.'
        )
    if cluster.exists():
        if (cluster / "global" / "pg_control").exists():
            _require_version(cluster)
            return
        if any(cluster.iterdir()):
            raise EmbeddedPostgresError(
                f"{cluster} is not a whole Postgres cluster; move it away, or set another DATA_DIR."
            )
    end_orphans(cluster)
    for remains in cluster.parent.glob(f"{cluster.name}.new-*"):
        shutil.rmtree(remains)
    fresh = Path(tempfile.mkdtemp(prefix=f"{cluster.name}.new-", dir=cluster.parent))
    if os.geteuid() == 0:
        owner = system_user()
        os.chown(fresh, owner.pw_uid, owner.pw_gid)
    made = run_as_owner(
        fresh,
        "initdb",
        *("--pgdata", str(fresh), "--username=postgres", "--encoding=UTF8", "--no-instructions"),
        *("--auth-local=trust", "--auth-host=reject"),  # the sockets' folder admits the owner only
        *("--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"),
        "--set=max_connections=200",  # every process of Dagster keeps a few
        keeping=(lock,),  # if we are killed, nobody starts anew before it has ended
    )
    if made.returncode:
        shutil.rmtree(fresh)
        raise failure(cluster, "could not be created", made.stderr)
    fresh.rename(cluster)


def _require_version(cluster: Path) -> None:
    found = (cluster / "PG_VERSION").read_text().strip()
    if found != str(MAJOR):
        raise EmbeddedPostgresError(
            f"The data in {cluster} was written by Postgres {found}, and this is Postgres {MAJOR};"
            f" dump it with {found} and restore it here, or set another DATA_DIR."
        )


def _start(cluster: Path, database: str) -> Path:
    """Have the server running, with `database` on it; return the folder of its socket."""
    begun = time.monotonic()
    while True:
        postmaster = running_postmaster(cluster)
        if postmaster is not None and postmaster.status == "ready":
            made = _create(cluster, postmaster.sockets, database)
            if made.returncode == 0:
                return postmaster.sockets
            # A server that was told to stop calls itself ready until it has listened.
            if made.returncode != NO_CONNECTION or time.monotonic() - begun > STOP_SECONDS:
                raise failure(cluster, f"could not create the database {database}", made.stderr)
        if time.monotonic() - begun > START_SECONDS:
            raise failure(cluster, f"is not ready after {START_SECONDS} s; try again later")
        if postmaster is None and not survivors(cluster):
            _launch(cluster)
        else:
            time.sleep(0.1)


def _launch(cluster: Path) -> None:
    """Start the server, which does not run.

    The number that a killed one left in its files may be a stranger's, as after a power failure, or
    a zombie's, where nobody reaps the dead: Postgres would refuse to start beside either.
    """
    for left in ("postmaster.pid", SOCKET, f"{SOCKET}.lock"):
        (cluster / left).unlink(missing_ok=True)
    log = cluster / "server.log"
    if log.exists() and log.stat().st_size > LARGEST_LOG:
        log.replace(log.with_suffix(".log.1"))
    known = log.stat().st_size if log.exists() else 0
    sockets = sockets_folder(cluster)
    options = ["-p", "5432", "--listen_addresses=", f"--unix_socket_directories={sockets}"]
    started = run_as_owner(
        cluster,
        "pg_ctl",
        *("start", "--wait", f"--timeout={START_SECONDS}", "--pgdata", str(cluster)),
        *("--log", str(log), "--options", shlex.join(options)),
    )
    if started.returncode:
        said = started.stderr
        if log.exists():
            with log.open("rb") as lines:
                lines.seek(known)
                said += lines.read().decode(errors="replace")
        if running_postmaster(cluster) is None and sockets != cluster:
            sockets.rmdir()
        raise failure(cluster, "does not start", said)


def _create(cluster: Path, sockets: Path, database: str) -> subprocess.CompletedProcess[str]:
    # psql and not psycopg: this module hands out a URL and owns no connection.
    return run_as_owner(
        cluster,
        "psql",
        *("--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", f"--set=name={database}"),
        *("--host", str(sockets), "--port=5432", "--username=postgres", "--dbname=postgres"),
        told=CREATE,
    )


def _url(sockets: Path, database: str) -> str:
    url = f"postgresql://postgres:@/{quote(database, safe='')}?host={quote(str(sockets))}"
    # The client library would take another port from the environment.
    return f"{url}&port=5432" if "PGPORT" in os.environ else url


def _leave(cluster: Path, use: int, lock: int) -> None:
    """Give up this use of the server; stop it if that was the last."""
    fcntl.flock(use, fcntl.LOCK_UN)
    with suppress(BlockingIOError):
        fcntl.flock(use, fcntl.LOCK_EX | fcntl.LOCK_NB)
        _stop(cluster, lock)


def _stop(cluster: Path, lock: int) -> None:
    """Disconnect everyone and stop; what does not stop in time recovers at the next start."""
    for mode in ("fast", "immediate"):
        postmaster = running_postmaster(cluster)
        if postmaster is None:
            return
        stopped = run_as_owner(
            cluster,
            "pg_ctl",
            *("stop", f"--mode={mode}", "--wait", f"--timeout={STOP_SECONDS}"),
            *("--pgdata", str(cluster)),
            keeping=(lock,),  # if we are killed, nobody starts anew before it has ended
        )
        if stopped.returncode == 0 and postmaster.sockets != cluster:
            shutil.rmtree(postmaster.sockets, ignore_errors=True)
    if running_postmaster(cluster) is not None:
        raise failure(cluster, "does not stop", stopped.stderr)
