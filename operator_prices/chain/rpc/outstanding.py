"""The requests that have no answer yet: those that wait to be sent, and those on their way."""

import asyncio
from collections import deque
from collections.abc import Iterable, Sequence
from itertools import islice
from operator import attrgetter
from typing import Any

from operator_prices.chain.rpc import parts
from operator_prices.chain.rpc.calls import ALONE, Batch, Call
from operator_prices.chain.rpc.messages import Request


class Outstanding:
    """Calls from when they are asked until they have their answers, whatever becomes of them.

    A call whose request was too big is asked in halves, and what is as big from then on at once.
    """

    def __init__(self) -> None:
        self.newest = 0
        """The number of the newest call."""
        self.waiting: deque[Call] = deque()
        self.sent: dict[int, Call] = {}
        self._batch: Batch = ()
        """That on its way, one at a time: its refusal does not say whose it is."""
        self._too_many: dict[str, int] = {}
        """Entries that a request of a method had when it was too big."""

    def make(
        self, request: Request, group: int = ALONE, entries: int = 0, *, turn: int = 0
    ) -> Call:
        self.newest += 1
        answer = asyncio.get_running_loop().create_future()
        return Call(self.newest, request, answer, group, entries, turn)

    def make_all(self, requests: Iterable[Request], entries: int, *, turn: int) -> list[Call]:
        """Calls of one group, of which a message has so many entries; each by itself for 0."""
        group = self.newest + 1 if entries else ALONE
        return [self.make(request, group, entries, turn=turn) for request in requests]

    def ask_all(self, calls: Iterable[Call]) -> None:
        """Have calls wait to be sent, those of a lower turn before those of a higher one."""
        for call in calls:
            self.ask(call)
        self.waiting = deque(sorted(self.waiting, key=attrgetter("turn")))

    def ask(self, call: Call) -> None:
        many = self._too_many.get(call.request[0])
        if many is not None and 1 < many <= call.size:
            self.ask_in_parts(call)
        else:
            self.waiting.append(call)

    def ask_in_parts(self, call: Call) -> None:
        """Ask for the halves of what is too big; each of them may be divided again."""
        method, many = call.request[0], call.size
        self._too_many[method] = min(many, self._too_many.get(method, many))
        halves = [self.make(half, turn=call.turn) for half in parts.halves(call.request)]

        def join(answered: asyncio.Future[list[Any]]) -> None:
            if call.answer.done() or answered.cancelled():
                return
            if error := answered.exception():
                call.answer.set_exception(error)
            else:
                call.answer.set_result(parts.joined(*answered.result()))

        asyncio.gather(*(half.answer for half in halves)).add_done_callback(join)
        for half in halves:
            self.ask(half)

    def divide_the_largest(self) -> bool:
        """Ask in parts for the largest of what is on its way, unless that has no parts."""
        largest = max(self.sent.values(), key=lambda call: call.size, default=None)
        if largest is None or largest.size == 1:
            return False
        del self.sent[largest.id]
        self.ask_in_parts(largest)
        return True

    @property
    def batch(self) -> Batch:
        """What has no answer yet of the batch on its way."""
        return [call for call in self._batch if call.id in self.sent]

    @property
    def messages(self) -> int:
        """How many are on their way; a batch is one."""
        return len(self.sent) - max(0, len(self.batch) - 1)

    def may_send(self) -> bool:
        """Whether something waits that may go now."""
        is_open = bool(self.batch)
        return any(call.group == ALONE or not is_open for call in self.waiting)

    def send_next(self, most: int) -> Batch:
        """What is sent now: a call, with those of its group that go with it, at most so many.

        While a batch is on its way only a call of no group; none where none such waits.
        """
        alone = bool(self.batch)
        first = next((call for call in self.waiting if not alone or call.group == ALONE), None)
        if first is None:
            return []
        taken, entries = [first], parts.weight(first.request)
        if first.group != ALONE:
            for call in islice(self.waiting, 1, most):
                entries += parts.weight(call.request)
                if call.group != first.group or entries > first.entries:
                    break
                taken.append(call)
        for call in taken:
            self.waiting.remove(call)
        self.sent |= {call.id: call for call in taken}
        left = [call for call in self._batch if call is not first]
        self._batch = taken if len(taken) > 1 else left
        return taken

    def withdraw(self, batch: Sequence[Call]) -> None:
        """Have calls that were sent wait again, before all others."""
        for call in batch:
            del self.sent[call.id]
        self.waiting.extendleft(reversed(batch))

    def withdraw_all(self) -> None:
        """Have all that was sent wait again, as when a connection ends."""
        lost = [call for call in self.sent.values() if not call.answer.done()]
        self.sent.clear()
        self.waiting.extendleft(reversed(lost))

    def forget(self, asked: Iterable[Call]) -> None:
        """Drop what nobody waits for any more, so that a failed batch leaves nothing behind."""
        for call in asked:
            if not call.answer.done():
                call.answer.cancel()
            elif not call.answer.cancelled():
                call.answer.exception()  # only the first error of a batch is raised
            self.sent.pop(call.id, None)
        self.waiting = deque(call for call in self.waiting if not call.answer.done())

    def fail(self, error: Exception) -> None:
        """Tell everyone who waits that there will be no answer."""
        for call in (*self.waiting, *self.sent.values()):
            if not call.answer.done():
                call.answer.set_exception(error)
        self.waiting.clear()
        self.sent.clear()
