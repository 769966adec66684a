"""Behind a proxy: below a path, cut off or not, and with the addresses that a named one tells."""

import re
import socket
from contextlib import closing

import pytest

from operator_prices_tests.support.web_server import Served, serving


@pytest.mark.parametrize("prefix", ["/prices", "/a/b/"])
def test_everything_is_found_below_the_path_of_a_proxy(filled: str, prefix: str) -> None:
    cut = prefix.rstrip("/")
    with serving(filled, ROOT_PATH=prefix) as api:
        for path in ("/", "/docs", "/api/epochs?limit=2", "/openapi.json", "/healthz"):
            below = api.get(f"{cut}{path}")
            assert below.status == 200, path
            assert below.body == api.get(path).body
        for page in ("/", "/docs"):
            for link in re.findall(r'(?:src|href)="([^"#:]+)"', api.get(page).body.decode()):
                assert not link.startswith("/")
                assert api.get(f"{cut}/{link.removeprefix('./')}").status == 200, link
        server = api.get(f"{cut}/openapi.json").json["servers"][0]["url"]
        assert server == "./"  # as seen from the document
        assert api.get(f"{cut}/api/none").status == 404
        assert api.get("/other/api/summary").status == 404


def watched(api: Served, forwarded: str) -> socket.socket:
    one = socket.create_connection(("127.0.0.1", api.port), timeout=20)
    asked = f"GET /api/stream HTTP/1.1\r\nhost: x\r\nx-forwarded-for: {forwarded}\r\n\r\n"
    one.sendall(asked.encode())
    return one


@pytest.mark.parametrize("trusted", ["", "10.0.0.0/8", "127.0.0.0/8"])
def test_addresses_are_those_that_a_named_proxy_tells_and_nobody_else(
    filled: str, trusted: str
) -> None:
    with (
        serving(filled, API_STREAMS="2", TRUSTED_PROXIES=trusted) as api,
        closing(watched(api, "192.0.2.1")) as first,
    ):
        assert b" 200 " in first.recv(4096)
        with closing(watched(api, "192.0.2.1")) as same:
            with same.makefile("rb") as answer:
                said = answer.read()
            assert b" 503 " in said
            assert b"Your address" in said
        with closing(watched(api, "192.0.2.2")) as other:
            status = b" 200 " if trusted.startswith("127") else b" 503 "
            assert status in other.recv(4096)
