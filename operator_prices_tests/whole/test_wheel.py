"""The wheel away from its checkout: in a fresh environment, an empty folder and another home."""

import os
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from operator_prices.local.api import PROGRAM as SERVE
from operator_prices.local.ports import answering, free_port
from operator_prices.local.postgres import embedded
from operator_prices.settings import PROJECT
from operator_prices_tests.support.live import until

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder)]
    subprocess.run([*build, str(PROJECT)], check=True, capture_output=True)
    (built,) = folder.glob("operator_prices-*.whl")
    return built


class Elsewhere:
    """The installed command, run in an empty folder by somebody who has set nothing."""

    def __init__(self, folder: Path, wheel: Path) -> None:
        environment, self.empty, self._home = (folder / name for name in ("venv", "here", "home"))
        for made in (self.empty, self._home):
            made.mkdir()
        subprocess.run([sys.executable, "-m", "venv", str(environment)], check=True)
        self._bin = environment / "bin"
        python = str(self._bin / "python")
        install = [python, "-m", "pip", "install", "--no-deps", "--no-index", "-q", str(wheel)]
        subprocess.run(install, check=True)
        # What the wheel depends on is what the tests run on; our checkout is not on that path.
        (site,) = (environment / "lib").glob("python3*/site-packages")
        (site / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
        self.python = python

    @property
    def data_dir(self) -> Path:
        return self._home / ".local" / "share" / "operator-prices"

    @property
    def environment(self) -> dict[str, str]:
        return {"HOME": str(self._home), "PATH": os.environ["PATH"], "LANG": "C.UTF-8"}

    def run(self, *arguments: str) -> str:
        done = subprocess.run(
            [str(self._bin / "operator-prices"), *arguments],
            cwd=self.empty,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def untouched(self) -> bool:
        return not list(self.empty.iterdir())


@pytest.fixture(scope="module")
def elsewhere(wheel: Path) -> Iterator[Elsewhere]:
    with TemporaryDirectory(prefix="elsewhere-", ignore_cleanup_errors=True) as folder:
        installed = Elsewhere(Path(folder), wheel)
        yield installed
        embedded.remove(installed.data_dir)


def test_the_wheel_carries_what_the_top_level_keeps(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as packed:
        names = set(packed.namelist())
    there = {
        f"operator_prices/{file.relative_to(PROJECT)}" for file in (PROJECT / "sql").rglob("*.sql")
    }
    there |= {"operator_prices/dagster.yaml", "operator_prices/workspace.yaml"}
    assert len(there) > 20
    assert there <= names
    assert not [name for name in names if name.startswith("operator_prices_tests")]


def test_the_installed_command_is_the_wheels(elsewhere: Elsewhere) -> None:
    done = subprocess.run(
        [elsewhere.python, "-c", "import operator_prices; print(operator_prices.__file__)"],
        cwd=elsewhere.empty,
        env=elsewhere.environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert str(PROJECT) not in done.stdout


def test_everything_works_in_an_empty_folder(elsewhere: Elsewhere, tmp_path: Path) -> None:
    assert "Gaps: none" in elsewhere.run("up", "--once")
    assert elsewhere.data_dir.is_dir()
    assert "Last completed epoch" in elsewhere.run("status")
    assert "up to date" in elsewhere.run("migrate")
    kept = tmp_path / "kept.dump"
    assert "Backup" in elsewhere.run("backup", str(kept))
    assert kept.stat().st_size > 10_000
    assert "01_create_normalized_tables" in elsewhere.run("rollback")
    assert "Applied: 01" in elsewhere.run("migrate", "--no-backup")
    assert elsewhere.untouched()


def test_the_installed_api_serves(elsewhere: Elsewhere) -> None:
    assert SERVE[1:] == ("-m", "operator_prices.web")
    port = free_port()
    elsewhere.run("migrate")
    with subprocess.Popen(
        [elsewhere.python, "-m", "operator_prices", "serve", "--api-port", str(port)],
        cwd=elsewhere.empty,
        env=elsewhere.environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as served:
        try:
            until(answering("127.0.0.1", port, "/healthz"), 60)
            assert answering("127.0.0.1", port, "/api/operators")()
            assert answering("127.0.0.1", port, "/")()
        finally:
            served.terminate()
            served.wait(timeout=30)
