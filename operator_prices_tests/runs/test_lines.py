"""A backfill whose database falls silent, is restarted, full or read-only waits and goes on."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from operator_prices.devchain.chain import DevChain
from operator_prices.devchain.scenario import Scenario
from operator_prices.devchain.serving import Node, serving
from operator_prices.local.postgres import embedded
from operator_prices.store import migrations
from operator_prices_tests.support.lines import Line, contents, line
from operator_prices_tests.support.live import until
from operator_prices_tests.support.replicas import promote, replica
from operator_prices_tests.support.web_server import database as another

pytestmark = pytest.mark.e2e

SMALL = Scenario(seconds_per_block=0, epochs=120, operators=3, locking_epochs=20)

GIVES_UP = 60
"""Seconds until a silent line is given up; about 35 where the machine has little else to do."""

AGAIN = "trying again in"

FULL = """
CREATE FUNCTION no_room() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE 'could not extend file "base/5/1": No space left on device' USING ERRCODE = '53100';
END $$;
CREATE TRIGGER no_room BEFORE INSERT ON operator_shares EXECUTE FUNCTION no_room();
"""

READ_ONLY = sql.Identifier("default_transaction_read_only")

Record = Callable[[str, object], None]

Stored = dict[str, list[tuple[object, ...]]]


@pytest.fixture(scope="module")
def node() -> Iterator[Node]:
    with serving(DevChain(SMALL)) as served:
        yield served


@dataclass(frozen=True, slots=True)
class Backfill:
    """A backfill of all there is, as a process of its own."""

    process: subprocess.Popen[bytes]
    log: Path

    @property
    def said(self) -> str:
        return self.log.read_text()

    def says(self, text: str) -> Callable[[], bool]:
        return lambda: text in self.said or self.process.poll() is not None

    def finished(self, seconds: float) -> None:
        assert self.process.wait(seconds) == 0, self.said
        assert "Traceback" not in self.said


@contextmanager
def backfilling(dsn: str, node: Node, folder: Path) -> Iterator[Backfill]:
    log = folder / "backfill.log"
    with log.open("wb") as said:
        process = subprocess.Popen(
            [sys.executable, "-m", "operator_prices", "backfill", "--from=0", "--to=latest"],
            env={
                **os.environ,
                "DATA_DIR": str(folder),
                "DATABASE_URL": dsn,
                "ARCHIVE_NODE_URL": node.url,
            },
            stdout=said,
            stderr=said,
        )
    try:
        yield Backfill(process, log)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


@pytest.fixture(scope="module")
def undisturbed(
    server: str, migrated: str, node: Node, tmp_path_factory: pytest.TempPathFactory
) -> Stored:
    with another(server, migrated) as dsn:
        with backfilling(dsn, node, tmp_path_factory.mktemp("undisturbed")) as work:
            work.finished(120)
        return contents(dsn)


@pytest.fixture
def way(server: str, migrated: str) -> Iterator[Line]:
    with another(server, migrated) as dsn, line(dsn) as between:
        yield between


def test_a_backfill_gives_up_a_frozen_line_within_a_minute_and_does_the_window_again(
    way: Line, node: Node, undisturbed: Stored, tmp_path: Path, record_property: Record
) -> None:
    trap = way.trap('COPY "epochs"', "mute")
    with backfilling(way.url, node, tmp_path) as work:
        assert trap.sprung.wait(60)
        silent = until(work.says(AGAIN), GIVES_UP)
        assert "silent for" in work.said
        way.thaw()
        begun = time.monotonic()
        work.finished(120)
    record_property("seconds until it gives up", round(silent))
    record_property("seconds from the thaw to the end", round(time.monotonic() - begun))
    assert contents(way.dsn) == undisturbed


@pytest.mark.parametrize("text", ["SELECT refresh_epoch_analytics", "INSERT INTO event_logs"])
def test_a_frozen_backfill_ends_within_seconds_of_a_signal(
    way: Line, node: Node, tmp_path: Path, text: str, record_property: Record
) -> None:
    """Whether it waits for our own tables or for Dagster's."""
    trap = way.trap(text, "freeze")
    with backfilling(way.url, node, tmp_path) as work:
        assert trap.sprung.wait(60)
        time.sleep(2)
        work.process.send_signal(signal.SIGTERM)
        begun = time.monotonic()
        assert work.process.wait(20) == 130, work.said
        record_property("seconds until it ends", round(time.monotonic() - begun))


def test_a_backfill_waits_for_room_and_for_leave_to_write(
    way: Line, node: Node, undisturbed: Stored, tmp_path: Path
) -> None:
    name = sql.Identifier(str(conninfo_to_dict(way.dsn)["dbname"]))
    with psycopg.connect(way.dsn, autocommit=True) as admin:
        admin.execute(FULL)
        with backfilling(way.url, node, tmp_path) as work:
            until(work.says("no room left on its disk"), 120, "nobody says that it is full")
            admin.execute(sql.SQL("ALTER DATABASE {} SET {} = on").format(name, READ_ONLY))
            admin.execute("DROP TRIGGER no_room ON operator_shares")
            until(work.says("read-only"), 90)
            admin.execute(sql.SQL("ALTER DATABASE {} RESET {}").format(name, READ_ONLY))
            work.finished(120)
        admin.execute("DROP FUNCTION no_room")
    assert contents(way.dsn) == undisturbed


@pytest.fixture
def small_disk(server: str) -> Iterator[Path]:
    """A disk of six megabytes, in a folder of the server's."""
    with psycopg.connect(server) as admin:
        row = admin.execute("SHOW data_directory").fetchone()
    owner = Path(str(row and row[0])).stat() if os.geteuid() == 0 else None
    with TemporaryDirectory(prefix="disk-", ignore_cleanup_errors=True) as name:
        mount = ["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", name]
        if owner is None or subprocess.run(mount, check=False).returncode:
            pytest.skip("no disk can be mounted here")
        try:
            Path(name).chmod(0o700)
            os.chown(name, owner.st_uid, owner.st_gid)
            yield Path(name)
        finally:
            subprocess.run(["umount", "--lazy", name], check=True)  # noqa: S607


def test_a_backfill_waits_until_a_full_disk_has_room(
    server: str, small_disk: Path, tmp_path: Path
) -> None:
    with psycopg.connect(server, autocommit=True) as admin:
        admin.execute(
            sql.SQL("CREATE TABLESPACE small LOCATION {}").format(sql.Literal(str(small_disk)))
        )
        with another(server, "template0") as dsn:
            named = sql.Identifier(str(conninfo_to_dict(dsn)["dbname"]))
            admin.execute(sql.SQL("ALTER DATABASE {} SET default_tablespace = small").format(named))
            migrations.migrate(dsn)
            scenario = Scenario(seconds_per_block=0, epochs=500, operators=12)
            with serving(scenario) as many, backfilling(dsn, many, tmp_path) as work:
                until(work.says(AGAIN), 120)
                assert "no room left on its disk" in work.said
                more = ["mount", "-o", "remount,size=200m", str(small_disk)]
                subprocess.run(more, check=True)
                work.finished(120)
            with psycopg.connect(dsn) as connection:
                kept = connection.execute("SELECT count(*) FROM comprehensive_analytics").fetchone()
            assert kept == (500,)
        admin.execute("DROP TABLESPACE small")


def test_a_backfill_goes_on_when_its_server_has_been_started_again(
    node: Node, undisturbed: Stored, tmp_path: Path
) -> None:
    with TemporaryDirectory(prefix="lines-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        with embedded.server(folder) as dsn:
            migrations.migrate(dsn)
        with line(dsn) as way, ExitStack() as first:
            first.enter_context(embedded.server(folder))
            trap = way.trap("SELECT refresh_epoch_analytics", "freeze")
            with backfilling(way.url, node, tmp_path) as work:
                assert trap.sprung.wait(60)
                first.close()
                way.refuse()
                way.thaw()
                until(work.says(AGAIN), GIVES_UP)
                with embedded.server(folder):
                    way.accept()
                    work.finished(120)
                    assert contents(dsn) == undisturbed
        embedded.remove(folder)


def test_a_backfill_goes_on_at_the_server_that_takes_over_under_the_same_name(
    node: Node, undisturbed: Stored, tmp_path: Path, record_property: Record
) -> None:
    """The old one runs on, and whoever is connected to it never hears of anything again."""
    with TemporaryDirectory(prefix="failover-", ignore_cleanup_errors=True) as name:
        first, second = Path(name, "first"), Path(name, "second")
        with embedded.server(first) as dsn:
            migrations.migrate(dsn)
            with (
                replica(second, dsn) as other,
                line(dsn) as way,
                backfilling(way.url, node, tmp_path) as work,
            ):
                trap = way.trap("SELECT refresh_epoch_analytics", "freeze")
                assert trap.sprung.wait(60)
                promote(other)
                way.server = other
                way.forget()
                way.thaw()
                begun = time.monotonic()
                work.finished(120)
                record_property("seconds to the end", round(time.monotonic() - begun))
                assert AGAIN in work.said
                assert contents(other) == undisturbed
                assert contents(dsn)["epoch_analytics"] == []
        embedded.remove(first)
