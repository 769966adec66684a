"""What of an address may be seen, and what of a text must not."""

import re
from urllib.parse import unquote, urlsplit

SHORT = 4
"""Parts of an address that are shorter are no secrets, and would be found in any text."""

AT_MOST = 300
"""As much of what a service says is repeated."""

HIDDEN = "***"


def masked(part: str) -> str:
    """The ends of a name, by which its owner knows it again.

    >>> masked("xoxb-1234"), masked("ab")
    ('x...4', '...')
    """
    return f"{part[0]}...{part[-1]}" if len(part) > SHORT else "..."


def parts(address: str) -> set[str]:
    """Everything of an address that may be a secret, as it stands and decoded.

    >>> sorted(parts("https://hooks.example:8443/services/T0000/a%2Fb-token?key=12345"))
    ['12345', 'T0000', 'a%2Fb-token', 'a/b-token', 'services']
    """
    try:
        place = urlsplit(address)
        shown = {place.hostname or ""} if "." in (place.hostname or "") else set()
    except ValueError:
        shown = set()
    rest = address.partition("://")[2]
    found = {part for part in re.split(r"[/?&=@:,#\s]+", rest) if len(part) > SHORT}
    return {one for part in found for one in (part, unquote(part))} - shown


def without(text: str, secrets: set[str]) -> str:
    """A text as one short line without any of the secrets.

    >>> without("no   access for T0000", {"T0000"})
    'no access for ***'
    """
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, HIDDEN)
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return line if len(line) <= AT_MOST else f"{line[: AT_MOST - 3]}..."
