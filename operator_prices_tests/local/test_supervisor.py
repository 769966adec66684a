import os
import sys
import threading
from pathlib import Path

import pytest

from operator_prices.local.leftovers import ChildError
from operator_prices.local.supervisor import Child, Death, Supervisor
from operator_prices_tests.support.children import (
    PARENT,
    SLEEP,
    STUBBORN,
    child,
    running,
    says,
    until,
    until_running,
)


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
    with pytest.raises(ChildError, match=said), Supervisor(tmp_path) as supervisor:
        supervisor.start(child(tmp_path, code, ready=lambda: False))


def test_a_child_that_is_never_ready_is_an_error(tmp_path: Path) -> None:
    with (
        pytest.raises(ChildError, match=r"child is not ready after 0\.1 s; see its log"),
        Supervisor(tmp_path) as supervisor,
    ):
        supervisor.start(child(tmp_path, SLEEP, ready=lambda: False, patience=0.1))
    assert running(tmp_path) == []


def test_a_program_that_does_not_exist_is_an_error(tmp_path: Path) -> None:
    absent = Child(name="ghost", argv=["no-such-program"], log=tmp_path / "log")
    with (
        pytest.raises(ChildError, match="there is no program no-such-program"),
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
