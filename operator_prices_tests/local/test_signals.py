import os
import signal
import time
from pathlib import Path

import pytest

from operator_prices.local import signals
from operator_prices_tests.support.children import (
    PARENT,
    STUBBORN,
    running,
    up,
)


@pytest.mark.e2e
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


def test_nohup_is_heeded() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with signals.stoppable():
            os.kill(os.getpid(), signal.SIGHUP)
            assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
