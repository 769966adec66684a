"""What the image does without is needed by nobody who is in it."""

import re
from functools import cache
from importlib.metadata import distribution

from packaging.requirements import Requirement

from operator_prices.settings import PROJECT

DEPLOY = PROJECT / "deploy"

NEEDED_IN_PART = {"bokeh", "operator-prices", "substrate-interface"}
"""What says that it needs one of them, and is used for what does not."""


def name(text: str) -> str:
    return re.sub(r"[-_.]+", "-", text).lower()


def left_out() -> set[str]:
    lines = (DEPLOY / "left-out.txt").read_text().splitlines()
    return {name(line) for line in lines if line and not line.startswith("#")}


def needs(of: str, extras: frozenset[str]) -> dict[str, frozenset[str]]:
    """The distributions that one needs here, with the extras that it wants of each."""
    found: dict[str, frozenset[str]] = {}
    for text in distribution(of).requires or ():
        wanted = Requirement(text)
        marker = wanted.marker
        if marker is None or any(marker.evaluate({"extra": one}) for one in {"", *extras}):
            key = name(wanted.name)
            found[key] = found.get(key, frozenset()) | frozenset(wanted.extras)
    return found


@cache
def in_the_image() -> dict[str, set[str]]:
    """What the image would have, with who needs it."""
    known: dict[str, set[str]] = {"operator-prices": set()}
    waiting = [("operator-prices", frozenset({"celery", "k8s"}))]
    while waiting:
        one, extras = waiting.pop()
        for other, wanted in needs(one, extras).items():
            seen = other in known and one in known[other]
            known.setdefault(other, set()).add(one)
            if not seen:
                waiting.append((other, wanted))
    return known


def test_what_is_left_out_is_needed_by_nobody_who_stays() -> None:
    known, out = in_the_image(), left_out()
    for gone in sorted(out):
        if gone in known:
            assert known[gone] <= out | NEEDED_IN_PART, f"{gone} is needed by {known[gone] - out}"


def test_what_is_left_out_would_be_there() -> None:
    """Whatever is not installed anyway may be struck from the list."""
    assert left_out() <= set(in_the_image())
