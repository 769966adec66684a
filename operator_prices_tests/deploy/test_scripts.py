"""The scripts of the image and of Compose: what they start, and whom they show a password."""

import base64
import hashlib
import hmac
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import psycopg
import pytest
from psycopg import sql

from operator_prices.local.postgres import programs
from operator_prices.postgres.parts import WEBSERVER_MORE
from operator_prices.settings import PROJECT, READER
from operator_prices_tests.support.deploy_files import DEPLOY, SCRIPTS, read, run


def test_the_entry_point_says_what_it_can_be_and_hands_on_commands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ROLE_FILE", str(tmp_path / "role"))
    nothing = run("sh", DEPLOY / "entrypoint.sh")
    assert nothing.returncode == 2
    assert "api, code, web, daemon, worker, or a command" in nothing.stderr
    status = run("sh", DEPLOY / "entrypoint.sh", "status", "--help")
    assert status.returncode == 0, status.stderr
    assert "who is at work" in " ".join(status.stdout.split())
    assert (tmp_path / "role").read_text() == "status\n"


@pytest.mark.parametrize(
    ("program", "says"),
    [
        (("dagster", "--version"), "dagster, version "),
        ((sys.executable, "-c", "print('as', 'told')"), "as told\n"),
    ],
    ids=["the chart's code server", "a run's pod"],
)
def test_the_entry_point_runs_the_programs_that_kubernetes_names(
    program: tuple[str, ...], says: str
) -> None:
    done = run("sh", DEPLOY / "entrypoint.sh", *program)
    assert (done.returncode, done.stdout[: len(says)]) == (0, says), done.stderr


def test_the_entry_point_notes_its_role_in_containers_alone(tmp_path: Path) -> None:
    text = (DEPLOY / "entrypoint.sh").read_text()
    assert "/tmp" not in text  # noqa: S108
    assert re.findall(r"ROLE_FILE=(\S+)", (PROJECT / "Dockerfile").read_text()) == ["/tmp/role"]  # noqa: S108
    env = {name: value for name, value in os.environ.items() if name != "ROLE_FILE"}
    done = subprocess.run(
        ["sh", DEPLOY / "entrypoint.sh", "/bin/pwd"],  # noqa: S607
        cwd=tmp_path,
        env=env,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.iterdir()) == []


def test_the_web_server_may_open_what_its_part_has_a_share_for() -> None:
    text = (DEPLOY / "entrypoint.sh").read_text()
    assert re.findall(r"--db-pool-max-overflow (\d+)", text) == [str(WEBSERVER_MORE)]


def test_the_health_of_a_worker_is_asked_without_showing_the_brokers_password(
    tmp_path: Path,
) -> None:
    (tmp_path / "role").write_text("worker\n")
    with socket.create_server(("127.0.0.1", 0)) as broker:
        broker.settimeout(60)
        url = f"redis://:of-the-broker@127.0.0.1:{broker.getsockname()[1]}/0"
        env = {**os.environ, "PATH": f"{SCRIPTS}:{os.environ['PATH']}", "CELERY_BROKER": url}
        with subprocess.Popen(
            ["sh", DEPLOY / "healthcheck.sh"],  # noqa: S607
            env={**env, "ROLE_FILE": str(tmp_path / "role")},
            stderr=subprocess.DEVNULL,
        ) as asking:
            process = psutil.Process(asking.pid)
            try:
                with broker.accept()[0]:
                    asked = [process, *process.children(recursive=True)]
                    shown = [" ".join(one.cmdline()) for one in asked]
            finally:
                for one in [*process.children(recursive=True), process]:
                    one.kill()
    assert "celery inspect ping" in " ".join(shown)
    assert "--destination worker@" in " ".join(shown)
    assert "of-the-broker" not in " ".join(shown)


def test_compose_gives_the_readers_role_its_password_which_no_list_of_processes_shows(
    server: str, tmp_path: Path
) -> None:
    reader = read(DEPLOY / "compose.yaml")["services"]["reader"]
    role, password = "reader_of_compose", "it's :'p' $HOME \\"
    assert "READER_PASSWORD:?" not in str(reader["command"])
    command = [part.replace(READER, role) for part in reader["command"]]
    assert role in command[-1]
    with psycopg.connect(server, autocommit=True) as admin:
        admin.execute(sql.SQL("CREATE ROLE {}").format(sql.Identifier(role)))
        info = admin.info
        env = dict.fromkeys(reader["environment"], "") | {
            "PATH": f"{programs.binaries()}:{os.environ['PATH']}",
            "PGHOST": info.host,
            "PGPORT": str(info.port),
            "PGUSER": info.user,
            "PGPASSWORD": info.password,
            "PGDATABASE": info.dbname,
            "READER_PASSWORD": password,
            "HOME": str(tmp_path),
        }
        try:
            done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr
            kept = admin.execute(
                "SELECT rolpassword, rolcanlogin FROM pg_authid WHERE rolname = %s", [role]
            ).fetchone()
            assert kept is not None
            assert kept[1]
            assert opens(password, kept[0])
        finally:
            admin.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(role)))
        without_role = subprocess.run(command, env=env, capture_output=True, check=False)
        assert without_role.returncode != 0


def opens(password: str, kept: str) -> bool:
    """Whether what Postgres keeps of a password is of this one."""
    rounds, salt, key, _ = re.fullmatch(r"SCRAM-SHA-256\$(\d+):(.+)\$(.+):(.+)", kept).groups()  # type: ignore[union-attr]
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), base64.b64decode(salt), int(rounds))
    client = hmac.digest(salted, b"Client Key", "sha256")
    return hashlib.sha256(client).digest() == base64.b64decode(key)
