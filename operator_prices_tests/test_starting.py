"""How much of its start a process spends on looking for garbage."""

import gc
import subprocess
import sys

import pytest

from operator_prices.starting import uncollected

START = """
import gc
import dagster
looked = []
gc.callbacks.append(lambda phase, _: looked.append(phase) if phase == "start" else None)
import operator_prices.local.dagster_storage
import operator_prices.definitions
print(gc.isenabled(), len(looked))
"""
"""What the process of a run does first."""


def test_what_a_run_imports_is_not_searched_for_garbage() -> None:
    told = subprocess.run([sys.executable, "-c", START], check=True, capture_output=True, text=True)
    enabled, looked = told.stdout.split()
    assert enabled == "True"
    assert int(looked) < 30  # some 340 otherwise


def test_garbage_is_collected_again_as_before_whatever_happens() -> None:
    with uncollected():
        assert not gc.isenabled()
    assert gc.isenabled()
    with pytest.raises(ImportError), uncollected():
        raise ImportError
    assert gc.isenabled()
    gc.disable()
    try:
        with uncollected():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()
