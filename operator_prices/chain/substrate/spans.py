"""Spans of epochs, each read as a whole from a node with one look at the ledger."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from operator_prices.chain.errors import ArchiveNeededError, NodeBehindError
from operator_prices.chain.port import EpochStates, Listing, Nominators, Reach
from operator_prices.chain.substrate import assembling, following
from operator_prices.chain.substrate.asking import Asked
from operator_prices.chain.substrate.finding import Finder
from operator_prices.chain.substrate.node import Node
from operator_prices.chain.substrate.storage import Boundary, State
from operator_prices.chain.substrate.tip import Tip
from operator_prices.chain.substrate.values import Values

SPAN = 100
"""Epochs read at a time: what is in memory does not grow with what is asked for."""


def cut(epochs: Iterable[int]) -> Iterator[list[int]]:
    """Cut epochs into sorted pieces that one look at the ledger covers."""
    span: list[int] = []
    for epoch in sorted(set(epochs)):
        if span and epoch - span[0] >= SPAN:
            yield span
            span = []
        span.append(epoch)
    if span:
        yield span


@dataclass(frozen=True, slots=True)
class Span:
    """What was read of some epochs."""

    states: EpochStates
    boundaries: Sequence[Boundary]
    """The blocks that close them, with what came along; they are many times as large as what was
    made of them, and kept for nominators alone."""
    asked: Asked | None


Making = Callable[[Callable[[], EpochStates]], EpochStates]
"""Where and when states are made of what was read."""


def here(make: Callable[[], EpochStates]) -> EpochStates:
    """In the thread that reads, at once."""
    return make()


def read(
    node: Node,
    tip: Tip,
    domain_id: int,
    epochs: Sequence[int],
    before: Nominators | Listing | None = None,
    *,
    made: Making = here,
) -> Span:
    """Read at most `SPAN` epochs that lie close together; `made` makes states of what was read.

    With `before` what is read of nominators comes along; `follow` makes something of it.
    """
    operators = range(tip.next_operator_id)
    asked = None if before is None else Asked(before, operators, domain_id, epochs)
    finder = Finder(node, tip, domain_id, asked)
    found, skipped = _found(finder, epochs)
    states = made(
        partial(
            assembling.assemble,
            found,
            skipped=skipped,
            operators=operators,
            domain_id=domain_id,
            runtimes=node.runtimes,
        )
    )
    return Span(states, () if asked is None else found, asked)


def follow(
    node: Node, spans: Iterable[Span], before: Nominators | Listing | None
) -> Iterator[tuple[EpochStates, Nominators | Listing | None]]:
    """The states of spans that follow upon each other, with what nominators have at their ends.

    Beside each what they have after it.
    """
    for span in spans:
        if before is None or span.asked is None or not span.boundaries:
            yield span.states, before
            continue
        values = Values(node.runtimes)
        followed = following.follow(
            node,
            values,
            span.asked,
            boundaries=span.boundaries,
            operators=span.states.operators,
            before=before,
        )
        prefix = node.runtimes.known(span.boundaries[-1].end.spec_version).ss58_prefix
        before = followed.after
        yield assembling.with_nominators(span.states, followed, values, prefix), before


def require_grown(node: Node, tip: Tip, promised: int) -> None:
    """Raise if a node lacks blocks up to `promised`, the last that was called deep enough."""
    if tip.gate < promised:
        raise NodeBehindError(
            f"{node} is at block {tip.block} and lacks blocks that have been seen: it is"
            " behind or syncing; wait until it has caught up, or use another node."
        )


def _found(finder: Finder, epochs: Sequence[int]) -> tuple[list[Boundary], dict[int, State]]:
    """The boundaries of `epochs`, or how far back the node goes if that is not far enough."""
    if not finder.tip.has_first_blocks:
        _require_reach(finder, epochs[0])
    try:
        return finder.boundaries(epochs)
    except ArchiveNeededError as error:
        _require_reach(finder, epochs[0], error)
        return finder.boundaries(epochs)  # what was looked at beside them was too far back


def _require_reach(finder: Finder, epoch: int, refusal: ArchiveNeededError | None = None) -> None:
    """Raise if the node never will have an epoch; `refusal` tells what the others lack."""
    node, reach = finder.node, finder.node.reach(finder.tip)
    if epoch < reach.first_epoch:
        others = f" {refusal}" if refusal and node.rpc.endpoint_count > 1 else ""
        raise ArchiveNeededError(_too_short(node, reach, epoch) + others)


def _too_short(node: Node, reach: Reach, epoch: int) -> str:
    """Why an epoch before the reach of a node will never be had from it, and what to do."""
    return (
        f"{node} has nothing before block {reach.first_block}, since it was synced from there or"
        f" has deleted what came before, and epoch {epoch} ended earlier: use an archive node, one"
        " that was synced from the first block and runs with --state-pruning archive"
        f" --blocks-pruning archive; this one has the epochs from {reach.first_epoch} on."
    )
