"""nginx and Caddy, run with the blocks of docs/deployment.md."""

import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from operator_prices.local.ports import free_port, listening
from operator_prices.settings import PROJECT

USER, PASSWORD = "operator", "correct horse"

NGINX = """
{user}
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log stderr;
events {{}}
http {{
  access_log off;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  {block}
}}
"""

CADDY = """
{{
  admin off
  auto_https off
}}
{block}
"""


PATH = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin"


def missing() -> list[str]:
    """The programs that are not installed."""
    return [one for one in ("nginx", "caddy", "openssl") if not shutil.which(one, path=PATH)]


def _program(name: str) -> str:
    found = shutil.which(name, path=PATH)
    assert found, f"{name} is not installed"
    return found


def block(language: str) -> str:
    """What the document has in that language."""
    text = (PROJECT / "docs" / "deployment.md").read_text()
    (found,) = re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    return str(found)


def changed(text: str, changes: Mapping[str, str]) -> str:
    """The text with each of these once replaced, and nothing left undone."""
    for old, new in changes.items():
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return text


def nginx(folder: Path, port: int, changes: Mapping[str, str], *, root: bool) -> list[str]:
    hashed = subprocess.run(
        [_program("openssl"), "passwd", "-6", PASSWORD],
        capture_output=True,
        text=True,
        check=True,
    )
    (folder / "users").write_text(f"{USER}:{hashed.stdout}")
    told = changed(
        block("nginx"),
        {
            "listen 80;": f"listen 127.0.0.1:{port};",
            "/etc/nginx/dagster.users": str(folder / "users"),
            **changes,
        },
    )
    user = "user root;" if root else ""
    file = folder / "nginx.conf"
    file.write_text(NGINX.format(folder=folder, user=user, block=told))
    return [_program("nginx"), "-p", str(folder), "-e", "stderr", "-c", str(file)]


def caddy(folder: Path, port: int, changes: Mapping[str, str]) -> list[str]:
    hashed = subprocess.run(
        [_program("caddy"), "hash-password", "--plaintext", PASSWORD],
        capture_output=True,
        text=True,
        check=True,
    )
    given = {"prices.example {": f"http://127.0.0.1:{port} {{", "HASH": hashed.stdout.strip()}
    told = changed(block("caddyfile"), {**given, **changes})
    file = folder / "Caddyfile"
    file.write_text(CADDY.format(block=told))
    return [_program("caddy"), "run", "--config", str(file), "--adapter", "caddyfile"]


@contextmanager
def running(argv: list[str], port: int, folder: Path) -> Iterator[str]:
    """The address of a proxy while it runs."""
    log = folder / "proxy.log"
    with (
        log.open("wb") as said,
        subprocess.Popen(argv, stdout=said, stderr=said, env=_environment(folder)) as process,
    ):
        try:
            until = time.monotonic() + 20
            while not listening("127.0.0.1", port)():
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < until, log.read_text()
                time.sleep(0.05)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


def _environment(folder: Path) -> dict[str, str]:
    return {"PATH": PATH, "HOME": str(folder)}


@contextmanager
def proxy(kind: str, folder: Path, changes: Mapping[str, str], *, root: bool) -> Iterator[str]:
    """The proxy of that kind before what `changes` name instead of the document's addresses."""
    port = free_port()
    folder.mkdir()
    if kind == "nginx":
        argv = nginx(folder, port, changes, root=root)
    else:
        argv = caddy(folder, port, changes)
    with running(argv, port, folder) as url:
        yield url
