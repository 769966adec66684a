import sys
from pathlib import Path

import pytest

from operator_prices.local import leftovers
from operator_prices.local.leftovers import DataDirError
from operator_prices_tests.support.children import PARENT, SLEEP, running, until_running, up


def test_what_a_killed_up_left_is_ended_by_the_next(tmp_path: Path) -> None:
    with up(tmp_path, f"print('up'); {SLEEP}", PARENT) as process:
        until_running(tmp_path, 4)
        process.kill()
    if sys.platform == "linux":  # the children die with their parent, but not their own
        until_running(tmp_path, 2)

    with leftovers.lock(tmp_path):
        left = leftovers.reap_leftovers(tmp_path, grace=0.2)
    assert all("python" in name for name in left)
    assert running(tmp_path) == []
    assert leftovers.reap_leftovers(tmp_path) == []


def test_a_data_directory_has_one_up_at_a_time(tmp_path: Path) -> None:
    with up(tmp_path) as process:
        said = rf"Another operator-prices \(pid {process.pid}\) is using the data directory"
        with pytest.raises(DataDirError, match=said), leftovers.lock(tmp_path):
            pass
        process.kill()
    with leftovers.lock(tmp_path):
        pass


def test_a_data_directory_that_cannot_be_one_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(DataDirError, match=r"cannot be used .*; set another DATA_DIR"),
        leftovers.lock(tmp_path / "file"),
    ):
        pass
