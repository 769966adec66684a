"""The pages of nominators: a whole life can be followed, several side by side, by everybody."""

import csv
import io
import os
import re
from collections.abc import Iterator

import psycopg
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from operator_prices_tests.support import history, positions
from operator_prices_tests.support.browser import opened, program, violations
from operator_prices_tests.support.web_server import Served, database, serving

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(
        program() is None and not os.environ.get("REQUIRE_EVERYTHING"),
        reason="no browser is installed: apt-get install chromium",
    ),
]

WHOLE, HOLDER = (positions.address(one) for one in (positions.WHOLE_LIFE, positions.HOLDER))


@pytest.fixture(scope="module")
def api(server: str, migrated: str) -> Iterator[Served]:
    with database(server, migrated) as dsn:
        with psycopg.connect(dsn, autocommit=True) as connection:
            history.write(connection, 0, 39, 6, raw=False)
            positions.write(connection)
        with serving(dsn) as served:
            yield served


@pytest.fixture
def context(chromium: Browser) -> Iterator[BrowserContext]:
    made = chromium.new_context(viewport={"width": 1280, "height": 900})
    yield made
    made.close()


@pytest.fixture
def page(context: BrowserContext, api: Served) -> Page:
    return opened(context.new_page(), f"{api.url}/#/nominators")


def typed(page: Page, text: str) -> None:
    page.get_by_label(re.compile("Address of an account|Another account")).fill(text)
    page.get_by_role("button", name="Show").click()


def ai3(shannons: str) -> str:
    """As the page prints it."""
    digits = shannons.zfill(19)
    return f"{int(digits[:-18]):,}.{digits[-18:]}"


def test_a_whole_life_can_be_followed(page: Page, api: Served) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    typed(page, WHOLE)
    expect(page).to_have_url(f"{api.url}/#/nominators/{WHOLE}")
    for kind in ("in", "out", "paid"):  # deposits, withdrawals, unlocks: twice each
        expect(page.locator(f'.picture [data-mark="{kind}"]')).to_have_count(2)
    expect(page.get_by_role("img", name="Worth of")).to_have_attribute(
        "aria-label", re.compile("2 times deposited, 2 times withdrawn, 2 times paid out")
    )
    rows = page.get_by_role("region", name="Payments of").locator("tbody tr")
    told = api.get(f"/api/nominators/{WHOLE}/history").json
    by_epoch = {row["epoch"]: row for row in told}
    expected = [
        (30, "Paid out", ai3(by_epoch[30]["paidOut"])),
        (25, "Paid out", ai3(by_epoch[25]["paidOut"])),
        (21, "Withdrawn", f"{int(by_epoch[21]['withdrawnShares']):,} shares"),
        (15, "Withdrawn", f"{int(by_epoch[15]['withdrawnShares']):,} shares"),
        (8, "Deposited", f"50.{'0' * 18}"),
        (3, "Deposited", f"100.{'0' * 18}"),
    ]
    expect(rows).to_have_count(len(expected))
    for row, (epoch, what, amount) in zip(rows.all(), expected, strict=True):
        expect(row.locator("th")).to_have_text(str(epoch))
        expect(row).to_contain_text(what)
        expect(row).to_contain_text(amount)
    answer = api.get(f"/api/nominators/{WHOLE}").json
    gain = page.locator(".account .facts div", has_text="Gain").locator("dd")
    expect(gain).to_have_text(ai3(answer["total"]["gain"]))
    expect(page.get_by_role("region", name="Positions of")).to_contain_text("ended 30")
    assert all(url.startswith((api.url, "blob:")) for url in asked)


def test_what_was_paid_out_with_its_shares_is_no_loss_but_unknown(page: Page) -> None:
    typed(page, positions.LEAVER)
    rows = page.get_by_role("region", name="Payments of").locator("tbody tr")
    expect(rows).to_have_count(4)
    expect(rows.filter(has_text="Paid out").locator("td.number")).to_have_text("unknown")
    gain = page.locator(".account .facts div", has_text="Gain").locator("dd")
    expect(gain).to_have_text("unknown")
    drawn = page.get_by_role("img", name="Gain of").locator("path[stroke-width]")
    assert "L" in (drawn.get_attribute("d") or "")  # what is known of it is drawn
    levels = page.get_by_role("img", name="Gain of").locator("text[text-anchor=end]")
    assert [text for text in levels.all_text_contents() if text.startswith("-")] == []


def test_what_is_locked_is_told_with_its_block_and_a_time(page: Page, api: Served) -> None:
    typed(page, positions.HOLDER)
    locked = page.get_by_role("region", name="Locked of").locator("tbody tr")
    expect(locked).to_have_count(1)
    [waiting] = api.get(f"/api/nominators/{HOLDER}").json["positions"][0]["unlocking"]
    expect(locked).to_contain_text(ai3(waiting["amount"]))
    expect(locked).to_contain_text(f"{waiting['block']:,}")
    expect(locked).to_contain_text(re.compile(r"about 2023-11-15 \d\d:\d\d UTC"))
    with psycopg.connect(api.dsn, autocommit=True) as connection:
        connection.execute(
            "UPDATE nominator_epochs SET head_domain_number = head_domain_number + 10000"
        )
        page.reload()
        expect(locked).to_contain_text("can be unlocked now")
        connection.execute("UPDATE nominator_epochs SET head_domain_number = NULL")
        page.reload()
        expect(locked).to_contain_text("unknown")
        connection.execute("UPDATE nominator_epochs SET head_domain_number = 100 * epoch + 99")


def test_accounts_stand_side_by_side_and_the_address_can_be_sent(
    page: Page, chromium: Browser, api: Served
) -> None:
    typed(page, f"{WHOLE}, {HOLDER}")
    expect(page.locator(".account")).to_have_count(2)
    expect(page.get_by_role("img", name="Gain of")).to_have_attribute(
        "aria-label", re.compile(f"{WHOLE[:8]}.*{HOLDER[:8]}")
    )
    elsewhere = chromium.new_context()
    other = opened(elsewhere.new_page(), page.url)
    expect(other.locator(".account")).to_have_count(2)
    other.get_by_role("link", name=f"Close {WHOLE[:8]}").click()
    expect(other.locator(".account")).to_have_count(1)
    expect(other).to_have_url(f"{api.url}/#/nominators/{HOLDER}")
    elsewhere.close()


def test_accounts_are_remembered_in_this_browser_alone(
    page: Page, chromium: Browser, api: Served
) -> None:
    typed(page, HOLDER)
    expect(page.locator(".account")).to_have_count(1)
    page.goto(f"{api.url}/#/nominators")
    chip = page.locator(".remembered a")
    expect(chip).to_have_attribute("href", f"#/nominators/{HOLDER}")
    page.reload()
    chip.click()
    expect(page.locator(".account code").first).to_have_text(HOLDER)
    page.goto(f"{api.url}/#/nominators")
    page.get_by_role("button", name="Forget").click()
    expect(page.locator(".remembered")).to_have_count(0)
    stranger = chromium.new_context()
    empty = opened(stranger.new_page(), f"{api.url}/#/nominators")
    expect(empty.locator(".remembered")).to_have_count(0)
    assert stranger.cookies() == []
    stranger.close()


def test_what_is_no_account_is_said_beside_those_that_are(page: Page) -> None:
    typed(page, f"{WHOLE} {WHOLE[:-1]}x 0x{'99' * 32}")
    expect(page.locator(".account")).to_have_count(3)
    expect(page.locator(".account .notice").nth(0)).to_contain_text("wrong checksum")
    expect(page.locator(".account .notice").nth(1)).to_contain_text("never had a position")
    expect(page.locator(".remembered")).to_have_count(0)  # it shows all that it remembers


def test_those_for_whom_there_is_no_room_are_named(page: Page, api: Served) -> None:
    names = [positions.address(one) for one in positions.SMALL[:8]]
    page.goto(f"{api.url}/#/nominators/{','.join(names)}")
    expect(page.locator(".account")).to_have_count(6)
    notice = page.locator("#page > .notice")
    expect(notice).to_contain_text("6 accounts stand side by side at most")
    for name in names[6:]:
        expect(notice).to_contain_text(name[:8])
    page.get_by_role("link", name=f"Close {names[0][:8]}").first.click()
    expect(page.locator(".account code").first).to_have_text(names[1])
    expect(page.locator(".account").nth(5)).to_contain_text(names[6])
    expect(notice).to_contain_text(f"{names[7][:8]}…{names[7][-5:]} is left out")
    expect(page.locator(".remembered .chip")).to_have_text([f"{names[0][:8]}…{names[0][-5:]}"])
    expect(page.locator(".remembered a")).to_have_count(0)


def test_an_account_by_two_names_is_shown_once(page: Page) -> None:
    typed(page, f"{positions.HOLDER} {HOLDER} {positions.HOLDER.upper().replace('X', 'x')}")
    expect(page.locator(".account")).to_have_count(1)
    expect(page.get_by_role("img", name="Worth of")).to_have_count(1)


def test_the_numbers_of_an_account_are_saved_as_csv(page: Page, api: Served) -> None:
    typed(page, WHOLE)
    with page.expect_download() as saved:
        page.locator(".account").get_by_role("link", name="CSV").click()
    rows = list(csv.DictReader(io.StringIO(saved.value.path().read_text())))
    told = api.get(f"/api/nominators/{WHOLE}/history").json
    assert [row["worth"] for row in rows] == [row["worth"] for row in told]


def test_an_operators_page_has_its_nominators_and_what_came_and_went(
    page: Page, api: Served
) -> None:
    page.goto(f"{api.url}/#/operator/1")
    told = api.get("/api/operators/1/nominators").json
    expect(page.locator("#page")).to_contain_text("26 at epoch 39")
    expect(page.locator(".bars dt")).to_have_text(
        ["The largest", "The largest 10", "The largest 100"]
    )
    share = int(told["largest"]["10"]) * 10_000 // int(told["shares"])
    expect(page.locator(".bars dd").nth(1)).to_have_text(f"{share / 100:.2f} %")
    largest = page.get_by_role("region", name="Largest nominators").locator("tbody tr")
    expect(largest).to_have_count(20)
    expect(largest.first).to_contain_text(ai3(told["nominators"][0]["stake"]))
    flows = page.get_by_role("region", name="Deposits and withdrawals").locator("tbody tr")
    expect(flows).to_have_count(9)
    expect(flows.nth(5)).to_contain_text("325.000000000000000000")
    largest.first.locator("a").click()
    expect(page).to_have_url(f"{api.url}/#/nominators/{HOLDER}")
    expect(page.locator("h1:focus")).to_have_text("Nominators")


def test_where_nominators_are_left_out_the_pages_say_so(
    api: Served, context: BrowserContext
) -> None:
    with serving(api.dsn, NOMINATORS="off") as without:
        page = opened(context.new_page(), f"{without.url}/#/nominators/{WHOLE}")
        expect(page.locator(".account .notice")).to_contain_text("NOMINATORS=off")
        page.goto(f"{without.url}/#/operator/1")
        expect(page.locator("#page")).to_contain_text("All of its 40 epochs")
        expect(page.get_by_role("region", name="Largest nominators")).to_have_count(0)


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_everybody_can_use_the_pages(
    chromium: Browser, api: Served, theme: str, width: int
) -> None:
    context = chromium.new_context(viewport={"width": width, "height": 900})
    page = context.new_page()
    for path in ("nominators", f"nominators/{WHOLE},{HOLDER},{WHOLE[:-1]}x", "operator/1"):
        opened(page, f"{api.url}/?theme={theme}#/{path}")
        expect(page.locator("#page h1")).to_be_visible()
        page.wait_for_timeout(300)
        assert violations(page) == [], path
        assert page.evaluate("document.documentElement.scrollWidth") == width, path
    context.close()
