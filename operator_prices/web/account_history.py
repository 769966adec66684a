"""An account's positions epoch by epoch, as objects of JSON or lines of CSV.

What a change leaves as it is is written once; each epoch takes what its price makes of it.
"""

import asyncio
import math
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import NamedTuple

from pydantic.alias_generators import to_camel

from operator_prices.amounts import ONE
from operator_prices.web.database import Cursor
from operator_prices.web.queries.account_history import (
    Account,
    Change,
    Priced,
    Stretch,
    changes_after,
    priced,
)
from operator_prices.web.queries.rendered import ROW_BYTES, column
from operator_prices.web.queries.spans import CHUNK, Column, Served, Span, as_array, as_lines

COLUMNS: tuple[Column, ...] = (
    *(column(name, "integer") for name in ("epoch", "operator_id", "timestamp")),
    *map(column, ("share_price_perq", "shares", "stake", "pending", "withdrawing_shares")),
    *map(column, ("unlocking", "storage_fee_deposit", "on_hold", "leaving", "worth")),
    *map(column, ("paid_in", "withdrawn_shares", "paid_out", "tax")),
    *map(column, ("paid_in_total", "paid_out_total")),
)
ROWS = CHUNK // ROW_BYTES
"""How many rows are written at a time: nobody else's answer waits for more."""

MOST = 20_000
"""Changes that are held in memory, some 10 MB: of an account with more they come page by page."""

NOTHING = ("0", "0", "0", "0")
"""What happens in the epochs between changes."""

HERE = "\0"
"""Stands where a value goes that each epoch has its own of."""

Row = tuple[str | None, ...]
"""A text for each column, None where it is unknown."""

Write = Callable[[Row], str]
"""Puts a row into a form."""


@dataclass(frozen=True, slots=True)
class Notation:
    """A form: how a row is written, and what is between two of them."""

    write: Write
    separator: str


def _object(row: Row) -> str:
    if None not in row:
        return KNOWN % row
    return GAPPED % tuple(
        "null" if value is None else value if kind == "integer" else f'"{value}"'
        for value, (_, kind, _) in zip(row, COLUMNS, strict=True)
    )


def _line(row: Row) -> str:
    return ",".join([value or "" for value in row])


def _template(integer: str, text: str) -> str:
    fields = [
        f'"{to_camel(name)}":{text if kind == "text" else integer}' for name, kind, _ in COLUMNS
    ]
    return "{" + ",".join(fields) + "}"


KNOWN, GAPPED = _template("%s", '"%s"'), _template("%s", "%s")
"""A row as an object: of values that are all known, and of values as they are written."""

JSON, CSV = Notation(_object, ","), Notation(_line, "\n")


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

    def row(self, own: Sequence[str | None], *, now: bool) -> Row:
        """What is told of an epoch with these five of its own; `now` if it is the change's."""
        epoch, timestamp, price, stake, worth = own
        one = self.change
        happened = (one.paid_in, one.withdrawn_shares, one.paid_out, one.tax) if now else NOTHING
        return (
            *(epoch, str(one.operator_id), timestamp, price, one.shares, stake, one.pending),
            *(one.withdrawing_shares, one.unlocking, one.storage_fee_deposit, one.on_hold),
            *(one.leaving, worth, *happened, self.paid_in, self.paid_out),
        )


class Position:
    """What an account has with an operator, from epoch to epoch."""

    def __init__(self, write: Write) -> None:
        self._write = write
        self._states: deque[State] = deque()
        self._paid_in, self._paid_out = Total(), Total()
        self._change: Change | None = None
        self._now = False
        self._shares, self._scaled = 0, 0
        self._rest: int | None = None
        self._pieces: list[str] = []
        self._until: float = 0

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

    def told(self, at: str, time: str, price: str) -> str:
        """An epoch in its form: later ones come later."""
        epoch = int(at)
        if epoch >= self._until:
            self._move(epoch)
        if self._rest is None or not (time and price):
            return self._with_gaps(at, time or None, price or None)
        stake = self._stake(price)
        a, b, c, d, e, f = self._pieces
        return f"{a}{at}{b}{time}{c}{price}{d}{stake}{e}{stake + self._rest}{f}"

    def _stake(self, price: str) -> int:
        """What the shares are worth, as the chain converts: it rounds a price below 1 up."""
        perq = int(price)
        return self._scaled // (perq + 1) if perq < ONE else self._shares

    def _with_gaps(self, at: str, time: str | None, price: str | None) -> str:
        stake = 0 if not self._shares else None if price is None else self._stake(price)
        worth = None if stake is None or self._rest is None else str(stake + self._rest)
        own = (at, time, price, None if stake is None else str(stake), worth)
        return self._write(self._states[0].row(own, now=self._now))

    def _move(self, epoch: int) -> None:
        """To what holds at an epoch."""
        states = self._states
        while len(states) > 1 and states[1].change.epoch <= epoch:
            states.popleft()
        change = states[0].change
        self._now = epoch == change.epoch
        following = states[1].change.epoch if len(states) > 1 else math.inf
        self._until = epoch + 1 if self._now else following
        if change is not self._change:
            self._change = change
            self._shares = int(change.shares)
            self._scaled = self._shares * ONE
            self._rest = None
            if change.leaving is not None:
                beside = int(change.pending) + int(change.storage_fee_deposit)
                self._rest = beside + int(change.leaving)
        self._pieces = self._write(states[0].row((HERE,) * 5, now=self._now)).split(HERE)


async def _pages(
    cursor: Cursor, account: Account, write: Write, most: int
) -> AsyncGenerator[tuple[dict[str, Position], AsyncGenerator[Priced, None]], None]:
    """The positions by operator, and then the epochs with their prices, until the next changes."""
    positions: dict[str, Position] = {}
    after, last = -1, -1
    while last < account.span.last:
        changes = await changes_after(cursor, account, last, most)
        for change in changes:
            operator = str(change.operator_id)
            if operator not in positions:
                positions[operator] = Position(write)
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
    async for positions, chunks in _pages(cursor, account, notation.write, most):
        async with aclosing(chunks):
            async for chunk in chunks:
                columns = [column.split(" ") for column in chunk]
                rows = [
                    positions[operator].told(at, time, price)
                    for at, operator, time, price in zip(*columns, strict=True)
                ]
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
