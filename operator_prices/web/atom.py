"""What has happened to an operator as an Atom feed: pure, from rows to the document."""

from collections.abc import Sequence
from datetime import UTC, datetime
from uuid import NAMESPACE_URL, uuid5
from xml.etree import ElementTree as ET

from operator_prices.web.queries.events import Event, Named

MEDIA_TYPE = "application/atom+xml; charset=utf-8"

ATOM = "http://www.w3.org/2005/Atom"

ENTRIES = 200
"""The newest events that a feed has."""

BEGINNING = 0
"""When something happened that no time is known of, nor of anything else: readers want one."""


def feed(operator: Named, events: Sequence[Event], site: str) -> bytes:
    """The feed of an operator; `site` is where the dashboard is, as seen from the feed or whole.

    An entry has the same id for ever: it names chain, domain, operator, epoch and kind of event.
    Its time is that of the chain at the end of the epoch.
    """
    who = f"Operator {operator.operator}" + (f" ({operator.name})" if operator.name else "")
    page = f"{site}#/operator/{operator.operator}"
    root = ET.Element("feed", {"xmlns": ATOM, "xml:lang": "en"})
    _text(root, "id", _urn(operator))
    _text(root, "title", _printable(f"{who}: events"))
    _text(root, "updated", _time(max((event.at or 0 for event in events), default=BEGINNING)))
    _text(ET.SubElement(root, "author"), "name", "operator-prices")
    _link(
        root, "self", f"{site}api/operators/{operator.operator}/feed.atom", "application/atom+xml"
    )
    _link(root, "alternate", page, "text/html")
    for event in events[:ENTRIES]:
        entry = ET.SubElement(root, "entry")
        _text(entry, "id", _urn(operator, event))
        _text(entry, "title", _printable(f"{who}: {event.text}"))
        _text(entry, "updated", _time(event.at or BEGINNING))
        _link(entry, "alternate", page, "text/html")
        ET.SubElement(entry, "category", {"term": event.kind})
        _text(entry, "summary", _printable(f"{event.text}. {_when(event)}"))
    ET.indent(root)
    body: bytes = ET.tostring(root, "utf-8", xml_declaration=True)
    return body


def _when(event: Event) -> str:
    if event.timestamp is None:
        return f"Epoch {event.epoch}; nobody has said when that ended."
    clock = "" if event.from_chain else " by the clock of a legacy snapshot"
    return f"Epoch {event.epoch}, which ended at {_time(event.timestamp)}{clock}."


def _urn(operator: Named, event: Event | None = None) -> str:
    """The same for the same chain, wherever it is served."""
    parts = [operator.genesis_hash, operator.domain_id, operator.operator]
    if event is not None:
        parts += [event.epoch, event.kind]
    return f"urn:uuid:{uuid5(NAMESPACE_URL, '/'.join(map(str, ['operator-prices', *parts])))}"


def _time(milliseconds: int) -> str:
    """As RFC 3339 has it.

    >>> _time(1_756_259_880_862)
    '2025-08-27T01:58:00.862Z'
    """
    moment = datetime.fromtimestamp(milliseconds // 1000, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{milliseconds % 1000:03}Z"


def _printable(text: str) -> str:
    """Without what XML cannot hold."""
    return "".join(letter if letter.isprintable() else " " for letter in text)


def _text(parent: ET.Element, name: str, text: str) -> None:
    ET.SubElement(parent, name).text = text


def _link(parent: ET.Element, rel: str, href: str, kind: str) -> None:
    ET.SubElement(parent, "link", {"rel": rel, "href": href, "type": kind})
