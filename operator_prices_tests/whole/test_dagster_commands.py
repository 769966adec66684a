"""What Dagster people type, in a fresh checkout, with nothing set."""

import os
import shutil
import signal
import subprocess
import sysconfig
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil
import pytest

from operator_prices import store
from operator_prices.local.ports import answering, free_port
from operator_prices.local.postgres import embedded
from operator_prices.local.postgres.owners import location
from operator_prices.settings import PROJECT, VARIABLES
from operator_prices_tests.support.live import until

pytestmark = pytest.mark.e2e

SCRIPTS = Path(sysconfig.get_path("scripts"))


@pytest.fixture(scope="module")
def checkout() -> Iterator[Path]:
    """What git would clone, in another place; the modules are its own."""
    with TemporaryDirectory(prefix="checkout-", ignore_cleanup_errors=True) as folder:
        fresh = Path(folder) / "operator-prices"
        listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
        files = subprocess.run(listed, cwd=PROJECT, capture_output=True, text=True, check=True)
        for name in filter(lambda name: (PROJECT / name).is_file(), files.stdout.splitlines()):
            (fresh / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(PROJECT / name, fresh / name)
        yield fresh
        embedded.remove(fresh / ".data")


def environment(checkout: Path) -> dict[str, str]:
    ours = {*(name.upper() for name in VARIABLES), "DAGSTER_HOME", "DAGSTER_PG_URL"}
    kept = {name: text for name, text in os.environ.items() if name not in ours}
    return kept | {"PYTHONPATH": str(checkout), "PATH": f"{SCRIPTS}:{os.environ['PATH']}"}


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("dagster definitions validate", "Validation successful"),
        ("dg check defs", "All definitions loaded successfully"),
        ("dg list defs", "operator_share_prices"),
    ],
)
def test_definitions_are_found_and_sound(command: str, said: str, checkout: Path) -> None:
    program, *words = command.split()
    done = subprocess.run(
        [SCRIPTS / program, *words],
        cwd=checkout,
        env=environment(checkout),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert said in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def running_in(checkout: Path) -> list[str]:
    """The command lines of the processes that were started for a checkout."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.environ().get("PYTHONPATH") == str(checkout):
                found.append(" ".join(process.cmdline()))
    return found


@pytest.mark.parametrize("command", ["dagster dev", "dg dev"])
def test_dev_serves_from_our_own_database_and_chain_and_ends_with_both(
    command: str, checkout: Path
) -> None:
    port = free_port()
    program, word = command.split()
    with (checkout / "dev.log").open("w") as log:
        dev = subprocess.Popen(
            [SCRIPTS / program, word, "--port", str(port)],
            cwd=checkout,
            env=environment(checkout),
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        until(answering("127.0.0.1", port, "/server_info"), 120)
        with embedded.server(checkout / ".data") as url, store.connect(url) as connection:
            until(lambda: store.last_epoch(connection) > 0, 120)
    finally:
        os.killpg(dev.pid, signal.SIGINT)
        dev.wait(timeout=60)
    until(lambda: not running_in(checkout), 60, running_in(checkout))
    assert not (location(checkout / ".data") / "postmaster.pid").exists()
