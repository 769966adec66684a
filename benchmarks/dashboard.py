"""How fast the dashboard is in a real browser: bytes and milliseconds, phase by phase.

`python -m benchmarks.dashboard` prints the figures of docs/dashboard.md; it needs Chromium and two
minutes. The clock is the page's own: navigation begins at 0.
"""

import argparse
import statistics
from pathlib import Path
from tempfile import TemporaryDirectory

import psycopg
from playwright.sync_api import Browser, Page, Request

from benchmarks.figures import Figures
from operator_prices.local.postgres import embedded
from operator_prices.store import migrations
from operator_prices_tests.support import history
from operator_prices_tests.support.browser import browser
from operator_prices_tests.support.web_server import serving

EPOCHS, OPERATORS = 5_000, 64
TARGETS = {"first chart, ms": 1_000, "all epochs, ms": 1_000}

WATCH = """
new MutationObserver(() => {
  const first = document.body?.dataset.first;
  if (first !== undefined && first !== window.seenFirst) {
    window.seenFirst = first;
    performance.mark(`drawn ${first}`);
  }
}).observe(document, { subtree: true, attributes: true, attributeFilter: ["data-first"] });
"""
"""Marks when the charts show another first epoch."""

PHASES = """() => {
  const ended = (part) => Math.max(0, ...performance.getEntriesByType("resource")
    .filter(({ name }) => name.includes(part)).map(({ responseEnd }) => responseEnd));
  const [page] = performance.getEntriesByType("navigation");
  return {
    "page": page.responseEnd,
    "library": ended("/vendor/"),
    "modules": ended("/static/"),
    "operators": ended("api/operators"),
  };
}"""


def mark(page: Page, first: int) -> float:
    """When the charts first showed that epoch as their first."""
    told = page.wait_for_function(
        "(name) => performance.getEntriesByName(name)[0]?.startTime", arg=f"drawn {first}"
    )
    return float(told.json_value())


def visited(chromium: Browser, url: str, *, warm: bool, epochs: int = EPOCHS) -> dict[str, float]:
    """One visit: what had come when, and how long all epochs of all operators took."""
    context = chromium.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.add_init_script(WATCH)
    answers: list[Request] = []

    def answered(request: Request) -> None:
        answers.append(request)

    page.on("requestfinished", answered)
    if warm:
        page.goto(url)
        mark(page, epochs - 200)
        answers.clear()
    page.goto(url)
    first = mark(page, epochs - 200)
    page.wait_for_selector("body[data-ready]")
    figures = {f"{name}, ms": value for name, value in page.evaluate(PHASES).items()}
    figures["first chart, ms"] = first
    figures["first chart, kB"] = size(answers)
    answers.clear()
    page.click("#show-all")
    page.wait_for_timeout(500)
    begun = page.evaluate("performance.now()")
    page.evaluate('document.querySelector(\'input[name="range"][value="all"]\').click()')
    figures["all epochs, ms"] = mark(page, 0) - begun
    figures["all epochs, kB"] = size(answers)
    context.close()
    return figures


def size(answers: list[Request]) -> float:
    """The kilobytes of these answers as the network carried them, headers included."""
    sizes = [one.sizes() for one in answers if one.response()]
    return sum(one["responseBodySize"] + one["responseHeadersSize"] for one in sizes) / 1000


def measured(url: str, visits: int, figures: Figures) -> None:
    with browser() as chromium:
        for warm in (False, True):
            seen = [visited(chromium, url, warm=warm) for _ in range(visits)]
            visit = "second visit" if warm else "first visit"
            for name in seen[0]:
                value = statistics.median(one[name] for one in seen)
                what, _, unit = name.partition(", ")
                carried = ", carried" if unit == "kB" else ""
                figures.say(f"{visit}, {what}{carried}", value, unit, TARGETS.get(name))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--visits", type=int, default=5)
    parser.add_argument("--url", help="a dashboard of 5,000 epochs and 64 operators that runs")
    parser.add_argument("--keep", action="store_true", help="put the figures into the README")
    options = parser.parse_args()
    figures = Figures("dashboard")
    if options.url:
        measured(options.url, options.visits, figures)
        raise SystemExit(not all(figures.met))
    with TemporaryDirectory() as folder:
        with embedded.server(Path(folder)) as dsn:
            migrations.migrate(dsn)
            with psycopg.connect(dsn, autocommit=True) as connection:
                history.write(connection, 0, EPOCHS - 1, OPERATORS, raw=False)
                history.settle(connection)
            with serving(dsn) as api:
                measured(api.url, options.visits, figures)
        embedded.remove(Path(folder))
    if options.keep:
        figures.keep()
    raise SystemExit(not all(figures.met))


if __name__ == "__main__":
    main()
