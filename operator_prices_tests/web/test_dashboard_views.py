"""What of the dashboard can be sent, framed and taken along, and how it reads for everybody."""

import csv
import io
import os
import re
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import psycopg
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Response, expect

from operator_prices import store
from operator_prices_tests.support import history
from operator_prices_tests.support.browser import opened, program, violations
from operator_prices_tests.support.web_server import Served, database, serving

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(
        program() is None and not os.environ.get("REQUIRE_EVERYTHING"),
        reason="no browser is installed: apt-get install chromium",
    ),
]

OPERATORS = 12
EPOCHS = 60


@pytest.fixture(scope="module")
def api(server: str, migrated: str) -> Iterator[Served]:
    with database(server, migrated) as dsn:
        with psycopg.connect(dsn, autocommit=True) as connection:
            history.write(connection, 0, EPOCHS - 1, OPERATORS, raw=False)
            store.note_head(connection, 10**6, EPOCHS - 1)
            connection.execute("UPDATE source_head SET heard_at = now() + INTERVAL '1 hour'")
            connection.execute("UPDATE source_head SET grown_at = heard_at")
            connection.execute(
                "UPDATE operator_shares SET nomination_tax = 9 WHERE operator_id = 3 AND epoch > 20"
            )
            connection.execute(
                "UPDATE operator_shares SET status = 'PendingSlash'"
                " WHERE operator_id = 3 AND epoch > 40"
            )
            connection.execute("SELECT refresh_epoch_analytics(0, 59)")
        with serving(dsn) as served:
            yield served


@pytest.fixture
def context(chromium: Browser) -> Iterator[BrowserContext]:
    made = chromium.new_context(viewport={"width": 1280, "height": 900}, timezone_id="Asia/Tokyo")
    yield made
    made.close()


@pytest.fixture
def page(context: BrowserContext, api: Served) -> Page:
    return opened(context.new_page(), api.url)


def choose(page: Page, name: str, value: str) -> None:
    page.locator(f'input[name="{name}"][value="{value}"]').check(force=True)


def test_the_whole_view_is_in_the_address_and_can_be_sent(
    page: Page, context: BrowserContext
) -> None:
    page.click("#show-none")
    page.locator('[data-toggle="3"]').check()
    page.locator('[data-toggle="5"]').check()
    for name, value in (
        ("range", "50"),
        ("unit", "shannons"),
        ("price", "perq"),
        ("scale", "log"),
        ("time", "local"),
    ):
        choose(page, name, value)
    page.locator("#mean").check()
    page.click('th[data-sort="tax"] button')
    page.click("#theme")
    page.fill("#search", "oper")
    page.click("#zoom-in")
    expect(page).to_have_url(re.compile("epochs=22-47"))
    other = opened(context.new_page(), page.url)
    for told in (page, other):
        expect(told.locator("body")).to_have_attribute("data-series", "2")
        expect(told.locator("body")).to_have_attribute("data-first", "22")
        expect(told.locator("body")).to_have_attribute("data-last", "47")
        expect(told.locator("html")).to_have_attribute("data-theme", "dark")
        expect(told.locator("#card-stake .unit")).to_contain_text("Shannons, active, logarithmic")
        expect(told.locator("#card-price .unit")).to_contain_text("perquintill")
        expect(told.locator('th[data-sort="tax"]')).to_have_attribute("aria-sort", "ascending")
        expect(told.locator('input[name="time"]:checked')).to_have_value("local")
        expect(told.locator("#mean")).to_be_checked()
        expect(told.locator("#search")).to_have_value("oper")
    assert other.url == page.url


def test_back_and_forward_go_through_the_views(page: Page, api: Served) -> None:
    assert page.url == f"{api.url}/"
    choose(page, "range", "50")
    expect(page.locator("body")).to_have_attribute("data-first", "10")
    choose(page, "scale", "index")
    page.locator('[data-toggle="7"]').uncheck()
    expect(page.locator("body")).to_have_attribute("data-series", "11")
    page.go_back()
    expect(page.locator("body")).to_have_attribute("data-series", "12")
    expect(page.locator("#card-stake .unit")).to_contain_text("index, 100 at epoch 10")
    page.go_back()
    expect(page.locator("#card-stake .unit")).to_have_text("AI3, active")
    page.go_back()
    expect(page.locator("body")).to_have_attribute("data-first", "0")
    assert page.url == f"{api.url}/"
    page.go_forward()
    expect(page.locator("body")).to_have_attribute("data-first", "10")
    page.click('[data-operator="7"] a')
    expect(page.locator("#page h1")).to_contain_text("Operator 7")
    page.go_back()
    expect(page.locator("#page")).to_be_hidden()
    expect(page.locator("body")).to_have_attribute("data-first", "10")


def test_an_unknown_operator_or_epoch_has_a_page_that_says_so(page: Page, api: Served) -> None:
    for path, name in (("operator/99", "Operator 99"), ("epoch/777", "Epoch 777")):
        page.goto(f"{api.url}/#/{path}")
        expect(page.locator("#page h1")).to_have_text(f"{name} is not known")
        expect(page.locator("#page")).to_contain_text("overview of all operators")
    page.goto(f"{api.url}/?operators=99&range=7&sort=beauty&epochs=9-3")
    page.wait_for_selector("body[data-ready]")
    expect(page.locator("#legend")).to_contain_text("No operator is chosen")
    expect(page.locator("body")).to_have_attribute("data-last", "59")


def test_what_happened_to_an_operator_is_told_in_words(page: Page) -> None:
    page.click('[data-operator="3"] a')
    events = page.get_by_role("region", name="Events").locator("tbody tr")
    expect(events).to_have_count(3)
    expect(events.nth(0)).to_contain_text("Status changed from registered to slash pending")
    expect(events.nth(0)).to_contain_text("41")
    expect(events.nth(1)).to_contain_text("Nomination tax raised from 3 % to 9 %")
    expect(events.nth(2)).to_contain_text("Already registered in the first stored epoch")


def test_the_axes_have_round_dates_of_either_clock(page: Page) -> None:
    told = page.evaluate(
        """async () => {
          const { dates, levels } = await import("/static/axes.js");
          const hour = 3_600_000;
          const epochs = Float64Array.from({ length: 48 }, (_, i) => 100 + i);
          const times = epochs.map((_, i) => Date.UTC(2024, 4, 5, 12) + i * hour);
          const clock = (local) => dates({ epochs, times, local }, 100, 147, 480);
          return [clock(false), clock(true), levels(0, 4, 5, true, true),
            dates({ epochs, times: times.map(() => NaN), local: false }, 100, 147, 480)];
        }"""
    )
    assert told[0] == {
        "at": [100, 112, 124, 136],
        "names": ["5 May 12:00", "6 May 00:00", "12:00", "7 May 00:00"],
    }
    assert told[1]["names"] == ["6 May 00:00", "12:00", "7 May 00:00", "12:00"]  # nine hours ahead
    assert told[2]["names"] == ["1", "10", "100", "1k", "10k"]
    assert told[3]["at"] == []


def test_an_operator_each_has_a_chart_of_its_own(page: Page) -> None:
    choose(page, "layout", "each")
    figures = page.locator("#each figure")
    expect(figures).to_have_count(OPERATORS)
    expect(page.locator("#charts")).to_be_hidden()
    expect(figures.first.locator("path")).to_have_count(1)
    expect(figures.first).to_contain_text("Operator 11")
    page.locator("#mean").check()
    expect(figures.first.locator("path")).to_have_count(2)
    choose(page, "measure", "stake")
    expect(page.locator("#multiples .unit")).to_contain_text("Stake")
    expect(page).to_have_url(re.compile("layout=each.*measure=stake|measure=stake.*layout=each"))


def saved(page: Page, form: str) -> tuple[str, bytes]:
    page.click("#card-stake .save summary")
    with page.expect_download() as told:
        page.click(f'#card-stake [data-save="{form}"]')
    return told.value.suggested_filename, told.value.path().read_bytes()


def test_what_is_seen_is_saved_as_numbers_and_as_pictures(page: Page, api: Served) -> None:
    page.click("#show-none")
    page.locator('[data-toggle="3"]').check()
    choose(page, "range", "50")
    expect(page.locator("body")).to_have_attribute("data-first", "10")
    name, text = saved(page, "csv")
    rows = list(csv.DictReader(io.StringIO(text.decode("utf-8-sig"))))
    assert {row["operator_id"] for row in rows} == {"3"}
    assert [int(row["epoch"]) for row in rows] == list(range(10, 60))
    assert rows[-1]["stake"] == api.get("/api/operators/3").json["stake"]
    name, text = saved(page, "svg")
    assert name == "stake-10-59.svg"
    assert b"Operator 3" in text
    assert text.startswith(b"<svg ")
    name, text = saved(page, "png")
    assert text.startswith(b"\x89PNG")
    assert int.from_bytes(text[16:20], "big") == 2400


class Framing(BaseHTTPRequestHandler):
    """Another site, with one frame."""

    address = ""

    def do_GET(self) -> None:
        body = f'<iframe src="{self.address}" width="700" height="400"></iframe>'.encode()
        self.send_response(200)
        self.send_header("content-type", "text/html")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def site_of(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as site:
        site.daemon_threads = True
        site.block_on_close = False
        thread = Thread(target=site.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{site.server_port}"
        site.shutdown()
        thread.join()


def test_a_chart_is_framed_by_named_sites_and_no_others(
    api: Served, context: BrowserContext
) -> None:
    handler: type[Framing] = type("Site", (Framing,), {})
    with site_of(handler) as site, serving(api.dsn, FRAME_ORIGINS=f"{site}/") as open_api:
        page = context.new_page()
        chart = "embed?chart=price&operators=3,5&mean=1&theme=dark"
        handler.address = f"{open_api.url}/{chart}"
        page.goto(site)
        frame = page.frame_locator("iframe")
        expect(frame.get_by_role("img")).to_contain_text("network mean")
        expect(frame.get_by_role("img")).to_contain_text("Operator 5")
        expect(frame.locator("#fresh")).to_contain_text("epoch 59 ended")
        link = frame.locator("#whole").get_attribute("href")
        assert link == f"./?{chart.partition('?')[2]}"
        handler.address = f"{api.url}/{chart}"
        page.goto(site)
        expect(frame.locator("#whole")).to_have_count(0)
        assert "frame-ancestors 'none'" in open_api.get("/").headers["content-security-policy"]


def test_a_phone_shows_the_returns_first(chromium: Browser, api: Served) -> None:
    context = chromium.new_context(viewport={"width": 390, "height": 844})
    page = opened(context.new_page(), api.url)
    for sort in ("30d", "annualized", "7d", "tax"):
        box = page.locator(f'th[data-sort="{sort}"]').bounding_box()
        assert box is not None
        assert box["x"] + box["width"] <= 390, sort
    tops = [
        (page.locator(one).bounding_box() or {"y": -1})["y"] for one in ("#operators", "#toolbar")
    ]
    assert 0 < tops[0] < tops[1]
    context.close()


class Below(BaseHTTPRequestHandler):
    """A proxy that serves a site below a prefix of the path, and nothing beside it."""

    served: Served

    def do_GET(self) -> None:
        if not self.path.startswith("/prices/"):
            self.send_error(404)
            return
        with closing(HTTPConnection("127.0.0.1", self.served.port)) as site:
            site.request("GET", self.path.removeprefix("/prices"))
            answer = site.getresponse()
            self.send_response(answer.status)
            self.send_header("content-type", answer.headers["content-type"])
            self.end_headers()
            with suppress(ConnectionError):
                while part := answer.read1():
                    self.wfile.write(part)

    def log_message(self, *_: object) -> None:
        pass


def test_all_of_it_works_below_a_prefix_of_the_path(
    server: str, migrated: str, context: BrowserContext
) -> None:
    with database(server, migrated) as dsn, psycopg.connect(dsn, autocommit=True) as connection:
        history.write(connection, 0, 9, 3, raw=False)
        with serving(dsn) as api:
            handler: type[Below] = type("Proxy", (Below,), {"served": api})
            with site_of(handler) as address:
                page = context.new_page()
                refused: list[str] = []

                def note(answer: Response) -> None:
                    if answer.status >= 400:
                        refused.append(answer.url)

                page.on("response", note)
                opened(page, f"{address}/prices/")
                expect(page.locator("#rows tr")).to_have_count(3)
                history.write(connection, 10, 10, 3, raw=False)
                expect(page.locator("#announce")).to_contain_text("Epoch 10 has arrived")
                page.click('[data-operator="1"] a')
                expect(page.locator("#page")).to_contain_text("All of its 11 epochs")
                page.goto(f"{address}/prices/embed")
                expect(page.get_by_role("img")).to_be_visible()
                page.goto(f"{address}/prices/docs")
                expect(page.locator(".opblock").first).to_be_visible()
                assert refused == []


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize(
    "path", ["", "?layout=each&mean=1", "#/operator/3", "#/operator/99", "#/epoch/50", "embed"]
)
def test_axe_finds_nothing(page: Page, api: Served, path: str, theme: str) -> None:
    query, _, place = path.partition("#")
    separator = "&" if "?" in query else "?"
    page.goto(f"{api.url}/{query}{separator}theme={theme}{'#' if place else ''}{place}")
    page.wait_for_selector("body[data-ready], #chart svg")
    page.wait_for_timeout(300)
    assert violations(page) == []


def test_axe_finds_nothing_on_a_phone(chromium: Browser, api: Served) -> None:
    context = chromium.new_context(viewport={"width": 390, "height": 844})
    assert violations(opened(context.new_page(), api.url)) == []
    context.close()
