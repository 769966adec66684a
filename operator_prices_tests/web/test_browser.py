"""The dashboard in a real browser, as a person uses it."""

import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psycopg
import pytest
from playwright.sync_api import Browser, Page, Route, expect

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
EPOCHS = 260

FRAMES = """() => new Promise((done) => {
  const gaps = [];
  let before = performance.now();
  const watch = (now) => {
    gaps.push(now - before);
    before = now;
    if (gaps.length < 120) requestAnimationFrame(watch);
    else done(Math.max(...gaps));
  };
  requestAnimationFrame(watch);
  let step = 0;
  const zoom = setInterval(() => {
    document.querySelector(step % 2 ? "#zoom-out" : "#zoom-in").click();
    if (++step > 11) clearInterval(zoom);
  }, 100);
})"""
"""The longest that the page stood still while it was zoomed in and out, in milliseconds."""


STREAM = """
delete window.SharedWorker;
window.EventSource = class extends EventTarget {
  static CLOSED = 2;
  constructor() {
    super();
    this.readyState = 1;
    window.stream = this;
    setTimeout(() => window.reopen());
  }
};
window.reopen = () => stream.dispatchEvent(new Event("open"));
window.arrive = (...epochs) => {
  for (const epoch of epochs) {
    const data = JSON.stringify({ epoch, timestamp: 1700000000000 });
    stream.dispatchEvent(new MessageEvent("epoch", { data }));
  }
};
"""
"""A stream that says what a test lets it say, and nothing else."""

SHARED_WORKER = "window.SharedWorker"
"""Leaves the browser as it is."""

HIDING = """
let hidden = false;
Object.defineProperty(document, "visibilityState", { get: () => hidden ? "hidden" : "visible" });
Object.defineProperty(document, "hidden", { get: () => hidden });
window.hide = (yes) => {
  hidden = yes;
  document.dispatchEvent(new Event("visibilitychange"));
};
"""
"""A tab that is put behind another one, and comes back."""

HASTE = """
const patient = window.setInterval;
window.setInterval = (act, pause) => patient(act, Math.min(pause, 400));
"""
"""A minute passes in less than half a second."""

NAMELESS_STOPS = """() => {
  const found = [];
  const walk = (root) => {
    for (const one of root.querySelectorAll("*")) {
      if (one.shadowRoot) walk(one.shadowRoot);
      if (root !== document && one.tabIndex >= 0) found.push(one.outerHTML.slice(0, 80));
    }
  };
  walk(document);
  return found;
}"""


def followed(connection: psycopg.Connection, completed: int = EPOCHS - 1) -> None:
    """Have the source answer just now, and for as long as a test may last."""
    store.note_head(connection, 10**6, completed)
    connection.execute("UPDATE source_head SET heard_at = now() + INTERVAL '1 hour'")
    connection.execute("UPDATE source_head SET grown_at = heard_at")


@pytest.fixture(scope="module")
def api(server: str, migrated: str) -> Iterator[Served]:
    with database(server, migrated) as dsn:
        with psycopg.connect(dsn, autocommit=True) as connection:
            history.write(connection, 0, EPOCHS - 1, OPERATORS, raw=False)
            followed(connection)
            connection.execute("UPDATE epochs SET complete = false WHERE epoch = 250")
            connection.execute(
                "INSERT INTO quarantine (epoch, item, reason, source)"
                " VALUES (250, 'Operators', 'seven bytes too many', 'chain')"
            )
            connection.execute(
                "UPDATE operators_metadata SET name = 'Big Sky' WHERE operator_id = 7"
            )
        with serving(dsn) as served:
            yield served


@pytest.fixture
def page(chromium: Browser, api: Served) -> Iterator[Page]:
    """A loaded dashboard; whatever the browser complains of fails the test."""
    context = chromium.new_context(viewport={"width": 1280, "height": 900}, color_scheme="light")
    tab = context.new_page()
    complaints: list[str] = []
    tab.on(
        "console",
        lambda told: complaints.append(told.text) if told.type in {"error", "warning"} else None,
    )
    tab.on("pageerror", lambda error: complaints.append(str(error)))
    tab.on(
        "request",
        lambda asked: complaints.append(asked.url) if not asked.url.startswith(api.url) else None,
    )
    yield opened(tab, f"{api.url}/")
    context.close()
    assert complaints == []


@contextmanager
def small(server: str, migrated: str) -> Iterator[tuple[Served, psycopg.Connection]]:
    """60 epochs that a test may add to, of three operators and one that is gone since epoch 29."""
    with (
        database(server, migrated) as dsn,
        psycopg.connect(dsn, autocommit=True) as connection,
    ):
        history.write(connection, 0, 29, 4, raw=False)
        history.write(connection, 30, 59, 3, raw=False)
        connection.execute("UPDATE operators_metadata SET is_active = false WHERE operator_id = 3")
        with serving(dsn) as served:
            yield served, connection


@contextmanager
def alone(chromium: Browser, url: str, *scripts: str) -> Iterator[tuple[Page, list[str]]]:
    """A dashboard whose browser ran `scripts` first, and what it asks for, a list that grows."""
    context = chromium.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    for script in scripts:
        page.add_init_script(script)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url.removeprefix(url)))
    yield opened(page, url), asked
    context.close()


def view(page: Page) -> tuple[int, int]:
    """First and last epoch that the charts show, once they are still."""
    shown = "[document.body.dataset.first, document.body.dataset.last].map(Number)"
    before, now = None, page.evaluate(shown)
    while now != before:
        page.wait_for_timeout(200)
        before, now = now, page.evaluate(shown)
    return now[0], now[1]


def assert_shown(page: Page, first: int, last: int) -> None:
    """The charts come to show just these epochs, and go on to."""
    expect(page.locator("body")).to_have_attribute("data-first", str(first))
    expect(page.locator("body")).to_have_attribute("data-last", str(last))
    assert view(page) == (first, last)


def watchers(api: Served) -> int:
    """How many streams the server has open."""
    metrics = api.get("/metrics").body.decode()
    name = next(
        line for line in metrics.splitlines() if line.startswith("operator_prices_stream_listeners")
    )
    return int(float(name.split()[-1]))


def until(done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not done():
        assert time.monotonic() < deadline, "it did not come about within 20 seconds"
        time.sleep(0.1)


def choose(page: Page, name: str, value: str) -> None:
    page.evaluate("scrollTo(0, 0)")  # out from under the bar
    page.locator(f'input[name="{name}"][value="{value}"]').check(force=True)


def test_the_page_loads_with_all_operators_and_the_last_epochs(page: Page) -> None:
    assert_shown(page, 60, 259)
    expect(page.locator("#rows tr")).to_have_count(OPERATORS)
    expect(page.locator("#fresh-text")).to_have_text(
        re.compile(r"^Epoch 259 · ended \d+ \w+ ago, on 16 Nov 2023$")
    )
    expect(page.locator("#live-dot")).to_have_attribute("data-state", "past")
    expect(page.locator("#connection")).to_contain_text("Following a chain whose clock is")
    expect(page.locator("h1")).to_have_count(1)
    assert page.locator("canvas").count() >= 4
    expect(page.locator("#legend .chip")).to_have_count(8)
    expect(page.locator("#legend")).to_contain_text("and 4 more")


def test_ranges_choose_how_many_epochs(page: Page) -> None:
    for value, span in (
        ("50", (210, 259)),
        ("100", (160, 259)),
        ("all", (0, 259)),
        ("200", (60, 259)),
    ):
        choose(page, "range", value)
        expect(page.locator("body")).not_to_have_attribute("data-loading", "true")
        expect(page.locator("body")).to_have_attribute("data-first", str(span[0]))
        assert_shown(page, *span)


def test_operators_can_be_toggled_one_by_one_and_together(page: Page) -> None:
    page.locator('[data-toggle="3"]').uncheck()
    expect(page.locator("body")).to_have_attribute("data-series", str(OPERATORS - 1))
    expect(page.locator("#shown")).to_have_text(f"{OPERATORS - 1} of {OPERATORS} shown")
    page.click("#show-none")
    expect(page.locator("body")).to_have_attribute("data-series", "0")
    page.click("#show-top")
    expect(page.locator("body")).to_have_attribute("data-series", "8")
    page.click("#show-all")
    expect(page.locator("body")).to_have_attribute("data-series", str(OPERATORS))


def test_under_a_search_only_what_matches_is_hidden(page: Page) -> None:
    page.fill("#search", "operator 1")
    expect(page.locator("#rows tr")).to_have_count(3)  # 1, 10 and 11
    page.get_by_role("button", name="Hide matches").click()
    expect(page.locator("#shown")).to_have_text(f"{OPERATORS - 3} of {OPERATORS} shown")
    page.get_by_role("button", name="Show matches").click()
    expect(page.locator("#shown")).to_have_text(f"{OPERATORS} of {OPERATORS} shown")


def test_operators_are_searched_and_sorted(page: Page) -> None:
    page.fill("#search", "big")
    expect(page.locator("#rows tr")).to_have_count(1)
    expect(page.locator("#rows tr")).to_contain_text("Big Sky")
    page.fill("#search", "")
    rows = "#rows tr"
    order = "all => all.map(row => Number(row.dataset.operator))"
    assert page.eval_on_selector_all(rows, order) == list(range(OPERATORS))[::-1]
    page.click('th[data-sort="stake"] button')
    assert page.eval_on_selector_all(rows, order) == list(range(OPERATORS))
    page.click('th[data-sort="1d"] button')
    expect(page.locator('th[data-sort="1d"]')).to_have_attribute("aria-sort", "descending")
    page.click('th[data-sort="tax"] button')
    assert page.eval_on_selector_all(rows, order) == list(range(OPERATORS))


def test_amounts_are_exact_in_either_unit(page: Page, api: Served) -> None:
    stake = api.get("/api/operators/5").json["stake"]
    cell = page.locator('[data-operator="5"] td.number').first
    whole, rest = stake[:-18], stake[-18:]
    expect(cell).to_have_text(f"{int(whole):,}.{rest}")
    choose(page, "unit", "shannons")
    expect(cell).to_have_text(f"{int(stake):,}")
    expect(page.locator("#card-stake .unit")).to_contain_text("Shannons")


def test_the_price_is_shown_either_way(page: Page, api: Served) -> None:
    told = api.get("/api/epochs/259").json
    chart = page.locator("#chart-price")
    chart.focus()
    page.keyboard.press("End")
    tip = page.locator("#tip")
    worth = told["stakePerShare"]["4"]
    expect(tip).to_contain_text(f"{worth[0]}.{worth[1:]}")
    choose(page, "price", "perq")
    chart.focus()
    page.keyboard.press("End")
    expect(tip).to_contain_text(f"{int(told['sharePricesPerq']['4']):,}")


def test_zooming_by_brush_buttons_and_keys(page: Page) -> None:
    box = page.locator("#chart-stake").bounding_box()
    assert box is not None
    middle = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + box["width"] * 0.4, middle)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.6, middle, steps=8)
    page.mouse.up()
    expect(page.locator("body")).not_to_have_attribute("data-first", "60")
    first, last = view(page)
    assert 100 < first < last < 220
    expect(page.locator('input[name="range"]:checked')).to_have_count(0)
    page.click("#reset")
    assert_shown(page, 60, 259)
    expect(page.locator('input[name="range"]:checked')).to_have_value("200")
    page.click("#zoom-in")
    assert_shown(page, 110, 209)
    page.click("#later")
    assert view(page)[1] == 259
    page.locator("#chart-reward").focus()
    page.keyboard.press("0")
    assert_shown(page, 60, 259)


def test_a_tooltip_tells_exact_values_and_keys_read_them_out(page: Page, api: Served) -> None:
    box = page.locator("#chart-stake").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] - 16, box["y"] + 100)
    tip = page.locator("#tip")
    expect(tip).to_contain_text("Epoch 259")
    expect(tip).not_to_contain_text("null")
    expect(tip.locator(".near")).to_have_count(1)
    stake = api.get("/api/epochs/259").json["operatorActiveStakes"]["11"]
    expect(tip).to_contain_text(f"{int(stake[:-18]):,}.{stake[-18:]} AI3")
    page.locator("#chart-stake").focus()
    page.keyboard.press("ArrowLeft")
    expect(page.locator("#announce")).to_contain_text("Stake: ")
    page.keyboard.press("Enter")
    expect(page.locator("#page h1")).to_contain_text("Epoch 25")
    expect(page.locator("#page h1")).to_be_focused()
    page.click("#page .crumbs a")
    expect(page.locator("#chart-stake")).to_be_focused()


def test_an_operator_has_a_page(page: Page, api: Served) -> None:
    page.click('[data-operator="7"] a')
    told = page.locator("#page")
    expect(told.locator("h1")).to_contain_text("Big Sky")
    for text in ("registered", "Nomination tax", "First epoch", "Last epoch"):
        expect(told).to_contain_text(text)
    expect(told).to_contain_text(api.get("/api/operators/7").json["owner"])
    expect(page.locator("body")).to_have_attribute("data-series", "1")
    page.click("#page .crumbs a")
    expect(told).to_be_hidden()
    expect(page.locator("body")).to_have_attribute("data-series", str(OPERATORS))


def test_an_incomplete_epoch_is_shown_as_such(page: Page) -> None:
    notice = page.locator("#notices")
    expect(notice).to_contain_text("One epoch is incomplete")
    notice.locator("a").first.click()
    expect(page.locator("#page h1")).to_contain_text("incomplete")
    expect(page.locator("#page")).to_contain_text("seven bytes too many")
    page.locator("#page .crumbs a", has_text="after").click()
    expect(page.locator("#page h1")).to_contain_text("Epoch 251")


def test_the_charts_are_a_table_too(page: Page, api: Served) -> None:
    page.click("#as-table summary")
    first = page.locator("#epochs tr").first
    expect(first).to_contain_text("259")
    expect(page.locator("#cut")).to_have_text("All 200 epochs in view.")
    choose(page, "range", "all")
    expect(page.locator("#cut")).to_contain_text("The last 200 of the 260 epochs in view")
    total = api.get("/api/summary").json["totalStake"]
    expect(first).to_contain_text(f"{int(total[:-18]):,}.{total[-18:]}")


def test_dark_and_light_are_kept(page: Page) -> None:
    assert page.get_attribute("html", "data-theme") == "light"
    page.click("#theme")
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    page.reload()
    page.wait_for_selector("body[data-ready]")
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")


def test_a_chart_fills_the_screen_and_comes_back(page: Page) -> None:
    page.click("#card-price .full")
    expect(page.locator("#card-price:fullscreen")).to_have_count(1)
    page.wait_for_timeout(300)
    page.locator("#chart-price").hover(position={"x": 500, "y": 200})
    tip = page.locator("#card-price > #tip")
    expect(tip).to_contain_text("Share price")
    shown = "one => one.getBoundingClientRect().height > 0"
    assert tip.evaluate(shown)
    expect(page.locator("#card-price > #legend .chip")).to_have_count(8)
    page.click("#card-price .full")
    expect(page.locator("#card-price:fullscreen")).to_have_count(0)
    expect(page.locator("body > #tip")).to_have_count(1)


def test_a_phone_needs_no_sideways_scrolling(chromium: Browser, api: Served) -> None:
    context = chromium.new_context(viewport={"width": 390, "height": 844})
    page = opened(context.new_page(), f"{api.url}/")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    table = page.locator("#operators .scroll")
    expect(table).to_have_class("scroll wider")
    name = page.locator('[data-operator="7"] th')
    before = name.bounding_box()
    table.evaluate("one => { one.scrollLeft = one.scrollWidth; }")
    after = name.bounding_box()
    assert before is not None
    assert after is not None
    assert after["x"] == pytest.approx(before["x"], abs=12)  # pinned
    expect(table).to_have_class("scroll")
    page.goto(f"{api.url}/#/operator/3")
    expect(page.locator("#page h1")).to_contain_text("Operator 3")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    context.close()


def test_every_control_has_a_name(page: Page) -> None:
    nameless = page.evaluate(
        """() => [...document.querySelectorAll("button, a, input, [role=application]")]
        .filter((one) => !(one.getAttribute("aria-label") || one.textContent.trim()
          || one.closest("label")?.textContent.trim())).map((one) => one.outerHTML)"""
    )
    assert nameless == []


def test_a_new_epoch_arrives_live(server: str, migrated: str, chromium: Browser) -> None:
    with (
        database(server, migrated) as dsn,
        psycopg.connect(dsn, autocommit=True) as connection,
    ):
        begun = int(time.time() * 1000) - 60 * history.EPOCH
        history.write(connection, 0, 59, 3, raw=False, begun=begun)
        followed(connection, 59)
        with serving(dsn) as api:
            page = opened(chromium.new_page(), f"{api.url}/")
            expect(page.locator("#live-dot")).to_have_attribute("data-state", "live")
            expect(page.locator("#connection")).to_have_text("Live")
            expect(page.locator("#fresh-text")).to_contain_text("Epoch 59 · ended 11 minutes ago")
            history.write(connection, 60, 60, 4, raw=False, begun=begun)
            expect(page.locator("#announce")).to_contain_text("Epoch 60 has arrived")
            expect(page.locator("#fresh-text")).to_contain_text("Epoch 60")
            expect(page.locator("#cards")).to_contain_text("60")
            expect(page.locator("body")).to_have_attribute("data-series", "4")
            assert view(page)[1] == 60
            page.close()


def test_what_is_late_or_stopped_is_never_shown_as_live(
    server: str, migrated: str, chromium: Browser
) -> None:
    with small(server, migrated) as (api, connection), alone(chromium, api.url, HASTE) as opening:
        page, _ = opening
        dot, text = page.locator("#live-dot"), page.locator("#connection")
        expect(dot).to_have_attribute("data-state", "lost")  # of 2023, and nobody asks a node
        expect(text).to_contain_text("Stopped: no epoch has come")
        followed(connection, 65)
        expect(dot).to_have_attribute("data-state", "late")
        expect(text).to_have_text("Late: 6 completed epochs are not here yet")
        connection.execute("UPDATE source_head SET grown_at = now() - INTERVAL '10 minutes'")
        expect(dot).to_have_attribute("data-state", "lost")
        expect(text).to_have_text("Stopped: the source has had no new block for 10 minutes")


def test_twelve_tabs_of_one_browser_share_one_stream(
    server: str, migrated: str, chromium: Browser
) -> None:
    with small(server, migrated) as (api, connection):
        context = chromium.new_context()
        tabs = [opened(context.new_page(), api.url) for _ in range(12)]
        assert watchers(api) == 1
        history.write(connection, 60, 60, 3, raw=False)
        for tab in tabs:
            expect(tab.locator("body")).to_have_attribute("data-epochs", "61")
        for tab in tabs[:-1]:
            tab.close()
        history.write(connection, 61, 61, 3, raw=False)
        expect(tabs[-1].locator("body")).to_have_attribute("data-epochs", "62")
        context.close()


@pytest.mark.parametrize("script", [SHARED_WORKER, "delete window.SharedWorker"])
def test_a_hidden_tab_has_no_stream_and_fetches_what_it_missed_when_it_is_seen(
    server: str, migrated: str, chromium: Browser, script: str
) -> None:
    with (
        small(server, migrated) as (api, connection),
        alone(chromium, api.url, HIDING, script) as (page, _),
    ):
        expect(page.locator("#connection")).not_to_have_text("Loading")
        page.wait_for_timeout(1_000)  # what was asked for when the stream opened has come
        assert watchers(api) == 1
        page.evaluate("hide(true)")
        history.write(connection, 60, 60, 3, raw=False)  # whoever left is noticed when told
        until(lambda: watchers(api) == 0)
        expect(page.locator("body")).to_have_attribute("data-epochs", "60")
        page.evaluate("hide(false)")
        expect(page.locator("body")).to_have_attribute("data-epochs", "61")
        until(lambda: watchers(api) == 1)


def test_what_a_stream_missed_is_fetched_when_it_comes_back(
    server: str, migrated: str, chromium: Browser
) -> None:
    with small(server, migrated) as (api, connection), alone(chromium, api.url, STREAM) as opening:
        page, asked = opening
        expect(page.locator("body")).to_have_attribute("data-epochs", "60")
        history.write(connection, 60, 69, 3, raw=False)
        page.evaluate("reopen()")
        expect(page.locator("body")).to_have_attribute("data-epochs", "70")
        expect(page.locator("#fresh-text")).to_contain_text("Epoch 69")
        assert "/api/epochs?from=60" in asked


def test_a_range_that_is_chosen_while_something_else_is_fetched_stays_chosen(
    server: str, migrated: str, chromium: Browser
) -> None:
    held: list[Route] = []

    def hold(request: Route) -> None:
        held.append(request)

    with small(server, migrated) as (api, _), alone(chromium, api.url, STREAM) as opening:
        page, _ = opening
        page.wait_for_timeout(1_000)  # what was asked for when the stream opened has come
        page.route("**/api/status", hold)
        page.evaluate("reopen()")
        page.wait_for_timeout(200)
        assert held
        choose(page, "range", "50")
        choose(page, "scale", "log")  # draws what is in view
        page.wait_for_timeout(500)
        expect(page.locator('input[name="range"]:checked')).to_have_value("50")
        assert "epochs=" not in page.url
        page.unroute("**/api/status")  # lets go of what is held, too
        assert_shown(page, 10, 59)
        expect(page.locator('input[name="range"]:checked')).to_have_value("50")


def test_an_epoch_brings_along_those_before_it_that_were_missed(
    server: str, migrated: str, chromium: Browser
) -> None:
    with small(server, migrated) as (api, connection), alone(chromium, api.url, STREAM) as opening:
        page, asked = opening
        page.wait_for_timeout(500)
        history.write(connection, 60, 69, 3, raw=False)
        page.evaluate("arrive(69)")
        expect(page.locator("body")).to_have_attribute("data-epochs", "70")
        assert "/api/epochs?from=60&to=69" in asked


def test_a_burst_of_epochs_is_fetched_at_once(
    server: str, migrated: str, chromium: Browser
) -> None:
    with small(server, migrated) as (api, connection), alone(chromium, api.url, STREAM) as opening:
        page, asked = opening
        page.wait_for_timeout(500)
        history.write(connection, 60, 359, 3, raw=False)
        asked.clear()
        page.evaluate("arrive(...Array.from({ length: 300 }, (_, index) => 60 + index))")
        expect(page.locator("body")).to_have_attribute("data-epochs", "360")
        expect(page.locator("#announce")).to_contain_text("300 epochs have arrived")
        page.wait_for_timeout(500)
        assert [one for one in asked if one.startswith("/api/epochs?")] == [
            "/api/epochs?from=60&to=359"
        ]
        assert asked.count("/api/operators") == 1


def test_no_line_bridges_missing_epochs_or_falls_to_zero_at_unknown_ones(page: Page) -> None:
    told = page.evaluate(
        """async () => {
          const { thinned, shapes } = await import("/static/points.js");
          const plain = (values) => values.map((one) => (Number.isNaN(one) ? null : one));
          const many = Array.from({ length: 4000 }, (_, index) => index + (index > 2000 ? 50 : 0));
          const ones = many.map(() => 1);
          return [
            plain(thinned([1, 2, 5, 6], [1, 2, 3, 4], 0, 0, 3, 100)[1]),
            plain(thinned(many, ones, 0, 0, 3999, 100)[1]).filter((one) => one === null).length,
            shapes([1, 2, 3, 4], [7, 8, NaN, 9]),
          ];
        }"""
    )
    assert told[0] == [1, 2, None, 3, 4]
    assert told[1] == 1
    assert told[2] == {
        "xs": [[0.5, 0.5, 1, 2, 2.5, 2.5], [3.5, 3.5, 4, 4.5, 4.5]],
        "ys": [[0, 7, 7, 8, 8, 0], [0, 9, 9, 9, 0]],
    }


BUSY = '[aria-busy="true"]'


def test_until_the_first_answer_the_page_says_that_it_loads_and_nothing_that_is_not_so(
    chromium: Browser, api: Served
) -> None:
    page = chromium.new_page()
    held: list[Route] = []
    gated = re.compile("/api/(operators|freshness)$")

    def hold(route: Route) -> None:
        held.append(route)

    page.route(gated, hold)
    page.goto(api.url)
    expect(page.locator("#legend")).to_have_text("Loading operators…")
    expect(page.locator("#rows")).to_have_text("Loading operators…")
    expect(page.locator("#connection")).to_have_text("Loading")
    page.click("#theme")  # prints all again that there is
    page.fill("#search", "1")
    assert page.locator(BUSY).evaluate_all("all => all.map((one) => one.id)") == [
        *("cards", "legend", "charts", "operators"),
    ]
    assert page.locator("#cards .waiting").count() == 5
    assert violations(page) == []
    assert page.locator("#rows").inner_text() == "Loading operators…"
    page.evaluate(
        "() => new MutationObserver(() => {"
        " window.said = (window.said ?? '') + document.querySelector('#legend').innerText;"
        "}).observe(document.querySelector('#legend'), { subtree: true, childList: true })"
    )
    while held:
        held.pop().continue_()
    page.unroute(gated, hold)
    page.fill("#search", "")
    expect(page.locator("#rows tr")).to_have_count(OPERATORS)
    expect(page.locator("#legend")).to_contain_text("Big Sky")
    expect(page.locator(BUSY)).to_have_count(0)
    expect(page.locator(".waiting")).to_have_count(0)
    assert "No operator" not in page.evaluate("window.said")
    page.close()


def test_a_first_load_that_fails_is_tried_again_and_said(chromium: Browser, api: Served) -> None:
    page = chromium.new_page()
    page.add_init_script(STREAM)
    page.route("**/api/operators", lambda route: route.abort())
    page.goto(api.url)
    trouble = page.locator("#trouble")
    expect(trouble).to_contain_text("could not be loaded")
    expect(trouble).to_contain_text("Trying again in 2 seconds")
    expect(page.locator("#legend")).to_have_text("The operators could not be loaded")
    expect(page.locator("#rows")).to_have_text("The operators could not be loaded")
    expect(page.locator(BUSY)).to_have_count(0)
    expect(page.locator("#connection")).to_contain_text("Following")
    page.unroute("**/api/operators")
    expect(page.locator("body")).to_have_attribute("data-epochs", "200", timeout=15_000)
    expect(trouble).to_be_hidden()
    expect(page.locator("#rows tr")).to_have_count(OPERATORS)
    expect(page.locator(".waiting")).to_have_count(0)
    page.close()


def test_a_repair_and_new_quarantine_are_noticed(
    server: str, migrated: str, chromium: Browser
) -> None:
    with small(server, migrated) as (api, connection), alone(chromium, api.url, HASTE) as opening:
        page, _ = opening
        rewards = page.locator("#cards .fact", has_text="Rewards of the epoch").locator(".big")
        expect(rewards).not_to_have_text("unknown")
        connection.execute("UPDATE operator_shares SET reward_raw = NULL WHERE epoch = 59")
        connection.execute("UPDATE epochs SET complete = false WHERE epoch = 59")
        connection.execute("SELECT refresh_epoch_analytics(59, 59)")
        expect(page.locator("#notices")).to_contain_text("One epoch is incomplete")
        expect(rewards).to_have_text("unknown")
        page.click("#as-table summary")
        expect(page.locator("#epochs tr").first.locator("td").nth(2)).to_have_text("unknown")
        connection.execute("UPDATE operator_shares SET reward_raw = 5 WHERE epoch = 59")
        connection.execute("UPDATE epochs SET complete = true WHERE epoch = 59")
        connection.execute("SELECT refresh_epoch_analytics(59, 59)")
        expect(page.locator("#notices")).to_be_hidden()
        expect(rewards).to_have_text("0.000000000000000015")
        expect(page.locator("#epochs tr").first.locator("td").nth(2)).to_contain_text("15")


def test_what_arrives_leaves_the_focus_and_renews_an_open_page(
    server: str, migrated: str, chromium: Browser
) -> None:
    with small(server, migrated) as (api, connection), alone(chromium, api.url) as opening:
        page, _ = opening
        box = page.locator('[data-toggle="1"]')
        box.focus()
        history.write(connection, 60, 60, 5, raw=False)
        expect(page.locator("#rows tr")).to_have_count(5)
        expect(box).to_be_focused()
        page.goto(f"{api.url}/#/epoch/60")
        overview = page.locator("#page .crumbs a").first
        expect(page.locator("#page .crumbs")).not_to_contain_text("after")
        overview.focus()
        history.write(connection, 61, 61, 5, raw=False)
        expect(page.locator("#page .crumbs")).to_contain_text("Epoch 61, after")
        expect(overview).to_be_focused()
        page.goto(f"{api.url}/#/operator/1")
        expect(page.locator("#page")).to_contain_text("All of its 62 epochs")
        history.write(connection, 62, 62, 5, raw=False)
        expect(page.locator("#page")).to_contain_text("All of its 63 epochs")
        assert_shown(page, 0, 62)


def test_an_operator_that_is_gone_shows_its_own_time(
    server: str, migrated: str, chromium: Browser
) -> None:
    with small(server, migrated) as (api, connection):
        history.write(connection, 60, 400, 3, raw=False)
        with alone(chromium, api.url) as (page, _):
            assert_shown(page, 201, 400)
            last = page.locator("#rows tr").last
            expect(last).to_have_attribute("data-operator", "3")
            expect(last).to_contain_text("as of epoch 29")
            for column in ("stake", "id", "id"):  # falling ids would begin with it
                page.click(f'th[data-sort="{column}"] button')
                expect(last).to_have_attribute("data-operator", "3")
            last.locator("a").click()
            expect(page.locator("#page h1")).to_contain_text("Operator 3")
            expect(page.locator("#page")).to_contain_text("All of its 30 epochs")
            expect(page.locator("body")).to_have_attribute("data-last", "29")
            assert_shown(page, 0, 29)
            page.go_back()
            expect(page.locator("body")).to_have_attribute("data-last", "400")
            assert_shown(page, 201, 400)


def test_all_of_a_history_can_be_reached(page: Page) -> None:
    page.click('[data-operator="7"] a')
    rows = page.get_by_role("region", name="History").locator("tbody tr")
    expect(rows).to_have_count(200)
    page.click("[data-more]")
    expect(rows).to_have_count(EPOCHS)
    expect(rows.last).to_contain_text("0")
    expect(page.locator("[data-more]")).to_have_count(0)


def test_a_skip_link_does_not_close_a_page(page: Page) -> None:
    page.click('[data-operator="7"] a')
    expect(page.locator("#page h1")).to_be_focused()
    page.locator(".skip").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#main")).to_be_focused()
    page.wait_for_timeout(200)
    expect(page.locator("#page h1")).to_contain_text("Big Sky")
    assert page.url.endswith("/#/operator/7")


def test_what_moves_in_a_list_keeps_the_focus(page: Page) -> None:
    focused = page.evaluate(
        """async () => {
          const { make, update } = await import("/static/elements.js");
          const row = (key) => make("p", { "data-key": key }, make("button", {}, key));
          const list = make("div", {}, row("a"), row("b"), row("c"));
          document.body.append(list);
          const [, second, third] = list.querySelectorAll("button");
          const found = [];
          for (const [one, ...order] of [[second, "b", "c", "a"], [third, "c", "a", "b"]]) {
            one.focus();
            update(list, ...order.map(row));
            found.push(list.textContent, document.activeElement.textContent);
          }
          list.remove();
          return found;
        }"""
    )
    assert focused == ["bca", "b", "cab", "c"]


def test_the_window_on_the_history_is_moved_by_keys(page: Page) -> None:
    window = page.get_by_role("slider", name="Window of epochs")
    choose(page, "range", "all")
    expect(page.locator("body")).to_have_attribute("data-first", "0")
    window.focus()
    page.keyboard.press("+")
    assert_shown(page, 65, 194)
    expect(window).to_have_attribute("aria-valuetext", "Epochs 65 to 194")
    page.keyboard.press("ArrowRight")
    assert_shown(page, 78, 207)
    page.keyboard.press("Home")
    assert_shown(page, 0, 129)
    expect(window).to_have_attribute("aria-valuenow", "0")


def test_nothing_within_the_charts_stops_the_tab_key(page: Page) -> None:
    assert page.evaluate(NAMELESS_STOPS) == []


def test_a_double_click_opens_an_epoch_and_leaves_the_view(page: Page) -> None:
    page.click("#zoom-in")
    before = view(page)
    page.locator("#chart-stake").dblclick(position={"x": 500, "y": 100})
    expect(page.locator("#page h1")).to_contain_text("Epoch 1")
    assert view(page) == before


def test_a_finger_sees_the_values_first(chromium: Browser, api: Served) -> None:
    context = chromium.new_context(
        viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True
    )
    page = opened(context.new_page(), api.url)
    chart = page.locator("#chart-stake")
    chart.tap(position={"x": 200, "y": 100})
    expect(page.locator("#tip")).to_contain_text("Tap again")
    expect(page.locator("#page")).to_be_hidden()
    epoch = page.locator("#tip h3").inner_text().split()[1]
    chart.tap(position={"x": 204, "y": 103})
    expect(page.locator("#page h1")).to_contain_text(f"Epoch {epoch}")
    context.close()


def test_shannons_break_between_their_groups(page: Page) -> None:
    choose(page, "unit", "shannons")
    total = page.locator("#cards .fact", has_text="Total stake").locator(".long")
    expect(total.locator("wbr")).not_to_have_count(0)
    expect(page.locator("#card-stake .unit")).to_contain_text("10²¹ Shannons")


def test_an_empty_database_is_told_and_no_error(
    server: str, migrated: str, chromium: Browser
) -> None:
    with database(server, migrated) as dsn, serving(dsn) as api:
        page = opened(chromium.new_page(), f"{api.url}/")
        expect(page.locator("#fresh-text")).to_have_text("No epoch is stored yet")
        expect(page.locator("#rows")).to_contain_text("No operator is stored yet")
        page.close()


def test_swagger_draws_the_api_offline(chromium: Browser, api: Served) -> None:
    page = chromium.new_page()
    page.goto(f"{api.url}/docs")
    expect(page.locator(".opblock").first).to_be_visible()
    assert page.locator(".opblock").count() >= 12
    page.close()


def test_64_series_of_5000_epochs_are_zoomed_without_a_freeze(
    server: str, migrated: str, chromium: Browser
) -> None:
    with database(server, migrated) as dsn:
        with psycopg.connect(dsn, autocommit=True) as connection:
            history.write(connection, 0, 4_999, 64, raw=False)
            history.settle(connection)
        with serving(dsn) as api:
            page = opened(chromium.new_page(), f"{api.url}/")
            shown = page.locator("body")
            expect(shown).to_have_attribute("data-series", "8")
            page.click("#show-all")
            expect(shown).to_have_attribute("data-series", "64")
            choose(page, "range", "all")
            expect(shown).to_have_attribute("data-first", "0", timeout=30_000)
            longest = page.evaluate(FRAMES)
            print(f"\nlongest pause while zooming: {longest:.0f} ms")  # noqa: T201
            assert longest < 1_000
            chart = page.locator("#chart-stake")
            chart.scroll_into_view_if_needed()
            box = chart.bounding_box()
            assert box is not None
            chart.hover(position={"x": box["width"] / 2, "y": box["height"] - 45})
            near = page.locator("#tip .near")
            expect(near).to_contain_text("Operator")
            expect(page.locator("#tip")).to_contain_text("and 51 more")
            assert int(near.inner_text().split()[1]) < 50  # not among the 12 largest
            covered = """() => {
              const scroll = document.querySelector("#operators .scroll");
              scroll.scrollTop = 400;
              const { left, top } = scroll.querySelector('th[data-sort="id"] button')
                .getBoundingClientRect();
              return document.elementFromPoint(left + 5, top + 5).closest("tr").dataset.operator;
            }"""
            page.locator("#operators").scroll_into_view_if_needed()
            assert page.evaluate(covered) is None
            page.close()
