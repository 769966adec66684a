import os
import subprocess
import sys

import pytest

from operator_prices.local.exposure import warnings
from operator_prices.local.ports import PortInUseError, require_port_free
from operator_prices.settings import Settings


def test_what_only_this_machine_reaches_is_no_reason_to_warn() -> None:
    assert list(warnings(Settings.read(), ui=True)) == []
    assert list(warnings(Settings.read(api_host="localhost", ui_host="::1"), ui=True)) == []


def test_what_others_reach_is_named_with_what_they_can_do() -> None:
    all_of_it = "0.0.0.0"  # noqa: S104
    settings = Settings.read(api_host=all_of_it, ui_host=all_of_it, api_port=81, ui_port=82)
    api, ui = warnings(settings, ui=True)
    assert api.startswith("The API and the dashboard listen on 0.0.0.0, port 81: whoever reaches")
    assert ui.startswith("The Dagster UI listens on 0.0.0.0, port 82, and asks nobody for a pass")
    assert list(warnings(settings, ui=False)) == [api]


def test_a_host_that_is_none_is_named_with_its_variable() -> None:
    with pytest.raises(PortInUseError, match=r"no\.such\.invalid .*; set API_PORT or API_HOST to"):
        require_port_free("no.such.invalid", 8000, "API_PORT")


def test_serve_says_so_before_it_serves() -> None:
    nowhere = "postgresql://operator_prices_reader@127.0.0.1:1/none"
    said = subprocess.run(
        [sys.executable, "-m", "operator_prices", "serve"],
        env={**os.environ, "API_HOST": "0.0.0.0", "API_DATABASE_URL": nowhere},  # noqa: S104
        capture_output=True,
        text=True,
        check=False,
    )
    assert said.returncode == 1
    assert "listen on 0.0.0.0, port 8000" in " ".join(said.stdout.split())
