"""Draws the pictures of the dashboard that the documents show into docs/images.

Run it as `python -m operator_prices_tests.support.screenshots`.

The data is the development chain's; with a URL, that of a dashboard which runs already.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.request import urlopen

import psycopg
from PIL import Image

from operator_prices import store
from operator_prices.local.postgres import embedded
from operator_prices.settings import PROJECT
from operator_prices_tests.support.browser import browser, opened
from operator_prices_tests.support.web_server import serving

IMAGES = PROJECT / "docs" / "images"

PICTURES = (
    ("dashboard", (1280, 960), "light", "/"),
    ("dashboard-dark", (1280, 960), "dark", "/"),
    ("operator", (1280, 960), "light", "/#/operator/5"),
    ("epoch", (1280, 960), "dark", "/#/epoch/120"),
    ("nominators", (1280, 1180), "light", "/#/nominators/{largest}"),
    *(
        (f"dashboard-{width}-{scheme}", (width, height), scheme, path)
        for (width, height), path in (
            ((1440, 1240), "/?mean=1"),
            ((768, 1180), "/?scale=log&mean=1"),
            ((390, 1100), "/"),
        )
        for scheme in ("light", "dark")
    ),
)

POINTED = ("dashboard-dark",)
"""Those that show what a chart tells of an epoch."""


def main() -> None:
    IMAGES.mkdir(parents=True, exist_ok=True)
    url = sys.argv[1] if len(sys.argv) > 1 else None
    if url is not None:
        draw(url)
        return
    with TemporaryDirectory() as folder:
        subprocess.run(
            [sys.executable, "-m", "operator_prices", "up", "--once"],
            env={**os.environ, "DATA_DIR": folder},
            check=True,
        )
        with embedded.server(Path(folder)) as dsn, serving(dsn) as api:
            with psycopg.connect(dsn, autocommit=True) as connection:
                store.note_head(connection, 10**6, store.last_epoch(connection))
            draw(api.url)
        embedded.remove(Path(folder))


def draw(url: str) -> None:
    """Every picture of the dashboard at `url`."""
    largest = ",".join(one["address"] for one in _largest(url))
    with browser() as chromium:
        for name, (width, height), scheme, path in PICTURES:
            context = chromium.new_context(
                viewport={"width": width, "height": height},
                color_scheme="dark" if scheme == "dark" else "light",
            )
            page = opened(context.new_page(), f"{url}{path.format(largest=largest)}")
            page.wait_for_selector("body[data-first]")
            if name in POINTED:
                page.locator("#chart-stake").hover(position={"x": 640, "y": 90})
            page.wait_for_timeout(1_500)
            page.screenshot(path=IMAGES / f"{name}.png")
            context.close()
            press(IMAGES / f"{name}.png")


def press(picture: Path) -> None:
    """Make a picture a third as large, by a palette of its own: screens have few colours."""
    with Image.open(picture) as drawn:
        few = drawn.convert("RGB").quantize(256, Image.Quantize.MAXCOVERAGE)
    few.save(picture, optimize=True)


def _largest(url: str) -> list[dict[str, str]]:
    """The two largest nominators of operator 5."""
    with urlopen(f"{url}/api/operators/5/nominators?limit=2") as answer:  # noqa: S310 - ours
        told: list[dict[str, str]] = json.load(answer)["nominators"]
        return told


if __name__ == "__main__":
    main()
