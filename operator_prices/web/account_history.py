"""An account's positions epoch by epoch, as objects of JSON or lines of CSV.

What a change leaves as it is is written once; each epoch takes what its price makes of it.
"""

import asyncio
import math
from collections import defaultdict, deque
from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing
from itertools import groupby
from operator import itemgetter

from operator_prices.amounts import ONE
from operator_prices.web.database import Cursor
from operator_prices.web.position_rows import CSV, JSON, Notation, Texts
from operator_prices.web.queries.account_history import Account, Change, Own, lives, parts
from operator_prices.web.queries.rendered import ROWS
from operator_prices.web.queries.spans import Served, as_array, as_lines

NOTHING = ("0", "0", "0", "0")
"""What happens in the epochs between changes."""


class Total:
    """A sum of what was paid, unknown from the first payment on that is.

    Of the first of all it may be unknown, as where history begins in the middle of a position.
    """

    def __init__(self) -> None:
        self._sum: int | None = 0
        self._text = "0"
        self._begun = False

    def add(self, amount: str) -> str:
        """The sum with this one; nothing stands for what is unknown.

        >>> total = Total()
        >>> [total.add(amount) for amount in ("", "2", "3", "", "5")]
        ['0', '2', '5', '', '']
        """
        if amount == "0" and self._begun:
            return self._text
        if amount and self._sum is not None:
            self._sum += int(amount)
        elif self._begun:
            self._sum = None
        self._begun = True
        self._text = "" if self._sum is None else str(self._sum)
        return self._text


State = tuple[str, ...]
"""A change, and the sums of what was paid in and paid out until then."""

TEXTS = 1
"""Where that begins which is written, with the operator."""
HAPPENED, TOTALS = 9, 13


Held = tuple[str, int, int | None, list[str]]
"""The epoch of a change, and what it makes the same in all epochs at which it holds.

Shares, what beside them has no price, None where it is unknown, and what stands around the texts
that an epoch has of its own.
"""


class Position:
    """What an account has with an operator, from epoch to epoch."""

    def __init__(self, notation: Notation) -> None:
        self._notation = notation
        self._states: deque[State] = deque()
        self._paid_in, self._paid_out = Total(), Total()
        self._held: Held = "", 0, None, []
        self._still: tuple[Texts, str] = (), ""
        """Sums of what was paid, and what stands behind all where they are and nothing happens."""

    def add(self, change: Change) -> None:
        """Take the next change."""
        paid_in, _, paid_out, _ = change[HAPPENED:]
        self._states.append((*change, self._paid_in.add(paid_in), self._paid_out.add(paid_out)))

    def pass_by(self) -> None:
        """Nothing is told of what there was before the newest change."""
        while len(self._states) > 1:
            self._states.popleft()

    def told(self, epochs: Iterable[Own]) -> list[str]:
        """Epochs in their form: later ones come later.

        The chain rounds a price below 1 up by one part before it takes the reciprocal.
        """
        rows = []
        until = -math.inf
        for own in epochs:
            at, _, time, price = own
            epoch = int(at)
            if epoch >= until:
                until = self._move(epoch)
                change, shares, rest, (a, b, c, d, e, f) = self._held
                scaled, later = shares * ONE, ""
            perq = int(price or ONE)
            stake = scaled // (perq + 1) if perq < ONE else shares
            if rest is None or not (time and price):
                rows.append(self._notation.whole(self._row(own, stake if price else None, rest)))
                continue
            if at != change:
                f = later = later or self._after()
            rows.append(f"{a}{at}{b}{time}{c}{price}{d}{stake}{e}{stake + rest}{f}")
        return rows

    def _row(self, own: Own, stake: int | None, rest: int | None) -> Texts:
        """All texts of an epoch, of which some may be unknown."""
        at, operator, time, price = own
        change, _, shares, *held = self._states[0][:HAPPENED]
        known = 0 if shares == "0" else stake
        worth = "" if known is None or rest is None else str(known + rest)
        happened = self._states[0][HAPPENED:TOTALS] if at == change else NOTHING
        begun = at, operator, time, price, shares, "" if known is None else str(known)
        return (*begun, *held, worth, *happened, *self._states[0][TOTALS:])

    def _move(self, epoch: int) -> float:
        """To what holds at an epoch; returns before which one it does."""
        states = self._states
        until = math.inf
        while len(states) > 1 and epoch >= (until := int(states[1][0])):
            states.popleft()
            until = math.inf
        if states[0][0] != self._held[0]:
            at, _, shares, pending, _, _, fee, _, leaving = states[0][:HAPPENED]
            rest = int(pending) + int(fee) + int(leaving) if leaving else None
            self._held = at, int(shares), rest, self._notation.around(states[0][TEXTS:])
        return until

    def _after(self) -> str:
        """What stands behind all in an epoch in which nothing happens."""
        state = self._states[0]
        if state[TOTALS:] != self._still[0]:
            nothing = *state[TEXTS:HAPPENED], *NOTHING, *state[TOTALS:]
            self._still = state[TOTALS:], self._notation.around(nothing)[-1]
        return self._still[1]


async def _chunks(
    cursor: Cursor, account: Account, notation: Notation, served: Served, size: int
) -> AsyncGenerator[bytes, None]:
    positions: defaultdict[str, Position] = defaultdict(lambda: Position(notation))
    stretches = await lives(cursor, account)
    async with aclosing(parts(cursor, account, stretches, size)) as found:
        async for changes, epochs in found:
            for change in changes:
                positions[change[TEXTS]].add(change)
            rows: list[str] = []
            for operator, own in groupby(epochs, itemgetter(1)):
                rows += positions[operator].told(own)
            if rows:
                served.rows += len(rows)
                yield notation.separator.join(rows).encode()
            else:
                for position in positions.values():
                    position.pass_by()
            await asyncio.sleep(0)  # what has come already is no reason to keep others waiting


def objects(
    cursor: Cursor, account: Account, served: Served, size: int = ROWS
) -> AsyncGenerator[bytes, None]:
    """The positions as a JSON array, by epoch and operator; amounts are text."""
    return as_array(_chunks(cursor, account, JSON, served, size))


def lines(
    cursor: Cursor, account: Account, served: Served, size: int = ROWS
) -> AsyncGenerator[bytes, None]:
    """The same as lines of CSV, without the names of the columns."""
    return as_lines(_chunks(cursor, account, CSV, served, size))
