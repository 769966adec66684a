"""What several hosts share: a Postgres and a broker, at an address that all of them reach."""

import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from operator_prices.local.postgres import embedded, owners, programs
from operator_prices_tests.support.live import until

REDIS = shutil.which("redis-server")


@dataclass(eq=False, slots=True)
class Centre:
    """What the hosts share: a Postgres and a broker, at one address."""

    address: str
    cluster: Path
    broker_process: subprocess.Popen[bytes] | None = None

    @property
    def dsn(self) -> str:
        return f"postgresql://postgres@{self.address}:5432/operator_prices"

    @property
    def broker(self) -> str:
        return f"redis://{self.address}:6379"

    def start_postgres(self) -> None:
        options = f"-p 5432 --listen_addresses={self.address} --unix_socket_directories="
        self._control("start", "--log", str(self.cluster / "server.log"), "--options", options)

    def stop_postgres(self) -> None:
        self._control("stop", "--mode=fast")

    def start_broker(self) -> None:
        self.broker_process = subprocess.Popen(
            [
                *(str(REDIS), "--bind", self.address, "--port", "6379"),
                *("--protected-mode", "no", "--save", "", "--dir", str(self.cluster.parent)),
            ],
            stdout=subprocess.DEVNULL,
        )
        until(lambda: listens(self.address, 6379), 20)

    def stop_broker(self) -> None:
        if self.broker_process is not None:
            self.broker_process.terminate()
            self.broker_process.wait(timeout=20)
            self.broker_process = None

    def _control(self, what: str, *arguments: str) -> None:
        done = programs.run_as_owner(
            self.cluster, "pg_ctl", what, "--wait", "--pgdata", str(self.cluster), *arguments
        )
        assert done.returncode == 0, done.stderr


def listens(address: str, port: int) -> bool:
    with suppress(OSError), socket.create_connection((address, port), timeout=1):
        return True
    return False


@contextmanager
def centre(address: str) -> Iterator[Centre]:
    """A Postgres with a database and a broker, that whoever reaches the address may use."""
    with TemporaryDirectory(prefix="centre-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o755)
        with embedded.server(folder, database="operator_prices"):
            cluster = owners.location(folder)
        with (cluster / "pg_hba.conf").open("a") as rules:
            rules.write(f"host all all {address}/24 trust\n")
        with (cluster / "postgresql.conf").open("a") as options:
            options.write("fsync = off\n")
        shared = Centre(address, cluster)
        shared.start_postgres()
        shared.start_broker()
        try:
            yield shared
        finally:
            shared.stop_broker()
            shared.stop_postgres()
            embedded.remove(folder)
