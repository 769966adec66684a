"""The blocks for nginx and Caddy in docs/deployment.md do what it says of them."""

import base64
import os
import socket
import subprocess
import sysconfig
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest
from playwright.sync_api import Browser, HttpCredentials

from operator_prices.local.ports import answering, free_port
from operator_prices_tests.support import published
from operator_prices_tests.support.browser import browser, opened, program
from operator_prices_tests.support.reverse_proxies import PASSWORD, USER, missing, proxy
from operator_prices_tests.support.web_server import Served, database, serving

KINDS = ("nginx", "caddy")

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(
        bool(missing()) and not os.environ.get("REQUIRE_EVERYTHING"),
        reason=f"not installed: {', '.join(missing())}",
    ),
    pytest.mark.skipif(
        program() is None and not os.environ.get("REQUIRE_EVERYTHING"),
        reason="no browser is installed: apt-get install chromium",
    ),
]

CUT: dict[str, dict[str, str]] = {"nginx": {}, "caddy": {}}
KEPT = {
    "nginx": {"proxy_pass http://127.0.0.1:8000/;": "proxy_pass http://127.0.0.1:8000;"},
    "caddy": {"handle_path /prices/*": "handle /prices/*"},
}
"""What the document says to change where the path is not cut off."""


AT_ONCE_SECONDS = 3
"""Less than the API takes to find an epoch that nobody tells it of, or to say that it is there."""


@pytest.fixture(scope="module")
def filled(server: str, migrated: str) -> Iterator[str]:
    with database(server, migrated) as dsn:
        with psycopg.connect(dsn, autocommit=True) as connection:
            published.fill(connection)
        yield dsn


@pytest.fixture(scope="module")
def api(filled: str) -> Iterator[Served]:
    """What is told of all of them: the path that some keep, and who is believed."""
    with serving(filled, ROOT_PATH="/prices", TRUSTED_PROXIES="127.0.0.1") as served:
        yield served


@pytest.fixture(scope="module")
def plain(filled: str) -> Iterator[Served]:
    """An API that knows nothing of a proxy."""
    with serving(filled) as served:
        yield served


@pytest.fixture(scope="module")
def dagster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of a Dagster UI that is told its path."""
    home, port = tmp_path_factory.mktemp("dagster"), free_port()
    (home / "dagster.yaml").write_text("telemetry: {enabled: false}\nnux: {enabled: false}\n")
    server = Path(sysconfig.get_path("scripts"), "dagster-webserver")
    argv = [str(server), "--empty-workspace", "--port", str(port), "--path-prefix", "/dagster"]
    with (
        (home / "log").open("wb") as log,
        subprocess.Popen(
            argv, stdout=log, stderr=log, env={**os.environ, "DAGSTER_HOME": str(home)}
        ) as process,
    ):
        try:
            ready = answering("127.0.0.1", port, "/dagster/server_info")
            until = time.monotonic() + 90
            while not ready():
                assert process.poll() is None, (home / "log").read_text()
                assert time.monotonic() < until, (home / "log").read_text()
                time.sleep(0.2)
            yield port
        finally:
            process.terminate()


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser() as one:
        yield one


@contextmanager
def before(
    kind: str, folder: Path, api: int, ui: int = 3000, changes: dict[str, str] | None = None
) -> Iterator[str]:
    """The proxy, whose addresses are changed last, so that the document's own lines are found."""
    given = {**(changes or {}), "127.0.0.1:8000": f"127.0.0.1:{api}"}
    given["127.0.0.1:3000"] = f"127.0.0.1:{ui}"
    with proxy(kind, folder / kind, given, root=os.geteuid() == 0) as url:
        yield url


def status(url: str, **headers: str) -> int:
    parts = urlsplit(url)
    with closing(HTTPConnection(str(parts.hostname), parts.port, timeout=30)) as connection:
        connection.request("GET", parts.path, headers=headers)
        return connection.getresponse().status


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("cut", [True, False], ids=["cut off", "kept"])
def test_pages_answers_and_try_it_out_work_below_a_path(
    kind: str,
    *,
    cut: bool,
    api: Served,
    plain: Served,
    chromium: Browser,
    tmp_path: Path,
) -> None:
    served, changes = (plain, CUT) if cut else (api, KEPT)
    failed: list[str] = []
    with (
        before(kind, tmp_path, served.port, changes=changes[kind]) as url,
        closing(chromium.new_page()) as page,
    ):
        page.on(
            "response",
            lambda answer: (
                failed.append(f"{answer.status} {answer.url}") if answer.status >= 400 else None
            ),
        )
        opened(page, f"{url}/prices")  # without the slash, as people type it
        assert page.url.startswith(f"{url}/prices/")
        with page.expect_response(lambda answer: "/prices/api/summary" in answer.url) as asked:
            page.goto(f"{url}/prices/docs#/default/summary")
            block = page.locator(".opblock", has_text="/api/summary").first
            block.wait_for()
            if "is-open" not in (block.get_attribute("class") or ""):
                block.locator(".opblock-summary-control").click()
            block.locator(".try-out__btn").click()
            block.locator(".execute").click()
        assert asked.value.status == 200
        assert status(f"{url}/prices/openapi.json") == 200
        assert status(f"{url}/prices/api/none") == 404
    assert not failed


@pytest.mark.parametrize("kind", KINDS)
def test_an_event_is_heard_at_once(kind: str, api: Served, filled: str, tmp_path: Path) -> None:
    with before(kind, tmp_path, api.port, changes=KEPT[kind]) as url:
        parts = urlsplit(url)
        asked = HTTPConnection(str(parts.hostname), parts.port, timeout=10)
        with closing(asked):
            asked.request("GET", "/prices/api/stream")
            answer = asked.getresponse()
            assert answer.status == 200
            assert answer.readline() == b"retry: 2000\n"
            with psycopg.connect(filled, autocommit=True) as connection:
                connection.execute("SELECT pg_notify('operator_prices_epoch', '38')")
            begun = time.monotonic()
            while not (line := answer.readline()).startswith(b"event: epoch"):
                assert line, "the stream ended"
            assert time.monotonic() - begun < AT_ONCE_SECONDS


def watched(url: str, source: str, **headers: str) -> socket.socket:
    """A stream that a client with that address watches."""
    parts = urlsplit(url)
    address = (str(parts.hostname), int(parts.port or 80))
    one = socket.create_connection(address, timeout=20, source_address=(source, 0))
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    one.sendall(f"GET /prices/api/stream HTTP/1.1\r\nhost: {parts.netloc}\r\n{lines}\r\n".encode())
    return one


@pytest.mark.parametrize("kind", KINDS)
def test_the_api_learns_who_asks_from_the_proxy_and_from_nobody_before_it(
    kind: str, filled: str, tmp_path: Path
) -> None:
    """Each address may have one of two streams."""
    with (
        serving(filled, API_STREAMS="2", TRUSTED_PROXIES="127.0.0.1") as api,
        before(kind, tmp_path, api.port) as url,
        closing(watched(url, "127.0.0.2")) as first,
    ):
        assert b"text/event-stream" in first.recv(4096)
        lie = {"x-forwarded-for": "192.0.2.9"}
        with closing(watched(url, "127.0.0.2", **lie)) as again:
            assert b" 503 " in again.recv(4096)
        with closing(watched(url, "127.0.0.3")) as other:
            assert b"text/event-stream" in other.recv(4096)


@pytest.mark.parametrize("kind", KINDS)
def test_the_dagster_ui_works_below_a_path_for_those_who_know_the_password(
    kind: str, api: Served, dagster: int, chromium: Browser, tmp_path: Path
) -> None:
    given = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    failed: list[str] = []
    with before(kind, tmp_path, api.port, dagster) as url:
        assert status(f"{url}/dagster/server_info") == 401
        assert status(f"{url}/dagster/server_info", authorization=f"Basic {given}") == 200
        known = HttpCredentials(username=USER, password=PASSWORD)
        with closing(chromium.new_context(http_credentials=known)) as context:
            page = context.new_page()
            page.on(
                "response",
                lambda answer: failed.append(answer.url) if answer.status >= 400 else None,
            )
            with page.expect_websocket() as heard:
                page.goto(f"{url}/dagster/runs")
                page.get_by_text("No runs found").wait_for(timeout=30_000)
            assert heard.value.url.endswith("/dagster/graphql")
            assert page.url.startswith(f"{url}/dagster/")
    assert not failed
