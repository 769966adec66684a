"""Containers without Docker: an image in namespaces of its own, run as its config says."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import psutil

ENTER = """
root=$1; shift
mount --bind "$root" "$root"
mount -o remount,bind,ro "$root"
mount -t tmpfs tmpfs "$root/tmp"
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
while [ "$1" != -- ]; do mount --bind "$1" "$root$2"; shift 2; done
shift
exec chroot --userspec="$USERSPEC" "$root" "$@"
"""
"""As a runtime does: a root that cannot be written to, a /tmp that can, volumes, another user."""

ASK = "import sys; from urllib.request import urlopen; print(urlopen(sys.argv[1]).read().decode())"


def check_output(*command: object) -> str:
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout.strip()


@dataclass(frozen=True)
class Image:
    root: Path
    """Its file system."""
    config: Mapping[str, Any]

    @property
    def size(self) -> int:
        """Bytes of all its files."""
        there = (path.lstat() for path in self.root.rglob("*") if path.is_file())
        files = {(stat.st_dev, stat.st_ino): stat.st_size for stat in there}
        return sum(files.values())

    def environment(self, **more: str) -> dict[str, str]:
        return dict(text.split("=", 1) for text in self.config["Env"]) | more


@contextmanager
def mounted(name: str) -> Iterator[Image]:
    """The image of that name that buildah has."""
    told = json.loads(check_output("buildah", "inspect", "--type", "image", name))
    container = check_output("buildah", "from", "--pull-never", name)
    try:
        root = Path(check_output("buildah", "mount", container))
        yield Image(root, told["Docker"]["config"])
    finally:
        check_output("buildah", "rm", container)


@dataclass
class Container:
    name: str
    process: subprocess.Popen[bytes]
    log: Path
    image: Image
    env: Mapping[str, str]

    @property
    def init(self) -> psutil.Process:
        """Its process 1, as the host sees it."""
        return psutil.Process(self.process.pid).children()[0]

    @property
    def said(self) -> str:
        return self.log.read_text(errors="replace")

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """A command in it, as its user."""
        user, group = self.image.config["User"].split(":")
        entered = ["nsenter", f"--target={self.init.pid}"]
        entered += ["--mount", "--pid", "--net", "--root", "--wd"]
        entered += [f"--setuid={user}", f"--setgid={group}", "--", *command]
        return subprocess.run(
            entered, env=dict(self.env), capture_output=True, text=True, check=False
        )

    def healthy(self) -> bool:
        """What the image's HEALTHCHECK says."""
        kind, *command = self.image.config["Healthcheck"]["Test"]
        assert kind == "CMD"
        begun = psutil.Process(self.process.pid).children()
        return bool(begun) and self.run(*command).returncode == 0

    def until_healthy(self, seconds: float = 180) -> None:
        until = time.monotonic() + seconds
        while self.process.poll() is not None or not self.healthy():
            assert self.process.poll() is None, f"{self.name} ended: {self.said[-3000:]}"
            assert time.monotonic() < until, f"{self.name} is not healthy: {self.said[-3000:]}"
            time.sleep(2)

    def stop(self) -> int:
        """End it as `docker stop` does; returns its exit code."""
        if self.process.poll() is None:
            with suppress(psutil.Error, IndexError):
                self.init.send_signal(signal.SIGTERM)
        return self.process.wait(60)

    def pss(self) -> int:
        """Bytes that its processes hold, what they share counted in parts."""
        total = 0
        for process in [self.init, *self.init.children(recursive=True)]:
            with suppress(psutil.Error):
                total += process.memory_full_info().pss
        return total


@dataclass
class Pod:
    """A network namespace, with a loopback interface alone, and the containers in it."""

    image: Image
    folder: Path
    name: str = field(default_factory=lambda: f"op-{uuid4().hex[:8]}")
    containers: list[Container] = field(default_factory=list)

    @property
    def inside(self) -> tuple[str, ...]:
        return "ip", "netns", "exec", self.name

    def get(self, url: str) -> str:
        return check_output(*self.inside, sys.executable, "-c", ASK, url)

    def start(
        self,
        *command: str,
        env: Mapping[str, str] | None = None,
        volumes: Mapping[Path, str] | None = None,
    ) -> Container:
        """A container of the image with that command."""
        image = self.image
        known = image.environment(**(env or {}))
        user, group = image.config["User"].split(":")
        binds: list[str] = []
        for source, target in (volumes or {}).items():
            source.mkdir(parents=True, exist_ok=True)
            os.chown(source, int(user), int(group))
            binds += [str(source), target]
        log = self.folder / f"{len(self.containers)}-{command[0]}.log"
        argv = [*self.inside, "unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-euc"]
        argv += [ENTER, "sh", str(image.root), *binds, "--"]
        argv += ["env", "-i", f"--chdir={image.config['WorkingDir']}"]
        argv += [f"{name}={value}" for name, value in known.items()]
        argv += [*image.config["Entrypoint"], *command]
        with log.open("wb") as said:
            process = subprocess.Popen(
                argv,
                stdout=said,
                stderr=said,
                stdin=subprocess.DEVNULL,
                env={**os.environ, "USERSPEC": f"{user}:{group}"},
            )
        container = Container(command[0], process, log, image, known)
        self.containers.append(container)
        return container

    def command(
        self,
        *command: str,
        env: Mapping[str, str] | None = None,
        volumes: Mapping[Path, str] | None = None,
    ) -> tuple[int, str]:
        """The exit code and the words of a container that ends by itself."""
        container = self.start(*command, env=env, volumes=volumes)
        return container.process.wait(600), container.said


@contextmanager
def pod(image: Image, folder: Path) -> Iterator[Pod]:
    one = Pod(image, folder)
    check_output("ip", "netns", "add", one.name)
    try:
        check_output("ip", "-n", one.name, "link", "set", "lo", "up")
        yield one
    finally:
        for container in reversed(one.containers):
            if container.process.poll() is None:
                container.process.kill()  # and with it, all that is in it
                container.process.wait()
        check_output("ip", "netns", "delete", one.name)
