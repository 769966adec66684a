"""The dashboard in a real browser, as a person uses it."""

import os
from collections.abc import Iterator

import psycopg
import pytest
from playwright.sync_api import Browser, Page, expect

from operator_prices_tests import history
from operator_prices_tests.browser import browser, opened, program
from operator_prices_tests.web_server import Served, database, serving

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


@pytest.fixture(scope="module")
def api(server: str, migrated: str) -> Iterator[Served]:
    with database(server, migrated) as dsn:
        with psycopg.connect(dsn, autocommit=True) as connection:
            history.write(connection, 0, EPOCHS - 1, OPERATORS, raw=False)
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


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser() as running:
        yield running


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


def view(page: Page) -> tuple[int, int]:
    """First and last epoch that the charts show, once they are still."""
    page.wait_for_timeout(150)
    first = page.get_attribute("body", "data-first") or "-1"
    return int(first), int(page.get_attribute("body", "data-last") or "-1")


def choose(page: Page, name: str, value: str) -> None:
    page.evaluate("scrollTo(0, 0)")  # out from under the bar
    page.locator(f'input[name="{name}"][value="{value}"]').check(force=True)


def test_the_page_loads_with_all_operators_and_the_last_epochs(page: Page) -> None:
    assert view(page) == (60, 259)
    expect(page.locator("#rows tr")).to_have_count(OPERATORS)
    expect(page.locator("#fresh-text")).to_contain_text("Epoch 259")
    expect(page.locator("#live-dot")).to_have_attribute("data-state", "live")
    assert page.locator("canvas").count() >= 4


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
        assert view(page) == span


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
    expect(page.locator('#card-stake [data-unit="amount"]')).to_contain_text("Shannons")


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
    page.click("#reset")
    assert view(page) == (60, 259)
    page.click("#zoom-in")
    assert view(page) == (110, 209)
    page.click("#later")
    assert view(page)[1] == 259
    page.locator("#chart-reward").focus()
    page.keyboard.press("0")
    assert view(page) == (60, 259)


def test_a_tooltip_tells_exact_values_and_keys_read_them_out(page: Page, api: Served) -> None:
    box = page.locator("#chart-stake").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] - 16, box["y"] + 100)
    tip = page.locator("#tip")
    expect(tip).to_contain_text("Epoch 259")
    stake = api.get("/api/epochs/259").json["operatorActiveStakes"]["11"]
    expect(tip).to_contain_text(f"{int(stake[:-18]):,}.{stake[-18:]} AI3")
    page.locator("#chart-stake").focus()
    page.keyboard.press("ArrowLeft")
    expect(page.locator("#announce")).to_contain_text("Stake: ")
    page.keyboard.press("Enter")
    expect(page.locator("#page h1")).to_contain_text("Epoch 25")


def test_an_operator_has_a_page(page: Page, api: Served) -> None:
    page.click('[data-operator="7"] a')
    told = page.locator("#page")
    expect(told.locator("h1")).to_contain_text("Big Sky")
    for text in ("Registered", "Nomination tax", "First epoch", "Last epoch"):
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
    page.click("#card-price .full")
    expect(page.locator("#card-price:fullscreen")).to_have_count(0)


def test_a_phone_needs_no_sideways_scrolling(chromium: Browser, api: Served) -> None:
    context = chromium.new_context(viewport={"width": 390, "height": 844})
    page = opened(context.new_page(), f"{api.url}/")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
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
        history.write(connection, 0, 59, 3, raw=False)
        with serving(dsn) as api:
            page = opened(chromium.new_page(), f"{api.url}/")
            expect(page.locator("#live-dot")).to_have_attribute("data-state", "live")
            history.write(connection, 60, 60, 4, raw=False)
            expect(page.locator("#announce")).to_contain_text("Epoch 60 has arrived")
            expect(page.locator("#fresh-text")).to_contain_text("Epoch 60")
            expect(page.locator("#cards")).to_contain_text("60")
            expect(page.locator("body")).to_have_attribute("data-series", "4")
            assert view(page)[1] == 60
            page.close()


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
            choose(page, "range", "all")
            shown = page.locator("body")
            expect(shown).to_have_attribute("data-first", "0", timeout=30_000)
            longest = page.evaluate(FRAMES)
            print(f"\nlongest pause while zooming: {longest:.0f} ms")  # noqa: T201
            assert longest < 1_000
            page.close()
