"""Whose a cluster is: where it lies, who may run it, and the locks that several users take."""

import fcntl
import hashlib
import os
import pwd
import re
import shlex
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypedDict

from operator_prices.local.postgres.errors import EmbeddedPostgresError, user_name

SYSTEM_FOLDER = Path("/var/lib/operator-prices")
"""Where root's server finds what would otherwise lie behind a closed door."""

SYSTEM_USER = "operator-prices"
"""Whom root runs the server as: Postgres refuses to be root."""


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
    return outside if outside.exists() or closed_to_others(data_dir) else inside


def closed_to_others(path: Path) -> bool:
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


def make_room(cluster: Path) -> None:
    """Make the system's folders, open whatever root's umask says."""
    for folder in (SYSTEM_FOLDER, cluster.parent):
        if SYSTEM_FOLDER in cluster.parents and not folder.exists():
            folder.mkdir(parents=True, exist_ok=True)
            folder.chmod(0o755)


@contextmanager
def system_locked() -> Iterator[None]:
    """Keep others out while what all of root's clusters share is made."""
    make_room(SYSTEM_FOLDER / "any")
    with locked(SYSTEM_FOLDER / ".lock"):
        yield


class Identity(TypedDict, total=False):
    user: int
    group: int
    extra_groups: list[int]


def identity(cluster: Path) -> Identity:
    """How to become the owner of the cluster, who alone may run it."""
    owner = cluster.stat()
    if owner.st_uid == os.geteuid() != 0:
        return {}
    if os.geteuid() != 0 or owner.st_uid == 0:
        raise EmbeddedPostgresError(
            f"The Postgres data in {cluster} belongs to {user_name(owner.st_uid)}, and"
            f" {user_name(os.geteuid())} cannot run it;"
            + (f" chown -R it to {SYSTEM_USER}." if owner.st_uid == 0 else " set another DATA_DIR.")
        )
    return {"user": owner.st_uid, "group": owner.st_gid, "extra_groups": []}


def system_user() -> pwd.struct_passwd:
    """The account that root's clusters belong to, made if missing."""
    with suppress(KeyError):
        return pwd.getpwnam(SYSTEM_USER)
    with system_locked():
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


@contextmanager
def locked(file: Path) -> Iterator[int]:
    handle = lock_file(file)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield handle
    finally:
        os.close(handle)


def lock_file(lock: Path) -> int:
    """For reading, so that one user can lock what another created."""
    return os.open(lock, os.O_RDONLY | os.O_CREAT, 0o644)
