"""What the headers of a request ask for: weighed choices, and answers that are known already."""

from collections.abc import Iterable

from starlette.requests import Request

CODINGS = ("zstd", "gzip")
"""What we can write, the best first."""


def weights(header: str) -> dict[str, float]:
    """The choices of a header such as `Accept` by their weight, in the order they are named.

    What weighs nothing, or what is no weight, is not wanted.

    >>> weights("text/CSV;q=0.5, application/json, */*;q=none")
    {'text/csv': 0.5, 'application/json': 1.0, '*/*': 0.0}
    """
    found: dict[str, float] = {}
    for item in header.lower().split(","):
        name, *options = (part.strip() for part in item.split(";"))
        said = next((option[2:] for option in options if option.startswith("q=")), "1")
        try:
            weight = float(said)
        except ValueError:
            weight = 0.0
        found[name] = weight if 0 <= weight <= 1 else 0.0
    return found


def coding(accepted: str) -> str:
    """The best of what a client accepts and we can write: zstd, gzip, else identity.

    >>> coding("gzip, deflate, br, zstd"), coding("gzip;q=1.0, zstd;q=0"), coding("br")
    ('zstd', 'gzip', 'identity')
    """
    weighed = weights(accepted)
    known = {name: weighed.get(name, weighed.get("*", 0)) for name in CODINGS}
    best = max(known, key=lambda name: known[name])
    return best if known[best] > 0 else "identity"


def media_type(accepted: str, known: Iterable[str]) -> str | None:
    """The first of the known media types that a client likes best, None if it names none of them.

    >>> media_type("text/html, text/csv;q=0.5", ["application/json", "text/csv"])
    'text/csv'
    """
    weighed = weights(accepted)
    liked = [name for name in weighed if name in set(known) and weighed[name] > 0]
    return max(liked, key=lambda name: weighed[name], default=None)


def known_tags(request: Request) -> str:
    """All that `If-None-Match` names, in however many lines."""
    return ",".join(request.headers.getlist("if-none-match"))


def matches(known: str | None, etag: str) -> bool:
    """Whether `If-None-Match` names the answer that would be given.

    Not by `*`: that would need to know first whether there is any.

    >>> matches('"a", W/"b"', '"b"'), matches("*", '"b"'), matches(None, '"b"')
    (True, False, False)
    """
    return etag in {tag.strip().removeprefix("W/") for tag in (known or "").split(",")}
