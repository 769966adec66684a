"""Children that are stubborn, or have children of their own, and whole `up`s of them."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil

from operator_prices.local.supervisor import Child, Supervisor
from operator_prices.settings import PROJECT

SLEEP = "import time; time.sleep(60)"
STUBBORN = f"""
import signal
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("up", flush=True)
{SLEEP}
"""
PARENT = f"""
import subprocess, sys
def start(code, **options):
    subprocess.Popen([sys.executable, "-c", code, sys.argv[1]], **options)
start({STUBBORN!r})
start({SLEEP!r}, start_new_session=True)
print("up", flush=True)
{SLEEP}
"""
"""Has a stubborn child in its session, and one that has left it."""

UP = """
import signal, sys, threading
from pathlib import Path
from operator_prices.local.leftovers import lock
from operator_prices.local.supervisor import Child, Supervisor
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # whatever the tests were started under
folder = Path(sys.argv[1])
try:
    with lock(folder), Supervisor(folder, grace=1) as supervisor:
        for number, code in enumerate(sys.argv[2:]):
            log = folder / f"{number}.log"
            child = [sys.executable, "-u", "-c", code, str(folder)]
            ready = lambda: "up" in log.read_text()
            supervisor.start(Child(name=f"child {number}", argv=child, log=log, ready=ready))
        print("up", flush=True)
        supervisor.run_until(threading.Event())
except KeyboardInterrupt as signal:
    print(signal, flush=True)
"""


def child(folder: Path, code: str, *, name: str = "child", **options: object) -> Child:
    options = {"ready": lambda: True, **options}
    argv = [sys.executable, "-u", "-c", code, str(folder)]
    return Child(name=name, argv=argv, log=folder / f"{name}.log", **options)  # type: ignore[arg-type]


def says(folder: Path, name: str = "child", what: str = "up") -> Callable[[], bool]:
    return lambda: what in (folder / f"{name}.log").read_text()


def running(folder: Path) -> list[psutil.Process]:
    """Ours all end their command line with the folder; oldest first."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.cmdline()[-1:] == [str(folder)]:  # a zombie has none
                found.append(process)
    return sorted(found, key=psutil.Process.create_time)


def until(fact: Callable[[], object], supervisor: Supervisor | None = None) -> None:
    deadline = time.monotonic() + 20
    while not fact():
        assert time.monotonic() < deadline
        if supervisor is not None:
            supervisor.look()
        time.sleep(0.02)


def until_running(
    folder: Path, number: int, supervisor: Supervisor | None = None
) -> list[psutil.Process]:
    """As many of ours as there shall be, in one look: while it execs, one has no command line."""
    looks: list[list[psutil.Process]] = []

    def enough() -> bool:
        looks.append(running(folder))
        return len(looks[-1]) == number

    until(enough, supervisor)
    return looks[-1]


def up(folder: Path, *codes: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", UP, str(folder), *codes],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
        start_new_session=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    return process
