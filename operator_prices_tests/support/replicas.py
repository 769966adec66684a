"""A second server with the same data: a streaming replica, which a test may promote."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from psycopg.conninfo import make_conninfo

from operator_prices.local.postgres import embedded
from operator_prices.local.postgres.owners import location, make_room, system_user
from operator_prices.local.postgres.programs import run_as_owner


@contextmanager
def replica(folder: Path, primary: str) -> Iterator[str]:
    """The same database on a server that follows the primary's until it is promoted."""
    folder.mkdir()
    cluster = location(folder)
    make_room(cluster)
    cluster.mkdir(0o700)
    if os.geteuid() == 0:
        os.chown(cluster, system_user().pw_uid, system_user().pw_gid)
    copied = run_as_owner(
        cluster,
        "pg_basebackup",
        *("--dbname", make_conninfo(primary), "--pgdata", str(cluster)),
        *("--checkpoint=fast", "--write-recovery-conf"),
    )
    assert copied.returncode == 0, copied.stderr
    with embedded.server(folder) as dsn:
        yield dsn
    embedded.remove(folder)


def promote(replica: str) -> None:
    """Have a replica take writes from here on, whatever becomes of its primary."""
    with psycopg.connect(replica, autocommit=True) as connection:
        assert connection.execute("SELECT pg_promote()").fetchone() == (True,)
