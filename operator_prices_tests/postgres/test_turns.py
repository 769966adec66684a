"""Threads and processes take turns at connections, and none waits for ever."""

import fcntl
import re
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import sleep

import pytest

from operator_prices.postgres import parts
from operator_prices.postgres.turns import WAITING, NoTurnError, Turns
from operator_prices.settings import PROJECT
from operator_prices_tests.support.live import until


def test_no_more_threads_than_the_share_are_connected_at_a_time(tmp_path: Path) -> None:
    turns, lock, now, most = Turns(tmp_path, 2), threading.Lock(), [0], [0]

    def work(_: int) -> None:
        turn = turns.take()
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        inner = turns.take()
        sleep(0.002)
        turns.give(inner)
        with lock:
            now[0] -= 1
        turns.give(turn)

    with ThreadPoolExecutor(8) as many:
        list(many.map(work, range(80)))
    assert most == [2]


def test_a_turn_can_be_given_back_by_another_thread(tmp_path: Path) -> None:
    turns = Turns(tmp_path, 1, seconds=5)
    turn = turns.take()
    threading.Thread(target=turns.give, args=[turn]).start()
    with ThreadPoolExecutor(1) as other:
        other.submit(lambda: turns.give(turns.take())).result(10)


def test_another_process_waits_too_and_a_dead_one_holds_nothing(tmp_path: Path) -> None:
    program = (
        "import sys, time; from pathlib import Path; from operator_prices.postgres.turns import"
        " Turns; Turns(Path(sys.argv[1]), 1).take(); print('taken', flush=True); time.sleep(60)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "taken\n"
        with pytest.raises(NoTurnError):
            Turns(tmp_path, 1, seconds=0.1).take()
        other.kill()
    Turns(tmp_path, 1, seconds=5).take()


def test_a_turn_that_is_parked_is_taken_until_it_is_resumed_and_given(tmp_path: Path) -> None:
    turns, others = Turns(tmp_path, 1), Turns(tmp_path, 1, seconds=0.05)
    lock = turns.park(turns.take())
    assert lock is not None
    with pytest.raises(NoTurnError):
        others.take()
    with ThreadPoolExecutor(1) as other:  # which thread has it next does not matter
        other.submit(lambda: turns.give(turns.resume(lock))).result(10)
    others.give(others.take())


def test_of_two_connections_of_a_thread_the_last_one_parks_the_turn(tmp_path: Path) -> None:
    turns = Turns(tmp_path, 1)
    first, second = turns.take(), turns.take()
    assert turns.park(second) is None
    assert turns.park(first) is not None


def test_it_is_seen_that_somebody_waits(tmp_path: Path) -> None:
    turns, others = Turns(tmp_path, 1), Turns(tmp_path, 1, seconds=10)
    turn = turns.take()
    assert not turns.awaited()
    with ThreadPoolExecutor(1) as other:
        waiting = other.submit(others.take)
        until(turns.awaited, 10)
        turns.give(turn)
        waiting.result(10)
    assert not turns.awaited()


def test_who_waits_does_so_though_somebody_looks_on_end(tmp_path: Path) -> None:
    """As a process that was stopped between looking and letting go."""
    turns, others = Turns(tmp_path, 1), Turns(tmp_path, 1, seconds=0.1)
    held = turns.take()
    with (tmp_path / WAITING).open("w") as looking:
        fcntl.flock(looking, fcntl.LOCK_EX)
        with pytest.raises(NoTurnError):
            others.take()
        turns.give(held)
        others.give(others.take())


def test_where_the_folder_is_gone_nobody_waits(tmp_path: Path) -> None:
    assert not Turns(tmp_path / "gone", 1).awaited()


def test_who_waits_too_long_is_told_for_what(tmp_path: Path) -> None:
    Turns(tmp_path, 1).take()
    with pytest.raises(NoTurnError, match="one of the 1 connections to Dagster"):
        Turns(tmp_path, 1, seconds=0.05).take()


def test_all_shares_together_are_what_a_small_pooler_gives() -> None:
    runs = re.search(r"max_concurrent_runs: (\d+)", (PROJECT / "dagster.yaml").read_text())
    assert runs is not None
    assert int(runs[1]) == parts.RUNS
    api = parts.API_SMALL + parts.API_LARGE + parts.API_STREAM
    webserver = parts.WEBSERVER + parts.WEBSERVER_MORE
    assert api + webserver + parts.STORAGE + parts.RUNS + parts.SENSORS <= 15
    assert api + parts.WEBSERVER + parts.STORAGE + parts.RUNS + parts.SENSORS <= 12, (
        "but for bursts"
    )
