"""How many requests may be on their way at once: as many as the node bears, by how fast it answers.

Grown and shrunk as TCP does it, with delay as the sign: while answers come about as soon as they do
from a node with little to do, one more is sent in each round; when they come late, fewer.
"""

from dataclasses import dataclass, field

START, MOST = 8, 128
"""Requests at first, and at most: a node buffers 64 of a connection, the way to it holds others."""

LEAST_LATE = 4.0
"""Late answers alone make it no less than this: the way may have become longer."""

SLOWER, SLACK = 2.0, 0.02
"""An answer is late after so many times the usual seconds and so many more, which may be ours."""

IN_A_ROW = 3
"""Late answers that end the fast growth of the beginning: one may be late by chance."""

YIELD = 0.1
"""What is given up for a late answer: a tenth when all of a round are late."""

FADING = 10.0
"""Seconds after which half as much again is usual, unless an answer was as fast as ever."""

LARGER = 4
"""How many bits longer the size of a request is whose answer keeps others waiting."""

Kind = tuple[str, int]
"""Method and the bits of the size of a request: those alike take alike long."""


@dataclass(slots=True)
class _Usual:
    """The least seconds that an answer has taken of late."""

    seconds: float
    since: float

    def learn(self, seconds: float, now: float) -> None:
        if seconds <= self.seconds:
            self.seconds, self.since = seconds, now
        elif now - self.since > FADING:
            self.seconds, self.since = min(seconds, 1.5 * self.seconds), now


@dataclass(slots=True)
class InFlight:
    """The number of requests on their way, between 1 and `most`."""

    most: int = MOST
    size: float = 0.0
    _found: bool = False
    """Whether late answers, or a loss, have ended the fast growth of the beginning."""
    _late: int = 0
    """Late answers in a row."""
    _usual: dict[Kind, _Usual] = field(default_factory=dict)
    _answered_at: dict[int, float] = field(default_factory=dict)
    """When the last request of each size was answered."""

    def __post_init__(self) -> None:
        self.size = float(min(START, self.most))

    def answered(self, kind: Kind, seconds: float, now: float, *, full: bool) -> None:
        """An answer took so many seconds; `full` says that as many as may be were on their way."""
        usual = self._usual.setdefault(kind, _Usual(seconds, now))
        usual.learn(seconds, now)
        _, bits = kind
        self._answered_at[bits] = now
        if seconds > SLOWER * usual.seconds + SLACK:
            if self._behind_a_larger_one(bits, now - seconds):
                return
            self._late += 1
            self._found = self._found or self._late >= IN_A_ROW
            if self._found:
                self.size = max(min(LEAST_LATE, self.size), self.size - YIELD)
            return
        self._late = 0
        if full:
            more = 1 / self.size if self._found else 1.0
            self.size = min(self.most, self.size + more)

    def _behind_a_larger_one(self, bits: int, sent: float) -> bool:
        """Whether a much larger request was answered since then: the wait for it is our own."""
        return any(
            at > sent and larger >= bits + LARGER for larger, at in self._answered_at.items()
        )

    def halve(self) -> None:
        """A connection was lost, or the node has said that it is too much."""
        self._found = True
        self.size = max(1.0, self.size / 2)

    def forget(self) -> None:
        """Another connection leads elsewhere, maybe: what is usual there is not known yet."""
        self._usual.clear()
