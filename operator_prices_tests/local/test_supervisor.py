import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from operator_prices.local import processes
from operator_prices.local.processes import Child, Death, Supervisor
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
import sys, threading
from pathlib import Path
from operator_prices.local.processes import *
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


def test_children_start_in_order_when_the_one_before_is_ready(tmp_path: Path) -> None:
    with Supervisor(tmp_path) as supervisor:
        first = f"import time; time.sleep(0.3); print('up', flush=True); {SLEEP}"
        supervisor.start(child(tmp_path, first, name="first", ready=says(tmp_path, "first")))
        assert says(tmp_path, "first")()
        supervisor.start(child(tmp_path, SLEEP, name="second"))
        until_running(tmp_path, 2)
    assert running(tmp_path) == []


def test_a_child_that_dies_before_it_is_ready_is_an_error_with_its_last_word(
    tmp_path: Path,
) -> None:
    code = "import sys; print('first'); sys.exit('no such chain')"
    said = rf"child ended with exit code 1 \(no such chain\); see its log {tmp_path}/child\.log\."
    with pytest.raises(processes.ChildError, match=said), Supervisor(tmp_path) as supervisor:
        supervisor.start(child(tmp_path, code, ready=lambda: False))


def test_a_child_that_is_never_ready_is_an_error(tmp_path: Path) -> None:
    with (
        pytest.raises(processes.ChildError, match=r"child is not ready after 0\.1 s; see its log"),
        Supervisor(tmp_path) as supervisor,
    ):
        supervisor.start(child(tmp_path, SLEEP, ready=lambda: False, patience=0.1))
    assert running(tmp_path) == []


def test_a_program_that_does_not_exist_is_an_error(tmp_path: Path) -> None:
    absent = Child(name="ghost", argv=["no-such-program"], log=tmp_path / "log")
    with (
        pytest.raises(processes.ChildError, match="there is no program no-such-program"),
        Supervisor(tmp_path) as supervisor,
    ):
        supervisor.start(absent)


def test_a_child_has_its_environment_and_its_output_in_a_log(tmp_path: Path) -> None:
    code = "import os, sys; print(os.environ['GREETING']); print('err', file=sys.stderr)"
    for greeting in ("hello", "good day"):
        with Supervisor(tmp_path) as supervisor:
            supervisor.start(child(tmp_path, f"{code}; {SLEEP}", env={"GREETING": greeting}))
            until(says(tmp_path, what="err"))
    assert (tmp_path / "child.log").read_text() == "good day\nerr\n"
    assert (tmp_path / "child.log.1").read_text() == "hello\nerr\n"


def test_the_dead_are_started_again_with_growing_pauses(tmp_path: Path) -> None:
    deaths: list[Death] = []
    stop = threading.Event()

    def note(death: Death) -> None:
        deaths.append(death)
        if len(deaths) == 4:
            stop.set()

    with Supervisor(
        tmp_path, on_death=note, first_pause=0.02, longest_pause=0.05, stable=60
    ) as supervisor:
        supervisor.start(child(tmp_path, "print('once more'); raise SystemExit(3)"))
        supervisor.run_until(stop)

    assert [death.pause for death in deaths] == [0.02, 0.04, 0.05, 0.05]
    assert str(deaths[0]).startswith("child ended with exit code 3; starting it again in 0.02 s")
    assert (tmp_path / "child.log").read_text() == "once more\n" * 4


def test_what_a_child_is_started_with_may_be_asked_anew(tmp_path: Path) -> None:
    starts = 0

    def argv() -> list[str]:
        nonlocal starts
        starts += 1
        return [sys.executable, "-c", f"print('start {starts}', flush=True); {SLEEP}"]

    with Supervisor(tmp_path, first_pause=0.1) as supervisor:
        supervisor.start(Child(name="child", argv=argv, log=tmp_path / "child.log"))
        until(says(tmp_path, what="start 1"))
        supervisor._running[0].process.kill()  # noqa: SLF001
        until(says(tmp_path, what="start 2"), supervisor)


def test_a_death_after_a_stable_life_is_a_first_one(tmp_path: Path) -> None:
    deaths: list[Death] = []
    with Supervisor(tmp_path, on_death=deaths.append, first_pause=0.01, stable=0) as supervisor:
        supervisor.start(child(tmp_path, SLEEP))
        for life in range(3):
            until_running(tmp_path, 1, supervisor)[0].kill()
            until(lambda life=life: len(deaths) > life, supervisor)  # type: ignore[misc]
    assert [(death.code, death.pause) for death in deaths] == [(-9, 0.01)] * 3
    assert "was ended by SIGKILL" in str(deaths[0])


def test_what_a_dead_child_left_in_its_session_ends_before_it_is_started_again(
    tmp_path: Path,
) -> None:
    with Supervisor(tmp_path, first_pause=0.01, grace=0.2) as supervisor:
        supervisor.start(child(tmp_path, PARENT, ready=says(tmp_path)))
        leader, *others = until_running(tmp_path, 3)
        (stubborn,) = [one for one in others if os.getsid(one.pid) == leader.pid]
        leader.kill()
        until(lambda: stubborn not in running(tmp_path), supervisor)
    assert running(tmp_path) == []


def test_nothing_outlives_the_supervisor_however_stubborn_or_distant(tmp_path: Path) -> None:
    with Supervisor(tmp_path, grace=0.2) as supervisor:
        supervisor.start(child(tmp_path, PARENT, name="parent", ready=says(tmp_path, "parent")))
        supervisor.start(child(tmp_path, STUBBORN, name="deaf", ready=says(tmp_path, "deaf")))
        until_running(tmp_path, 4)
    assert running(tmp_path) == []


def test_children_are_stopped_last_started_first(tmp_path: Path) -> None:
    code = f"""
import pathlib, signal, sys
def leave(*_):
    with pathlib.Path({str(tmp_path / "order")!r}).open("a") as order:
        order.write(sys.argv[1])
    sys.exit()
signal.signal(signal.SIGTERM, leave)
print("up")
{SLEEP}
"""
    with Supervisor(tmp_path) as supervisor:
        for name in "abc":
            log = tmp_path / f"{name}.log"
            argv = [sys.executable, "-u", "-c", code, name, str(tmp_path)]
            supervisor.start(Child(name=name, argv=argv, log=log, ready=says(tmp_path, name)))
    assert (tmp_path / "order").read_text() == "cba"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_even_when_it_comes_twice_stops_everything(
    tmp_path: Path, number: signal.Signals
) -> None:
    with up(tmp_path, PARENT, STUBBORN) as process:
        os.killpg(process.pid, number)  # as a terminal does
        os.killpg(process.pid, number)
        time.sleep(0.5)
        process.send_signal(signal.SIGTERM)
        said, _ = process.communicate(timeout=20)
    assert (said, process.returncode) == (f"{number.name}\n", 0)
    assert running(tmp_path) == []


def test_what_a_killed_up_left_is_ended_by_the_next(tmp_path: Path) -> None:
    with up(tmp_path, f"print('up'); {SLEEP}", PARENT) as process:
        until_running(tmp_path, 4)
        process.kill()
    if sys.platform == "linux":  # the children die with their parent, but not their own
        until_running(tmp_path, 2)

    with processes.lock(tmp_path):
        left = processes.reap_leftovers(tmp_path, grace=0.2)
    assert all("python" in name for name in left)
    assert running(tmp_path) == []
    assert processes.reap_leftovers(tmp_path) == []


def test_nohup_is_heeded() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with processes.stoppable():
            os.kill(os.getpid(), signal.SIGHUP)
            assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_data_directory_has_one_up_at_a_time(tmp_path: Path) -> None:
    with up(tmp_path) as process:
        said = rf"Another operator-prices \(pid {process.pid}\) is using the data directory"
        with pytest.raises(processes.DataDirError, match=said), processes.lock(tmp_path):
            pass
        process.kill()
    with processes.lock(tmp_path):
        pass


def test_a_data_directory_that_cannot_be_one_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(processes.DataDirError, match=r"cannot be used .*; set another DATA_DIR"),
        processes.lock(tmp_path / "file"),
    ):
        pass
