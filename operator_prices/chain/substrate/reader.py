"""The `Chain` of production: an archive node, read in two requests an epoch."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

from operator_prices.chain.errors import (
    ArchiveNeededError,
    ChainError,
    DomainMissingError,
    NodeBehindError,
    NotASubstrateNodeError,
    RefusedError,
)
from operator_prices.chain.port import EpochStates, Head, Reach
from operator_prices.chain.rpc.blocking import Rpc
from operator_prices.chain.substrate import assembling, keys
from operator_prices.chain.substrate.boundaries import BEFORE_THE_DOMAIN
from operator_prices.chain.substrate.finding import Finder
from operator_prices.chain.substrate.node import Node, Tip
from operator_prices.chain.substrate.storage import Boundary, State

SPAN = 100
"""Epochs read at a time: what is in memory does not grow with what is asked for."""

NOT_WHOLE = (ArchiveNeededError, NodeBehindError, NotASubstrateNodeError, RefusedError)
"""Errors after which another endpoint may know better."""

Result = TypeVar("Result")


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
        self._promised = 0
        """The last block that `head` has called deep enough."""

    @property
    def domain_id(self) -> int:
        return self._domain_id

    @property
    def requests(self) -> int:
        return self._rpc.sent

    @property
    def waited(self) -> float:
        """Seconds spent waiting for answers so far."""
        return self._rpc.waited

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
        """How far back the node goes; an archive node has all epochs."""
        return self._anywhere(lambda: self._node.reach(self._tip()))

    def read(self, epochs: Iterable[int]) -> EpochStates:
        """Read completed epochs, each from its end block and its transition block.

        Errors are `ChainError`; an epoch whose transition is not deep enough is a `ValueError`.
        """
        spans = list(_spans(sorted(set(epochs))))
        read = [self._anywhere(partial(self._read_span, span)) for span in spans]
        return assembling.concat(read)

    def block_hashes(self, blocks: Sequence[int]) -> list[str | None]:
        """The hashes of `blocks` on the chain as it is now, None where it is not that long."""
        return self._node.block_hashes(blocks)

    def count(self, block_hash: str, maps: Mapping[str, str]) -> dict[str, int]:
        """How many entries some maps have at a block; a map that is not there has none."""
        return {
            name: self._node.entries(keys.prefix("Domains", item), block_hash)
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

    def _read_span(self, epochs: Sequence[int]) -> EpochStates:
        """Read at most `SPAN` epochs that lie close together."""
        tip = self._tip()
        if tip.gate < self._promised:
            raise NodeBehindError(
                f"{self._node} is at block {tip.block} and lacks blocks that have been seen: it is"
                " behind or syncing; wait until it has caught up, or use another node."
            )
        finder = Finder(self._node, tip, self._domain_id)
        found, skipped = self._found(finder, epochs)
        return assembling.assemble(
            found,
            skipped=skipped,
            operators=finder.operators,
            domain_id=self._domain_id,
            runtimes=self._node.runtimes,
        )

    def _found(
        self, finder: Finder, epochs: Sequence[int]
    ) -> tuple[list[Boundary], dict[int, State]]:
        """The boundaries of `epochs`, or how far back the node goes if that is not far enough."""
        if not finder.tip.has_first_blocks:
            self._require_reach(finder.tip, epochs[0])
        try:
            return finder.boundaries(epochs)
        except ArchiveNeededError as error:
            self._require_reach(finder.tip, epochs[0], error)
            return finder.boundaries(epochs)  # what was looked at beside them was too far back

    def _require_reach(
        self, tip: Tip, epoch: int, refusal: ArchiveNeededError | None = None
    ) -> None:
        """Raise if the node never will have an epoch; `refusal` tells what the others lack."""
        reach = self._node.reach(tip)
        if epoch < reach.first_epoch:
            others = f" {refusal}" if refusal and self._rpc.endpoint_count > 1 else ""
            raise ArchiveNeededError(_too_short(self._node, reach, epoch) + others)


def _too_short(node: Node, reach: Reach, epoch: int) -> str:
    """Why an epoch before the reach of a node will never be had from it, and what to do."""
    return (
        f"{node} has nothing before block {reach.first_block}, since it was synced from there or"
        f" has deleted what came before, and epoch {epoch} ended earlier: use an archive node, one"
        " that was synced from the first block and runs with --state-pruning archive"
        f" --blocks-pruning archive; this one has the epochs from {reach.first_epoch} on."
    )


def _spans(epochs: Sequence[int]) -> Iterator[list[int]]:
    """Cut sorted epochs into pieces that one look at the ledger covers."""
    span: list[int] = []
    for epoch in epochs:
        if span and epoch - span[0] >= SPAN:
            yield span
            span = []
        span.append(epoch)
    if span:
        yield span
