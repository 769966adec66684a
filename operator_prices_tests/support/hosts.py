"""Several hosts on one machine: network namespaces around a Postgres, a broker and a node."""

import os
import shutil
import signal
import subprocess
import sysconfig
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic, sleep
from typing import Any, LiteralString

import psutil
import psycopg
import pytest
import yaml

from operator_prices.settings import PROJECT
from operator_prices.store import migrations
from operator_prices_tests.support.centre import Centre, centre, listens
from operator_prices_tests.support.live import Deployed

DEPLOY = PROJECT / "deploy"

START_SECONDS = 120

LACKING = os.geteuid() != 0 or not all(
    map(shutil.which, ("ip", "unshare", "nsenter", "redis-server"))
)

needs_hosts = pytest.mark.skipif(
    LACKING and not os.environ.get("REQUIRE_EVERYTHING"),
    reason="only root makes hosts, with iproute2, util-linux and redis-server",
)

BOOT = """
hostname "$0"
mount -t tmpfs tmpfs /mnt
mkdir /mnt/home /mnt/data /mnt/tmp /mnt/dagster
cp "$1" /mnt/dagster/dagster.yaml
echo booted
exec sleep infinity
"""
"""What a host does first: all that it will ever write is in its memory, and gone with it."""


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True)  # noqa: S607


@dataclass(eq=False, slots=True)
class Host:
    """A machine with a network card, a folder for home and processes of its own."""

    name: str
    address: str
    namespace: str
    cable: str
    folder: Path
    """Where the instance that it gets is, and where what its parts say is kept, outside of it."""
    settings: dict[str, str]
    booted: subprocess.Popen[str] | None = None
    init: psutil.Process | None = None
    parts: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def boot(self) -> None:
        """Start with nothing but the programs, `deploy/` and a `dagster.yaml`."""
        ip("link", "set", self.cable, "up")
        isolated = ("--mount", "--uts", "--pid", "--fork", "--kill-child", "--mount-proc")
        self.booted = subprocess.Popen(
            [
                *("ip", "netns", "exec", self.namespace, "unshare", *isolated),
                *("sh", "-ec", BOOT, self.name, str(self.folder / "dagster.yaml")),
            ],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.booted.stdout is not None
        assert self.booted.stdout.readline() == "booted\n"
        (self.init,) = psutil.Process(self.booted.pid).children()

    def start(self, role: str, **settings: str) -> subprocess.Popen[bytes]:
        """Be something: a role of the image, as its entry point starts it."""
        assert self.init is not None
        scripts = sysconfig.get_path("scripts")
        with self.log(role).open("ab") as log:
            part = subprocess.Popen(
                [
                    *("nsenter", "--target", str(self.init.pid)),
                    *("--mount", "--uts", "--net", "--pid", "sh", "-c"),
                    *('cd && exec sh "$0" "$@"', str(DEPLOY / "entrypoint.sh"), role),
                ],
                env={
                    "PATH": f"{scripts}:{os.environ['PATH']}",
                    "LC_ALL": "C.UTF-8",
                    "HOME": "/mnt/home",
                    "TMPDIR": "/mnt/tmp",
                    "DATA_DIR": "/mnt/data",
                    "DAGSTER_HOME": "/mnt/dagster",
                    "DAGSTER_EVENT_BATCH_SIZE": "50",
                    "DEPLOY": str(DEPLOY),
                    "CODE_SERVER_HOST": self.address,
                    "CODE_SERVER_LISTEN": self.address,
                    "UI_HOST": self.address,
                    "PYTHONUNBUFFERED": "1",
                    **self.settings,
                    **settings,
                },
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self.parts.append(part)
        return part

    def log(self, role: str) -> Path:
        return self.folder / f"{self.name}.{role}.log"

    def processes(self) -> list[psutil.Process]:
        """All that runs on it, its first process included."""
        assert self.init is not None
        ours = Path(f"/proc/{self.init.pid}/ns/pid").readlink()
        found = []
        for process in psutil.process_iter():
            with suppress(OSError):
                if Path(f"/proc/{process.pid}/ns/pid").readlink() == ours:
                    found.append(process)
        return found

    def freeze(self) -> None:
        for process in self.processes():
            process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Go on, and so those who started it from outside, who stop when it does."""
        self._wake_those_outside()
        for process in self.processes():
            process.send_signal(signal.SIGCONT)

    def die(self) -> None:
        """Lose its power: its lines end without a word, and whatever it ran is gone."""
        ip("link", "set", self.cable, "down")
        self.end()

    def end(self) -> None:
        """Kill the first process, and with it the kernel all others."""
        if self.init is None or self.booted is None:
            return
        self.init.kill()
        self._wake_those_outside()
        self.booted.communicate(timeout=30)
        while self.parts:
            self.parts.pop().wait(timeout=30)
        self.init = self.booted = None

    def _wake_those_outside(self) -> None:
        if self.booted is not None:
            self.booted.send_signal(signal.SIGCONT)
        for part in self.parts:
            part.send_signal(signal.SIGCONT)


@dataclass(eq=False, slots=True)
class Cluster(Deployed):
    """Hosts around a centre; the first has the code server, the web server and the daemon."""

    centre: Centre
    hosts: dict[str, Host] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"http://{self.hosts['h1'].address}:3000"

    def database(self) -> psycopg.Connection:
        return psycopg.connect(self.centre.dsn, autocommit=True)

    def rows(
        self, query: LiteralString, parameters: Sequence[object] = ()
    ) -> list[tuple[Any, ...]]:
        with self.database() as connection:
            return connection.execute(query, parameters).fetchall()

    def at_work(self, host: str) -> list[str]:
        """The runs that give signs of life from a host."""
        known = "SELECT run_id FROM run_signs WHERE given_up_at IS NULL AND host = %s"
        return [run for (run,) in self.rows(known, [host])]

    def successors_at_work(self, lost: list[str], host: str) -> int:
        """How many of the lost runs a host works on again."""
        return len(
            self.rows(
                "SELECT DISTINCT value FROM dagster.run_tags JOIN run_signs USING (run_id)"
                " WHERE key = 'dagster/parent_run_id' AND value = ANY(%s)"
                "   AND given_up_at IS NULL AND host = %s",
                [lost, host],
            )
        )

    def start_code(self) -> None:
        """Start what answers over GraphQL, and wait until it does."""
        first = self.hosts["h1"]
        for role, port in (("code", 4000), ("web", 3000)):
            part, begun = first.start(role), monotonic()
            while not listens(first.address, port):
                assert part.poll() is None, first.log(role).read_text()
                assert monotonic() - begun < START_SECONDS, first.log(role).read_text()
                sleep(0.2)


@contextmanager
def network() -> Iterator[tuple[str, str]]:
    """A switch that is ours alone; its name, and the first three numbers of its addresses."""
    for number in range(1, 255):
        switch = f"prices{number}"
        made = subprocess.run(
            ["ip", "link", "add", switch, "type", "bridge"],  # noqa: S607
            capture_output=True,
            check=False,
        )
        if made.returncode == 0:
            break
    else:
        raise AssertionError("254 networks of tests are left: remove them with `ip link delete`")
    try:
        ip("address", "add", f"10.213.{number}.1/24", "dev", switch)
        ip("link", "set", switch, "up")
        yield switch, f"10.213.{number}"
    finally:
        ip("link", "delete", switch)


@contextmanager
def host(
    switch: str, place: str, number: int, folder: Path, settings: dict[str, str]
) -> Iterator[Host]:
    """A host `h{number}` at the switch, booted."""
    namespace, cable, address = (
        f"{switch}-h{number}",
        f"{switch}v{number}",
        f"{place}.{10 + number}",
    )
    ip("netns", "add", namespace)
    try:
        ip("link", "add", cable, "type", "veth", "peer", "name", "eth0", "netns", namespace)
        ip("link", "set", cable, "master", switch)
        ip("-netns", namespace, "address", "add", f"{address}/24", "dev", "eth0")
        for card in ("eth0", "lo"):
            ip("-netns", namespace, "link", "set", card, "up")
        made = Host(f"h{number}", address, namespace, cable, folder, settings)
        made.boot()
        try:
            yield made
        finally:
            made.end()
            ip("link", "delete", cable)  # the kernel takes its time with a namespace
    finally:
        ip("netns", "delete", namespace)


def instance(runs: int) -> str:
    """The instance for Celery, with limits that let so many runs of a backfill work at once."""
    told = yaml.safe_load((DEPLOY / "dagster.celery.yaml").read_text())
    limits = told["concurrency"]
    limits["runs"]["max_concurrent_runs"] = runs + 1
    (of_backfills,) = limits["runs"]["tag_concurrency_limits"]
    of_backfills["limit"] = limits["pools"]["default_limit"] = runs
    return str(yaml.safe_dump(told))


@contextmanager
def cluster(
    place: tuple[str, str], hosts: int, folder: Path, *, runs: int = 2, **settings: str
) -> Iterator[Cluster]:
    """So many hosts around a migrated database; nothing runs on them yet."""
    switch, addresses = place
    (folder / "dagster.yaml").write_text(instance(runs))
    with ExitStack() as stack:
        shared = stack.enter_context(centre(f"{addresses}.1"))
        migrations.migrate(shared.dsn)
        told = {
            "DATABASE_URL": shared.dsn,
            "CELERY_BROKER": f"{shared.broker}/0",
            "CELERY_BACKEND": f"{shared.broker}/1",
            **settings,
        }
        made = Cluster(shared)
        for number in range(1, hosts + 1):
            one = stack.enter_context(host(switch, addresses, number, folder, told))
            made.hosts[one.name] = one
        yield made
