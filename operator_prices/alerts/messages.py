"""What is said: one message for all places of the same trouble, or of the same event."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from operator_prices.store.incidents import EVENT, Incident

PLACES_NAMED = 5
"""As many places of one message are named; the rest is counted."""

Tone = Literal["bad", "good", "neutral"]


@dataclass(frozen=True, slots=True)
class Message:
    """What an address is told, as plain text."""

    head: str
    body: str
    link: str
    tone: Tone = "neutral"

    @property
    def text(self) -> str:
        return f"{self.head}\n{self.body}\n{self.link}"


def message(told: Sequence[Incident], *, recovered: bool) -> Message:
    r"""One trouble or event, in some places.

    >>> late = Incident(key="lag", what="9 epochs behind", place="epoch 4", link="http://ui/")
    >>> message([late], recovered=True).text
    'Recovered: 9 epochs behind\nWhere: epoch 4\nhttp://ui/'
    """
    first = told[0]
    places = [one.place for one in told[:PLACES_NAMED]]
    if len(told) > PLACES_NAMED:
        places.append(f"and {len(told) - PLACES_NAMED} more")
    where = "; ".join(places)
    if first.kind == EVENT:
        return Message(first.what, where, first.link)
    head = "Recovered" if recovered else "Trouble"
    tone: Tone = "good" if recovered else "bad"
    return Message(f"{head}: {first.what}", f"Where: {where}", first.link, tone)
