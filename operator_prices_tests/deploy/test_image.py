"""The image is built, and each of its roles works in it: not as root, on a root that is read-only.

`TEST_IMAGE` names an image that is built already.
"""

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from operator_prices.local.postgres import programs
from operator_prices.settings import PROJECT
from operator_prices_tests.support.containers import (
    Container,
    Image,
    Pod,
    check_output,
    mounted,
    pod,
)

NEEDED = ("buildah", "debootstrap", "ip", "unshare", "nsenter", "redis-server")

pytestmark = [
    pytest.mark.soak,
    pytest.mark.skipif(
        os.geteuid() != 0 or not all(map(shutil.which, NEEDED)),
        reason=f"this needs root and {', '.join(NEEDED)}",
    ),
]

MOST_BYTES = 700_000_000
EPOCHS = 240
DATABASE = "postgresql://postgres@127.0.0.1:5432/postgres"
READER = "postgresql://operator_prices_reader@127.0.0.1:5432/postgres"
NODE = "ws://127.0.0.1:9944"
HOME = "/var/lib/operator-prices"
PRINTED = "/opt/dagster/celery/storage"
ROLES = ("code", "web", "daemon", "worker", "api")


@pytest.fixture(scope="module")
def image() -> Iterator[Image]:
    built = os.environ.get("TEST_IMAGE")
    name = built or "localhost/operator-prices-test"
    if not built:
        check_output(PROJECT / "deploy" / "build-image.sh", name)
    try:
        with mounted(name) as image:
            yield image
    finally:
        if not built:
            check_output("buildah", "rmi", name)


@contextmanager
def neighbours(one: Pod, folder: Path) -> Iterator[None]:
    """A Postgres that listens by TCP, and Redis, in the namespace."""
    cluster = folder / "cluster"
    cluster.mkdir()
    shutil.chown(cluster, 65534, 65534)
    owner = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
    options = ("--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync")
    check_output(*owner, programs.binaries() / "initdb", f"--pgdata={cluster}", *options)
    server = [*one.inside, *owner, str(programs.binaries() / "postgres"), "-D", str(cluster)]
    server += ["-h", "127.0.0.1", "-k", "", "-c", "fsync=off", "-c", "max_connections=200"]
    redis = [*one.inside, "redis-server", "--save", "", "--dir", str(folder)]
    with (
        (folder / "neighbours.log").open("wb") as log,
        subprocess.Popen(server, stdout=log, stderr=log) as postgres,
        subprocess.Popen(redis, stdout=log, stderr=log) as broker,
    ):
        try:
            yield
        finally:
            postgres.terminate()
            broker.terminate()


@pytest.fixture(scope="module")
def parts(image: Image, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """All roles at work: the chain is read by runs that the daemon gives to the worker."""
    folder = tmp_path_factory.mktemp("image")
    folder.chmod(0o755)
    for above in (folder.parent, folder.parent.parent):
        above.chmod(0o755)
    env = {
        "DATABASE_URL": DATABASE,
        "API_DATABASE_URL": READER,
        "ARCHIVE_NODE_URL": NODE,
        "DAGSTER_HOME": "/opt/dagster/celery",
        "CELERY_BROKER": "redis://127.0.0.1:6379/0",
        "CELERY_BACKEND": "redis://127.0.0.1:6379/1",
        "CODE_SERVER_HOST": "127.0.0.1",
    }
    volumes = {folder / "home": HOME, folder / "printed": PRINTED}
    with pod(image, folder) as one, neighbours(one, folder):
        found: dict[str, Any] = {"pod": one, "env": env, "volumes": volumes}
        one.start("devchain", "--port", "9944", "--epochs", str(EPOCHS))
        until = time.monotonic() + 60
        while (migrated := one.command("migrate", env=env, volumes=volumes))[0]:
            assert time.monotonic() < until, migrated
            time.sleep(1)
        for role in ("code", "worker"):
            found[role] = one.start(role, env=env, volumes=volumes)
        found["api"] = one.start("api", env=env)
        found["code"].until_healthy()
        for role in ("web", "daemon"):
            found[role] = one.start(role, env=env, volumes=volumes)
        for role in ROLES:
            found[role].until_healthy()
        yield found


def test_the_image_has_at_most_700_megabytes(image: Image) -> None:
    print(f"{image.size / 1e6:.0f} MB")  # noqa: T201
    assert image.size < MOST_BYTES


CONNECTED = """
import os, psycopg
with psycopg.connect(os.environ["DATABASE_URL"]) as connection:
    for name, number in connection.execute(
        "SELECT application_name, count(*) FROM pg_stat_activity"
        " WHERE backend_type = 'client backend' AND pid <> pg_backend_pid() GROUP BY 1"
    ):
        print(f"{name}={number}")
"""


def measured(parts: dict[str, Any], most: dict[str, int]) -> None:
    """Raise `most` to what each part holds right now, of memory and of connections."""
    for role in ROLES:
        most[f"{role}, MiB"] = max(most.get(f"{role}, MiB", 0), parts[role].pss() // 2**20)
    for line in parts["code"].run("python", "-c", CONNECTED).stdout.splitlines():
        name, _, number = line.rpartition("=")
        most[name] = max(most.get(name, 0), int(number))


def test_all_epochs_are_read_by_the_worker_and_served_by_the_api(parts: dict[str, Any]) -> None:
    """With `-s` it tells what each part held at most meanwhile."""
    one: Pod = parts["pod"]
    until = time.monotonic() + 400
    most: dict[str, int] = {}
    status: dict[str, Any] = {"lastEpoch": None}
    while (status["lastEpoch"] or 0) < EPOCHS - 10 or status["gaps"]:
        assert time.monotonic() < until, status
        measured(parts, most)
        time.sleep(3)
        status = json.loads(one.get("http://127.0.0.1:8000/api/status"))
    for role in ROLES:
        assert parts[role].healthy(), parts[role].said[-3000:]
    assert "succeeded" in parts["worker"].said
    print(most)  # noqa: T201


@pytest.mark.parametrize("role", ROLES)
def test_a_role_is_not_root_and_can_write_to_nothing_but_tmp_and_volumes(
    parts: dict[str, Any], role: str
) -> None:
    container: Container = parts[role]
    assert set(container.init.uids()) == {10001}
    assert container.init.name() == "tini"
    mounts = container.run("cat", "/proc/self/mounts").stdout.splitlines()
    roots = [line.split()[3] for line in mounts if line.split()[1] == "/"]
    assert "ro" in roots[-1].split(",")
    refused = container.run("touch", "/opt/operator-prices/x", "/opt/dagster/x", "/x")
    assert refused.returncode == 1
    assert refused.stderr.count("Read-only file system") == 3
    assert container.run("touch", "/tmp/x").returncode == 0  # noqa: S108


def test_orphans_are_reaped(parts: dict[str, Any]) -> None:
    container: Container = parts["api"]
    container.run("sh", "-c", "sleep 0.1 & sleep 0.1 &")
    time.sleep(1)
    states = container.run("sh", "-c", "cat /proc/[0-9]*/stat").stdout.splitlines()
    assert len(states) >= 2
    assert not [line for line in states if line.rpartition(")")[2].split()[0] == "Z"]


def test_commands_are_roles_too(parts: dict[str, Any]) -> None:
    one: Pod = parts["pod"]
    given = {"volumes": parts["volumes"], "env": parts["env"]}
    code, said = one.command("backfill", "--from", "0", "--to", "latest", **given)
    assert code == 0, said
    code, said = one.command("status", **given)
    assert code == 0, said
    code, said = one.command("backup", f"{HOME}/prices.backup", **given)
    assert code == 0, said


def test_there_is_no_postgres_in_it_and_a_sentence_says_so(parts: dict[str, Any]) -> None:
    one: Pod = parts["pod"]
    code, said = one.command("status", volumes=parts["volumes"])
    assert code == 1
    assert said.strip().endswith("set DATABASE_URL.")
    assert "Traceback" not in said


@pytest.mark.parametrize("role", ["api", "worker", "daemon", "web", "code"])
def test_a_role_ends_when_it_is_told_to(parts: dict[str, Any], role: str) -> None:
    begun = time.monotonic()
    code = parts[role].stop()
    print(f"{role} ended with {code} after {time.monotonic() - begun:.1f} s")  # noqa: T201
    assert code in {0, 143}, parts[role].said[-3000:]


def test_a_backup_is_restored_beside_parts_that_have_ended(parts: dict[str, Any]) -> None:
    one: Pod = parts["pod"]
    given = {"volumes": parts["volumes"], "env": parts["env"]}
    code, said = one.command("restore", "--replace", f"{HOME}/prices.backup", **given)
    assert code == 0, said
