"""What keeps the embedded Postgres from running, in one sentence with the fix."""

import errno
import os
import pwd
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from operator_prices.errors import ExplainedError


class EmbeddedPostgresError(ExplainedError):
    """What keeps the embedded Postgres from running."""


def user_name(user: int) -> str:
    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return f"user {user}"


@contextmanager
def explained(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        match error.errno:
            case errno.ENOSPC | errno.EDQUOT:
                fix = "is on a full disk; free some space, or set another DATA_DIR"
            case errno.EACCES | errno.EPERM | errno.EROFS:
                where = error.filename or folder
                fix = f"cannot be used by {user_name(os.geteuid())} ({where}: {error.strerror})"
                fix += "; give it access, or set another DATA_DIR"
            case errno.EEXIST | errno.ENOTDIR:
                fix = "is not a folder; set another DATA_DIR"
            case _:
                raise
        raise EmbeddedPostgresError(f"The data directory {folder} {fix}.") from error


def failure(cluster: Path, fact: str, said: str = "") -> EmbeddedPostgresError:
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
