"""An account's positions epoch by epoch, as objects of JSON or lines of CSV.

What a change leaves as it is is written once; each epoch takes what its price makes of it.
"""

import asyncio
import math
from collections import deque
from collections.abc import AsyncGenerator, Iterable, Iterator
from contextlib import aclosing
from itertools import groupby
from operator import itemgetter
from typing import NamedTuple

from operator_prices.amounts import ONE
from operator_prices.web.database import Cursor
from operator_prices.web.position_rows import CSV, JSON, Notation, Texts
from operator_prices.web.queries.account_history import (
    Account,
    Change,
    Priced,
    Stretch,
    changes_after,
    priced,
)
from operator_prices.web.queries.rendered import ROWS
from operator_prices.web.queries.spans import Served, Span, as_array, as_lines

MOST = 20_000
"""Changes that are held in memory, some 10 MB: of an account with more they come page by page."""

NOTHING = ("0", "0", "0", "0")
"""What happens in the epochs between changes."""

Own = tuple[str, str, str, str]
"""An epoch, an operator, the time and the price, the last two nothing where unknown."""

Amounts = tuple[int, int, int | None]
"""Shares, the same times `ONE`, and what beside them has no price, None where it is unknown."""


class Total:
    """A sum of what was paid, unknown from the first payment on that is.

    Of the first of all it may be unknown, as where history begins in the middle of a position.
    """

    def __init__(self) -> None:
        self._sum: int | None = 0
        self._text: str | None = "0"
        self._begun = False

    def add(self, amount: str | None) -> str | None:
        """The sum with this one, as text.

        >>> total = Total()
        >>> [total.add(amount) for amount in (None, "2", "3", None, "5")]
        ['0', '2', '5', None, None]
        """
        if amount == "0" and self._begun:
            return self._text
        if amount is not None and self._sum is not None:
            self._sum += int(amount)
        elif self._begun:
            self._sum = None
        self._begun = True
        self._text = None if self._sum is None else str(self._sum)
        return self._text


class State(NamedTuple):
    """What a position is from a change on, with what was paid until then."""

    change: Change
    paid_in: str | None
    paid_out: str | None

    def happened(self, epoch: int) -> Texts:
        """The last columns of an epoch: what happened in it, and what was paid until then."""
        happened = self.change.happened if epoch == self.change.epoch else NOTHING
        return (*happened, self.paid_in, self.paid_out)

    def row(self, own: Own, stake: int | None, rest: int | None) -> Texts:
        """All of them, of which some may be unknown."""
        at, operator, time, price = own
        change = self.change
        known = 0 if change.shares == "0" else stake
        worth = None if known is None or rest is None else str(known + rest)
        begun = at, operator, time or None, price or None, change.shares
        worths = None if known is None else str(known), *change.held, worth
        return (*begun, *worths, *self.happened(int(at)))


class Position:
    """What an account has with an operator, from epoch to epoch."""

    def __init__(self, notation: Notation, operator: str) -> None:
        self._notation = notation
        self._states: deque[State] = deque()
        self._paid_in, self._paid_out = Total(), Total()
        self._until: float = 0
        """Before which epoch what is noted here of the first state holds."""
        self._change = -1
        self._amounts: Amounts = (0, 0, None)
        self._head = notation.piece(0), notation.piece(1, (operator,)), notation.piece(2)
        self._middle = "", ""
        self._ends = "", ""
        self._totals: Texts = ()

    def add(self, change: Change) -> None:
        """Take the next change."""
        paid_in, paid_out = self._paid_in.add(change.paid_in), self._paid_out.add(change.paid_out)
        self._states.append(State(change, paid_in, paid_out))
        self._until = min(self._until, change.epoch)

    def stretches(self, after: int, last: int) -> Iterator[Stretch]:
        """Where there is something to tell after an epoch, up to `last`: where it ended, too."""
        begun = None
        for change in (state.change for state in self._states):
            fresh = change.epoch > after
            if begun is None and (fresh or not change.ended):
                begun = change.epoch
            if change.ended:
                if begun is not None and fresh:
                    yield Stretch(change.operator_id, begun, change.epoch)
                begun = None
        if begun is not None:
            yield Stretch(self._states[0].change.operator_id, begun, last)

    def told(self, epochs: Iterable[Own]) -> list[str]:
        """Epochs in their form: later ones come later.

        The chain rounds a price below 1 up by one part before it takes the reciprocal.
        """
        rows = []
        a, b, c = self._head
        until = -math.inf
        for own in epochs:
            at, _, time, price = own
            epoch = int(at)
            if epoch >= until:
                self._move(epoch)
                until, change = self._until, self._change
                shares, scaled, rest = self._amounts
                (d, e), (now, later) = self._middle, self._ends
            perq = int(price or ONE)
            stake = scaled // (perq + 1) if perq < ONE else shares
            if rest is not None and time and price:
                f = now if epoch == change else later
                rows.append(f"{a}{at}{b}{time}{c}{price}{d}{stake}{e}{stake + rest}{f}")
            else:
                texts = self._states[0].row(own, stake if price else None, rest)
                rows.append(self._notation.whole(texts))
        return rows

    def _move(self, epoch: int) -> None:
        """To what holds at an epoch."""
        if epoch < self._until:
            return
        states = self._states
        while len(states) > 1 and states[1].change.epoch <= epoch:
            states.popleft()
        self._until = states[1].change.epoch if len(states) > 1 else math.inf
        change, *totals = states[0]
        if change.epoch != self._change:
            self._note(change, tuple(totals))

    def _note(self, change: Change, totals: Texts) -> None:
        """What is the same in all epochs at which a change holds."""
        self._change = change.epoch
        shares, rest = int(change.shares), None
        if change.leaving is not None:
            rest = int(change.pending) + int(change.storage_fee_deposit) + int(change.leaving)
        self._amounts = shares, shares * ONE, rest
        piece = self._notation.piece
        self._middle = piece(3, (change.shares,)), piece(4, change.held)
        later = self._ends[1] if totals == self._totals else piece(5, (*NOTHING, *totals))
        self._ends = piece(5, (*change.happened, *totals)), later
        self._totals = totals


async def _pages(
    cursor: Cursor, account: Account, notation: Notation, most: int
) -> AsyncGenerator[tuple[dict[str, Position], AsyncGenerator[Priced, None]], None]:
    """The positions by operator, and then the epochs with their prices, until the next changes."""
    positions: dict[str, Position] = {}
    after, last = -1, -1
    while last < account.span.last:
        changes = await changes_after(cursor, account, last, most)
        for change in changes:
            operator = str(change.operator_id)
            if operator not in positions:
                positions[operator] = Position(notation, operator)
            positions[operator].add(change)
        after = max(last, account.span.first - 1)
        last = changes[-1].epoch if len(changes) >= most else account.span.last
        stretches = [one for each in positions.values() for one in each.stretches(after, last)]
        if stretches and after < last:
            size = max(1, ROWS // len(positions))
            yield positions, priced(cursor, account, Span(after + 1, last), stretches, size)


async def _chunks(
    cursor: Cursor, account: Account, notation: Notation, served: Served, most: int
) -> AsyncGenerator[bytes, None]:
    async for positions, chunks in _pages(cursor, account, notation, most):
        async with aclosing(chunks):
            async for chunk in chunks:
                columns = [column.split(" ") for column in chunk]
                epochs = zip(*columns, strict=True)
                rows: list[str] = []
                for operator, own in groupby(epochs, itemgetter(1)):
                    rows += positions[operator].told(own)
                served.rows += len(rows)
                yield notation.separator.join(rows).encode()
                await asyncio.sleep(0)  # what has come already is no reason to keep others waiting


def objects(
    cursor: Cursor, account: Account, served: Served, most: int = MOST
) -> AsyncGenerator[bytes, None]:
    """The positions as a JSON array, by epoch and operator; amounts are text."""
    return as_array(_chunks(cursor, account, JSON, served, most))


def lines(
    cursor: Cursor, account: Account, served: Served, most: int = MOST
) -> AsyncGenerator[bytes, None]:
    """The same as lines of CSV, without the names of the columns."""
    return as_lines(_chunks(cursor, account, CSV, served, most))
