"""The real PgBouncer, in front of a test's server."""

import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from operator_prices.local.ports import free_port

PROGRAM = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")

needs_pgbouncer = pytest.mark.skipif(
    PROGRAM is None and not os.environ.get("REQUIRE_EVERYTHING"),
    reason="there is no pgbouncer: install the package of that name",
)

NOBODY = 65534
"""PgBouncer refuses to be root."""

START_SECONDS = 20


@contextmanager
def pgbouncer(
    dsn: str,
    mode: str,
    *,
    ignored: Sequence[str] = ("extra_float_digits",),
    port: int | None = None,
    size: int = 20,
    reset: str = "DISCARD ALL",
    client_tls: tuple[Path, Path] | None = None,
    client_tls_protocols: str = "secure",
) -> Iterator[str]:
    """The address of `dsn` through a pooler in `mode` (`session` or `transaction`).

    `ignored` are the startup parameters that it drops; one that it neither drops nor tracks, as
    `options`, it refuses. It keeps at most `size` connections to the server, and says `reset` on
    each that a client of a session leaves.
    """
    known = conninfo_to_dict(dsn)
    port = port or free_port()
    with TemporaryDirectory(prefix="pgbouncer-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        server = " ".join(
            f"{key}={known[key]}" for key in ("host", "port") if known.get(key) is not None
        )
        users = {str(known.get("user", "postgres")): str(known.get("password") or "")}
        (folder / "users").write_text("".join(f'"{u}" "{p}"\n' for u, p in users.items()))
        lines = [
            "[databases]",
            f"* = {server}",
            "[pgbouncer]",
            "listen_addr = 127.0.0.1",
            f"listen_port = {port}",
            "unix_socket_dir =",
            "auth_type = trust",
            f"auth_file = {folder / 'users'}",
            f"pool_mode = {mode}",
            f"default_pool_size = {size}",
            "max_client_conn = 500",
            f"ignore_startup_parameters = {', '.join(ignored)}",
            f"server_reset_query = {reset}",
            f"logfile = {folder / 'log'}",
            f"pidfile = {folder / 'pid'}",
        ]
        if client_tls:
            lines += ["client_tls_sslmode = allow"]
            lines += [f"client_tls_protocols = {client_tls_protocols}"]
            for kind, file in zip(("cert", "key"), client_tls, strict=True):
                lines += [f"client_tls_{kind}_file = {shutil.copy(file, folder / kind)}"]
        (folder / "pgbouncer.ini").write_text("\n".join([*lines, ""]))
        who = {}
        if os.geteuid() == 0:
            user = _somebody(str(known.get("host", "")))
            who = {"user": user, "group": user, "extra_groups": []}
            for part in (folder, *folder.iterdir()):
                os.chown(part, user, user)
        with subprocess.Popen(
            [str(PROGRAM), "--quiet", str(folder / "pgbouncer.ini")],
            **who,  # type: ignore[call-overload]
        ) as process:
            try:
                pooled = make_conninfo(dsn, host="127.0.0.1", port=port)
                _wait(process, pooled, folder / "log")
                yield pooled
            finally:
                process.kill()


def _somebody(host: str) -> int:
    """Who may use the server's socket, if that is where it listens, and is not root."""
    owner = Path(host).stat().st_uid if host.startswith("/") else NOBODY
    return owner or NOBODY


def _wait(process: "subprocess.Popen[bytes]", dsn: str, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            psycopg.connect(dsn, connect_timeout=5).close()
        except psycopg.OperationalError as error:
            if process.poll() is not None or time.monotonic() > deadline:
                said = log.read_text() if log.exists() else ""
                raise AssertionError(f"PgBouncer is not ready ({error}): {said}") from error
            time.sleep(0.05)
        else:
            return
