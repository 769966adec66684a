"""A request on its way, by itself or in one message with others."""

from asyncio import Future
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from operator_prices.chain.rpc import messages, parts
from operator_prices.chain.rpc.in_flight import Kind
from operator_prices.chain.rpc.messages import Request
from operator_prices.chain.rpc.upstreams import Upstream

ALONE = 0


@dataclass(slots=True, eq=False)
class Call:
    """A request on its way, from the first time it is sent until it has its answer."""

    id: int
    request: Request
    answer: Future[Any]
    group: int = ALONE
    """Calls of one group go in one message, a batch, as far as the endpoint takes it."""
    entries: int = 0
    """As many as the calls of such a message have in all, at most."""
    turn: int = 0
    """Calls of a lower turn go before those of a higher one that wait when they are asked."""
    refusals: Counter[Upstream] = field(default_factory=Counter)
    refused_by: set[Upstream] = field(default_factory=set)
    sent_at: float = 0.0

    @property
    def size(self) -> int:
        return parts.size(self.request)


Batch = Sequence[Call]


def payload(calls: Batch) -> bytes:
    """One message with some calls; one alone is none of a batch."""
    if len(calls) == 1:
        return messages.payload(calls[0].id, calls[0].request)
    return messages.batch([(call.id, call.request) for call in calls])


def kind(calls: Batch) -> Kind:
    """What messages have in common that take alike long."""
    name = calls[0].request[0] if len(calls) == 1 else "batch"
    return name, sum(call.size for call in calls).bit_length()


def by_number(answers: Iterable[object]) -> dict[int, Mapping[str, Any]]:
    """The answers of a batch by the number of the call, without those that are told twice."""
    found: dict[int, Mapping[str, Any]] = {}
    twice: set[int] = set()
    for answer in answers:
        number = answer.get("id") if isinstance(answer, dict) else None
        if isinstance(answer, dict) and isinstance(number, int) and "method" not in answer:
            if number in found:
                twice.add(number)
            found[number] = answer
    return {number: answer for number, answer in found.items() if number not in twice}
