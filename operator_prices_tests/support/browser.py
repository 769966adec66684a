"""Debian's Chromium, driven by Playwright."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from typing import Any

from playwright.sync_api import Browser, Page, sync_playwright

AXE = files("axe_playwright_python").joinpath("axe.min.js")
RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")


def program() -> str | None:
    """Where a browser is installed, None if none is."""
    return next((path for name in PROGRAMS if (path := shutil.which(name))), None)


@contextmanager
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=program(), args=["--no-sandbox", "--disable-gpu"]
        )
        yield chromium
        chromium.close()


def opened(page: Page, url: str) -> Page:
    """The dashboard once it shows its data."""
    page.goto(url)
    page.wait_for_selector("body[data-ready]", timeout=30_000)
    return page


def violations(page: Page) -> list[tuple[str, Any]]:
    """The rules of axe that the page breaks, each with the elements that do."""
    page.evaluate(AXE.read_text(encoding="utf-8"))
    told = page.evaluate(f"axe.run(document, {json.dumps(RULES)})")
    return [(one["id"], [node["html"] for node in one["nodes"]]) for one in told["violations"]]
