"""Work that asks in several rounds, done side by side: what a round asks goes together."""

from collections.abc import Generator
from typing import TYPE_CHECKING, Any, TypeVar

from operator_prices.chain.rpc.blocking import Asking
from operator_prices.chain.rpc.messages import Request

if TYPE_CHECKING:
    from collections.abc import Iterator

First = TypeVar("First")
Second = TypeVar("Second")

Rounds = Generator[list[Request], list[Any], First]
"""What is asked, round by round; each is sent its answers. It returns what they make."""


def alone(asking: Asking, work: Rounds[First], *, together: int) -> First:
    """Ask what one work asks, so many entries `together` in a message; 0 is one a request."""
    answers = None
    while True:
        try:
            asked = next(work) if answers is None else work.send(answers)
        except StopIteration as done:
            return done.value  # type: ignore[no-any-return] # that of the generator
        answers = asking.call_many(asked, together=together) if asked else []


def both(
    asking: Asking, first: Rounds[First], second: Rounds[Second], *, together: int
) -> tuple[First, Second]:
    """Ask what two works ask, as long as both do in the same messages."""
    return alone(asking, _joined(first, second), together=together)


def _joined(first: Rounds[First], second: Rounds[Second]) -> Rounds[tuple[First, Second]]:
    asked: dict[int, list[Request]] = {}
    made: dict[int, Any] = {}
    works = (first, second)
    answers: list[Any] = []
    while len(made) < len(works):
        left = iter(answers)
        for i, work in enumerate(works):
            if i not in made:
                try:
                    asked[i] = next(work) if i not in asked else work.send(_of(asked[i], left))
                except StopIteration as done:
                    made[i] = done.value
                    asked[i] = []
        answers = (yield [*asked[0], *asked[1]]) if len(made) < len(works) else []
    return made[0], made[1]


def _of(asked: list[Request], answers: "Iterator[Any]") -> list[Any]:
    return [next(answers) for _ in asked]
