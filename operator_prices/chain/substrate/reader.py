"""The `Chain` of production: an archive node, read in two requests an epoch."""

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import monotonic
from typing import TypeVar

from operator_prices.chain.errors import (
    ArchiveNeededError,
    ChainError,
    DomainMissingError,
    NodeBehindError,
    NotASubstrateNodeError,
    RefusedError,
)
from operator_prices.chain.port import Before, EpochStates, Head, Listing, Nominators, Reach
from operator_prices.chain.rpc.blocking import Rpc
from operator_prices.chain.substrate import ahead, assembling, keys, paging, spans
from operator_prices.chain.substrate.boundaries import BEFORE_THE_DOMAIN
from operator_prices.chain.substrate.node import Node
from operator_prices.chain.substrate.tip import Tip

TIP_SECONDS = 10.0
"""How long what the best block shows holds for who reads many epochs."""

NOT_WHOLE = (ArchiveNeededError, NodeBehindError, NotASubstrateNodeError, RefusedError)
"""Errors after which another endpoint may know better."""

Result = TypeVar("Result")
Spans = Sequence[spans.Span]


@dataclass(frozen=True, slots=True)
class Piece:
    """Epochs to read."""

    tip: Tip | None
    """What was read of the best block if that is not long ago."""
    epochs: Sequence[int]
    before: Nominators | Listing | None
    """What is known of nominators before them by now; none where they are not read."""


Branch = ahead.Branch[tuple[Tip | None, Spans]]
Reading = ahead.Ahead[Piece, tuple[Tip | None, Spans]]


class SubstrateChain:
    """Reads one domain's epochs. `cache` keeps runtimes, a folder for each chain.

    `depth` is how many blocks below the best one a transition must lie; the chain's own
    `ConfirmationDepthK` is the least.
    """

    def __init__(self, rpc: Rpc, *, domain_id: int, cache: Path, depth: int = 0) -> None:
        self._rpc = rpc
        self._node = Node(rpc, domain_id=domain_id, cache=cache)
        self._domain_id = domain_id
        self._depth = depth
        self._tip_seen: Tip | None = None
        self._tip_at = 0.0
        self._waited_ahead = 0.0
        self._promised = 0
        """The last block that `head` has called deep enough."""

    @property
    def domain_id(self) -> int:
        return self._domain_id

    @property
    def requests(self) -> int:
        return self._rpc.sent

    @property
    def calls(self) -> int:
        return self._rpc.asked

    @property
    def waited(self) -> float:
        """Seconds spent waiting so far: for answers, or for what is read ahead."""
        return self._rpc.waited + self._waited_ahead

    @property
    def genesis_hash(self) -> str:
        return self._node.hash(0)

    def head(self) -> Head:
        """Look at the head anew; completed is what lies deep enough below the best block."""
        self._tip_seen = None
        return self._anywhere(self._head)

    def _head(self) -> Head:
        tip = self._tip()
        if tip.gate < 1:
            raise DomainMissingError(
                f"The chain has {tip.block} blocks, fewer than the {tip.block - tip.gate} that must"
                " lie on top of an epoch: wait until it has grown."
            )
        late = self._node.late(tip)
        index = self._node.known.at(tip.gate)
        if index == BEFORE_THE_DOMAIN:
            raise DomainMissingError(
                f"Domain {self._domain_id} does not exist at block {tip.gate}: set DOMAIN_ID to a"
                " domain of this chain, or wait until it has been created."
            )
        self._promised = tip.gate
        return Head(tip.block, tip.gate, index - 1 if index else None, late)

    def reach(self) -> Reach:
        """How far back the node goes; an archive node has all epochs.

        Of several endpoints, the one that goes back the farthest; they are asked in turn up to one
        with all epochs, which then is in use.
        """
        farthest = self._anywhere(self._reach)
        for _ in range(1, self._rpc.endpoint_count):
            if farthest.first_epoch == 0 or not self._rpc.turn_away():
                break
            self._node.forget()
            self._tip_seen = None
            farthest = min(farthest, self._anywhere(self._reach), key=lambda one: one.first_block)
        return farthest

    def _reach(self) -> Reach:
        return self._node.reach(self._tip())

    def read(
        self, epochs: Iterable[int], nominators: Nominators | Listing | None = None
    ) -> EpochStates:
        """Read completed epochs, each from its end block and its transition block.

        Errors are `ChainError`; an epoch whose transition is not deep enough is a `ValueError`.
        """
        piece = Piece(None, list(epochs), nominators)
        return self._anywhere(lambda: self._followed(self._read_here(piece), nominators))[0]

    def read_each(
        self, pieces: Iterable[Iterable[int]], nominators: Before | None = None
    ) -> Generator[EpochStates, None, None]:
        """Read completed epochs piece by piece as `read` does, while the next pieces are read, too.

        `pieces` is asked for the next ones some pieces ahead. What fails ahead of its turn is read
        again in its turn, and then raises what `read` does.
        """
        after: Nominators | Listing | None = None
        with ahead.reading(self._read_beside) as reading:
            wanted = (self._piece(list(epochs), nominators) for epochs in pieces)
            for nth, (piece, branch) in enumerate(reading.each(wanted, self._node.beside)):
                before = _before(piece, nominators, after) if nth else piece.before
                states, after = self._anywhere(partial(self._taken, piece, before, branch, reading))
                yield states

    def block_hashes(self, blocks: Sequence[int]) -> list[str | None]:
        """The hashes of `blocks` on the chain as it is now.

        None where it is not that long, and before the first block that any endpoint has.
        """
        found = self._node.block_hashes(blocks)
        if None in found and self._rpc.endpoint_count > 1:
            self.reach()
            found = self._node.block_hashes(blocks)
        return found

    def count(self, block_hash: str, maps: Mapping[str, str]) -> dict[str, int]:
        """How many entries some maps have at a block; a map that is not there has none."""
        return {
            name: len(
                *paging.keys(self._node, [paging.Span(keys.prefix("Domains", item), block_hash)])
            )
            for name, item in maps.items()
        }

    def _anywhere(self, work: Callable[[], Result]) -> Result:
        """What `work` makes of the endpoint in use, or of another one if that is not whole.

        After an error nothing is taken for known, so that the next try looks at all of it.
        """
        left = self._rpc.endpoint_count
        while True:
            try:
                return work()
            except ChainError as error:
                self._node.forget()
                self._tip_seen = None
                left -= 1
                if not (left and isinstance(error, NOT_WHOLE) and self._rpc.turn_away()):
                    raise

    def _tip(self) -> Tip:
        if self._tip_seen is None:
            self._tip_seen = self._node.tip(self._depth)
        return self._tip_seen

    def _recent_tip(self) -> Tip | None:
        tip = self._tip_seen
        return tip if tip and monotonic() - tip.looked_at < TIP_SECONDS else None

    def _piece(self, epochs: Sequence[int], nominators: Before | None) -> Piece:
        before = nominators(epochs[0]) if nominators and epochs else None
        return Piece(self._recent_tip(), epochs, before)

    def _read_here(self, piece: Piece) -> Spans:
        return [self._read_span(self._node, self._tip(), piece, one) for one in _cut(piece)]

    def _read_beside(
        self, node: Node, piece: Piece, alone: ahead.Alone
    ) -> tuple[Tip | None, Spans]:
        """What another thread does: it uses nothing of ours but what never changes."""
        if not piece.epochs:
            return piece.tip, []
        tip = piece.tip or node.tip(self._depth)
        return tip, [self._read_span(node, tip, piece, one, alone) for one in _cut(piece)]

    def _read_span(
        self,
        node: Node,
        tip: Tip,
        piece: Piece,
        epochs: Sequence[int],
        made: spans.Making = spans.here,
    ) -> spans.Span:
        spans.require_grown(node, tip, self._promised)
        return spans.read(node, tip, self._domain_id, epochs, piece.before, made=made)

    def _followed(
        self, read: Spans, before: Nominators | Listing | None
    ) -> tuple[EpochStates, Nominators | Listing | None]:
        """What was read, and what nominators have after it."""
        found = []
        for states, after in spans.follow(self._node, read, before):
            found.append(states)
            before = after
        return assembling.concat(found), before

    def _taken(
        self,
        piece: Piece,
        before: Nominators | Listing | None,
        branch: Branch,
        reading: Reading,
    ) -> tuple[EpochStates, Nominators | Listing | None]:
        """What was read beside, or what is read now if that failed before or is not up to date.

        Nobody reads ahead any more when this fails: another endpoint may be turned to.
        """
        try:
            if branch.failed or branch.node.forgotten < self._node.forgotten:
                branch.call_off()
                return self._followed(self._read_here(piece), before)
            begun = monotonic()
            tip, read = branch.read.result()
            self._waited_ahead += monotonic() - begun
            self._node.learn(branch.node)
            self._tip_seen = tip
            return self._followed(read, before)
        except BaseException:
            branch.call_off()
            reading.call_off()
            raise


def _before(
    piece: Piece, nominators: Before | None, after: Nominators | Listing | None
) -> Nominators | Listing | None:
    """What there is before a piece by now: what the last one has left, where it follows upon it."""
    if nominators is None or not piece.epochs:
        return None
    first = piece.epochs[0]
    if isinstance(after, Nominators) and after.epoch == first - 1:
        return after
    return nominators(first)


def _cut(piece: Piece) -> Iterator[list[int]]:
    return spans.cut(piece.epochs)
