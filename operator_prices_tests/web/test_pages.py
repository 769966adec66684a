"""The files of the dashboard: where they lie, how they are kept, and below which path they work."""

import gzip
import re
from collections.abc import Iterator

import pytest
import zstandard

from operator_prices.web import pages
from operator_prices_tests.support.web_server import Served, database, serving


@pytest.fixture(scope="module")
def api(server: str, migrated: str) -> Iterator[Served]:
    with database(server, migrated) as dsn, serving(dsn) as served:
        yield served


def links(page: str) -> list[str]:
    return re.findall(r'(?:src|href)="([^"#]+)"', page)


@pytest.mark.parametrize("page", ["/", "/docs"])
def test_files_lie_at_the_hash_of_their_content_and_are_kept_for_ever(
    api: Served, page: str
) -> None:
    found = [one for one in links(api.get(page).body.decode()) if one.startswith(("sta", "ven"))]
    assert len(found) >= 3
    for link in found:
        assert re.fullmatch(r"(static|vendor)/[0-9a-f]{12}/[\w.-]+", link)
        assert api.get(f"/{link}").headers["cache-control"] == pages.FOR_EVER
        stale = re.sub(r"[0-9a-f]{12}", "0" * 12, link)
        assert "immutable" not in api.get(f"/{stale}").headers["cache-control"]
    assert "immutable" not in api.get(page).headers["cache-control"]


def test_files_are_compressed_and_the_same_for_everyone(api: Served) -> None:
    path = "/static/dashboard.js"
    plain = api.get(path)
    squeezed = api.get(path, accept_encoding="gzip, deflate, br")
    pressed = api.get(path, accept_encoding="gzip, zstd")
    assert gzip.decompress(squeezed.body) == plain.body
    assert zstandard.ZstdDecompressor().decompress(pressed.body) == plain.body
    assert len({reply.headers["etag"] for reply in (plain, squeezed, pressed)}) == 3


def test_what_lies_there_changes_with_any_of_the_files() -> None:
    one, other = pages.STATIC / "live.js", pages.STATIC / "state.js"
    assert pages.Folder({"a.js": one}).version() != pages.Folder({"a.js": other}).version()
    assert pages.Folder({"a.js": one}).version() == pages.Folder({"a.js": one}).version()


def test_no_file_of_ours_names_a_place_at_the_root() -> None:
    for path in pages.STATIC.iterdir():
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"""["'`]/(?:api|static|vendor|docs|embed|openapi)""", text), path.name


def test_what_a_page_needs_is_served_from_here(api: Served) -> None:
    page = api.get("/").body.decode()
    assert "://" not in page.replace("http://www.w3.org", "")
    for path in ("/static/dashboard.js", "/vendor/bokeh.min.js", "/vendor/swagger-ui-bundle.js"):
        reply = api.get(path, accept_encoding="gzip")
        assert reply.status == 200
        assert api.get(path).body == gzip.decompress(reply.body)
        tag = reply.headers["etag"]
        assert api.get(path, accept_encoding="gzip", if_none_match=tag).status == 304
    assert api.get("/static/none.js").status == 404
    assert api.get("/vendor/../app.py").status == 404
    assert api.get("/docs").status == 200


def test_a_page_asks_for_all_its_modules_at_once(api: Served) -> None:
    asked = set(
        re.findall(r'modulepreload" href="static/\w+/([\w.]+)"', api.get("/").body.decode())
    )
    imported = set()
    for name in (*asked, "dashboard.js"):
        text = (pages.STATIC / name).read_text(encoding="utf-8")
        imported |= set(re.findall(r'from "./([\w.]+)"', text))
    assert imported == asked
    assert "charts.js" in asked
    assert "charts.js" not in api.get("/embed").body.decode()
