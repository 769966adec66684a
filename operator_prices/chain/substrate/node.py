"""The node as who reads storage sees it: hashes, states and runtimes of blocks, and its tip."""

from collections.abc import Iterable, Sequence
from copy import copy
from pathlib import Path
from time import sleep, time
from typing import TYPE_CHECKING

from operator_prices.chain.errors import (
    ArchiveNeededError,
    NodeBehindError,
    NotASubstrateNodeError,
    RefusedError,
)
from operator_prices.chain.port import Reach
from operator_prices.chain.rpc.blocking import Asking
from operator_prices.chain.rpc.rounds import Rounds, alone
from operator_prices.chain.substrate import keys, storage
from operator_prices.chain.substrate.boundaries import IndexMap
from operator_prices.chain.substrate.runtimes import Runtime, Runtimes
from operator_prices.chain.substrate.storage import State, epoch_index, number, values_in
from operator_prices.chain.substrate.tip import Tip, rounded

if TYPE_CHECKING:
    from operator_prices.chain.rpc.messages import Request

Wanted = Sequence[tuple[int, Sequence[str]]]
"""Blocks, and the keys that are asked for at each."""

HASHES = 2000
"""Blocks whose hashes are asked for in one request: the two blocks of each of 1,000 epochs."""

LATE_SECONDS, LATE_BLOCKS = 60, 30
"""How old the best block must be to be late: in seconds, and in usual distances of blocks."""

KEPT_STATES = 256
"""Blocks below its best one whose states a node keeps that prunes as nodes do by themselves."""

NULL_HASH_PAUSES = (0.2, 0.4, 0.8, 1.6)
"""Seconds before a block is asked for again that a node below its head does not have yet."""

INCOMPLETE_ANSWERS = 5
"""How often a node may leave keys of one request unanswered before that is an error."""


class Node:
    """Answers what is asked of blocks, and remembers their hashes and epoch indices.

    Whichever endpoint is in use answers; `cache` keeps runtimes, a folder for each chain.
    """

    def __init__(self, rpc: Asking, *, domain_id: int, cache: Path) -> None:
        self.rpc = rpc
        self.known = IndexMap()
        self.forgotten = 0
        """How often what was known of blocks was dropped."""
        self.hashes: dict[int, str] = {}
        self._cache = cache
        self._reach: Reach | None = None
        self._runtimes: Runtimes | None = None
        self._summary = keys.of_domain("DomainStakingSummary", domain_id)

    def __str__(self) -> str:
        return str(self.rpc.endpoint)

    def beside(self) -> "Node":
        """One for another thread that knows the same by now, and asks over the same connection."""
        other = copy(self)
        other.detach()
        return other

    def detach(self) -> None:
        """Share nothing that changes with the node that this one was copied from."""
        self.rpc = self.rpc.beside()
        self.known = IndexMap(self.known.known)
        self.hashes = dict(self.hashes)
        self._runtimes = self.runtimes.fetched_by(self._metadata)

    def learn(self, other: "Node") -> None:
        """Take over what one beside has found out; nothing, if it did not know of a reorganization.

        One that met with a reorganization itself replaces what was known.
        """
        if other.forgotten > self.forgotten:
            self.forget()
            self.forgotten = other.forgotten
        if other.forgotten == self.forgotten:
            self.known.learn_all(other.known.known)
            self.hashes |= other.hashes

    def forget(self) -> None:
        """Drop what is known of blocks, which may have left the chain; the first one cannot."""
        self.forgotten += 1
        self.hashes = {block: known for block, known in self.hashes.items() if block == 0}
        self.known = IndexMap()
        self._reach = None

    def tip(self, depth: int) -> Tip:
        """Look at the best block; the gate lies at least `depth` and `ConfirmationDepthK` below."""
        header = self.rpc.call("chain_getHeader")
        try:
            block = int(header["number"], 16)
        except (TypeError, KeyError, ValueError) as error:
            raise NotASubstrateNodeError(
                f"{self} does not answer as a Substrate node does: set ARCHIVE_NODE_URL to a node's"
                " RPC address."
            ) from error
        has_first_blocks = self._resolve_best(block)
        asked = [
            self._summary,
            storage.LAST_RUNTIME_UPGRADE,
            storage.NEXT_OPERATOR_ID,
            storage.NOW,
        ]
        (best,) = self.states([(block, asked)])
        self.known.learn(block, epoch_index(best))
        operators = best.values[storage.NEXT_OPERATOR_ID]
        runtime = self.runtime(best)
        return Tip(
            block=block,
            gate=block - max(depth, runtime.confirmation_depth),
            index=epoch_index(best),
            runtime=runtime,
            next_operator_id=number(operators) if operators else 0,
            time=number(best.values[storage.NOW] or "0x"),
            has_first_blocks=has_first_blocks,
        )

    def hash(self, block: int) -> str:
        self.resolve([block])
        return self.hashes[block]

    def learn_hash(self, block: int, block_hash: str) -> None:
        """Remember the hash of a block that another block told."""
        self.hashes[block] = block_hash

    def resolve(self, blocks: Iterable[int]) -> None:
        """Ask for the hashes of `blocks` that are not known yet, in one request.

        All of them lie below the head, so a node that has none for a block is behind: asked again,
        it may have caught up, or another one behind the same address may answer.
        """
        unknown = sorted(set(blocks) - self.hashes.keys())
        for pause in (0.0, *NULL_HASH_PAUSES):
            if not unknown:
                return
            sleep(pause)
            found = zip(unknown, self.block_hashes(unknown), strict=True)
            self.hashes |= {block: known for block, known in found if known is not None}
            unknown = [block for block in unknown if block not in self.hashes]
        if unknown:
            raise NodeBehindError(
                f"{self} has no block {unknown[0]} though its head is above: it is behind or"
                " syncing; wait until it has caught up, or use another node."
            )

    def _resolve_best(self, block: int) -> bool:
        """Ask for the hash of the best block, and whether the highest known one is still there.

        A reorganization since then has replaced that one, too, whatever else it has replaced. True
        where the first block after the genesis is there as well.
        """
        asked = sorted({0, min(1, block), block, max(self.hashes, default=0)})
        found = dict(zip(asked, self.block_hashes(asked), strict=True))
        if any(self.hashes.get(known, now) != now for known, now in found.items()):
            self.forget()
        self.hashes |= {block: now for block, now in found.items() if now is not None}
        self.resolve([0, block])
        return found[block] is None or found[min(1, block)] is not None

    def block_hashes(self, blocks: Sequence[int]) -> list[str | None]:
        """The hashes of `blocks` on the chain as it is now, None where it is not that long."""
        found: list[str | None] = []
        requests: list[Request] = [
            ("chain_getBlockHash", [list(blocks[at : at + HASHES])])
            for at in range(0, len(blocks), HASHES)
        ]
        for answer in self.rpc.call_many(requests):
            if not isinstance(answer, list):
                raise NotASubstrateNodeError(
                    f"{self} does not answer chain_getBlockHash with a list: use another node."
                )
            found += answer
        return found

    def states(self, wanted: Wanted, *, together: int = 0) -> list[State]:
        """Read some keys at each of some blocks, all requests at once."""
        return alone(self.rpc, self.reading(wanted), together=together)

    def reading(self, wanted: Wanted) -> Rounds[list[State]]:
        """Ask for some keys at each of some blocks."""
        self.resolve(block for block, _ in wanted)
        missing = list(range(len(wanted)))
        found: dict[int, State] = {}
        for _ in range(INCOMPLETE_ANSWERS):
            requests: list[Request] = [
                ("state_queryStorageAt", [wanted[i][1], self.hashes[wanted[i][0]]]) for i in missing
            ]
            for i, answer in zip(missing, (yield requests), strict=True):
                block, asked = wanted[i]
                values = values_in(answer, asked)
                if values is not None:
                    found[i] = State(self.hashes[block], block, values)
            missing = [i for i in missing if i not in found]
            if not missing:
                return [found[i] for i in range(len(wanted))]
        raise RefusedError(
            f"{self} leaves keys of state_queryStorageAt unanswered at block"
            f" {wanted[missing[0]][0]}: use another node."
        )

    def indices(self, blocks: Sequence[int]) -> list[int]:
        """The epoch index at each of `blocks`."""
        states = self.states([(block, [self._summary]) for block in blocks])
        found = [epoch_index(state) for state in states]
        for block, index in zip(blocks, found, strict=True):
            self.known.learn(block, index)
        return found

    def learn_index(self, state: State) -> int:
        """Remember the epoch index at a block; the block must be the one that was asked for."""
        found = state.values.get(storage.NUMBER)
        if found is None or number(found) != state.block:
            raise RefusedError(
                f"{self} answers with the state of another block for block {state.block}"
                f" ({state.block_hash}): use another node."
            )
        index = epoch_index(state)
        self.known.learn(state.block, index)
        return index

    def late(self, tip: Tip) -> str | None:
        """Why the best block cannot be the newest of the chain; a development chain never is late.

        Blocks come at random: one that is older than thirty of their usual distances is no chance.
        """
        (gate,) = self.states([(tip.gate, [self._summary, storage.NOW])])
        self.known.learn(tip.gate, epoch_index(gate))
        pace = (tip.time - number(gate.values[storage.NOW] or "0x")) / (tip.block - tip.gate) / 1000
        age = time() - tip.time / 1000
        if age < max(LATE_SECONDS, LATE_BLOCKS * pace):
            return None
        if self.rpc.call("system_chainType") == "Development":
            return None
        return (
            f"{self} answers with an old head: block {tip.block} is {rounded(age)} old, and the"
            f" chain makes one every {pace:.0f} s; see whether the node has peers and still imports"
            " blocks, or use another node (or set the clock of this machine)."
        )

    def reach(self, tip: Tip) -> Reach:
        """How far back the node goes: three requests of an archive, else some thirty."""
        if self._reach is None:
            first = 1 if tip.has_first_blocks else self._first_with_hash(1, tip.block)
            if not self._has_state(first):
                first = self._first_with_state(first, tip.block)
            (index,) = self.indices([first])
            self._reach = Reach(first, max(0, index))
        return self._reach

    def _first_with_hash(self, lacking: int, best: int) -> int:
        """The first block above one that is lacking; the node has it and all later ones.

        Each answer shows the best block beside the others, so that it is of one node that has it.
        """
        while best - lacking > 1:
            step = -(-(best - lacking) // (HASHES - 1))
            blocks = [*range(lacking + step, best, step), best]
            found = self.block_hashes(blocks)
            if found[-1] is None:
                raise NodeBehindError(
                    f"{self} has no block {best} though its head is above: nodes of different"
                    " heights answer there; try again, or use another node."
                )
            there = next(i for i, known in enumerate(found) if known is not None)
            lacking, best = ([lacking, *blocks][there], blocks[there])
        return best

    def _first_with_state(self, lacking: int, best: int) -> int:
        """The first block with a state above one without, looked for from the best one down."""
        distance = KEPT_STATES
        while best - distance > lacking and self._has_state(best - distance):
            best -= distance
            distance *= 2
        lacking = max(lacking, best - distance)
        while best - lacking > 1:
            middle = (lacking + best) // 2
            if self._has_state(middle):
                best = middle
            else:
                lacking = middle
        return best

    def _has_state(self, block: int) -> bool:
        try:
            self.states([(block, [storage.NUMBER])])
        except ArchiveNeededError:
            return False
        return True

    @property
    def runtimes(self) -> Runtimes:
        if self._runtimes is None:
            self._runtimes = Runtimes(self._cache / self.hash(0), self._metadata)
        return self._runtimes

    def runtime(self, state: State) -> Runtime:
        """The runtime that executed the block of `state`."""
        return self.runtimes.get(self._spec_version(state), state.block_hash)

    def _spec_version(self, state: State) -> int:
        upgrade = state.values[storage.LAST_RUNTIME_UPGRADE]
        if upgrade is not None:
            return storage.spec_version(upgrade)
        header = self.rpc.call("chain_getHeader", state.block_hash)
        return int(self.rpc.call("state_getRuntimeVersion", header["parentHash"])["specVersion"])

    def _metadata(self, spec_version: int, block_hash: str) -> bytes:
        """The metadata of the runtime that executed a block is the one its parent's state holds."""
        header = self.rpc.call("chain_getHeader", block_hash)
        if header is None:
            raise NodeBehindError(
                f"{self} does not know block {block_hash} any more: it is on another fork; try"
                " again."
            )
        for at in (header["parentHash"], block_hash):
            if self.rpc.call("state_getRuntimeVersion", at)["specVersion"] == spec_version:
                return bytes.fromhex(self.rpc.call("state_getMetadata", at)[2:])
        raise RefusedError(
            f"{self} has no metadata of spec version {spec_version} around block"
            f" {int(header['number'], 16)}, which that version executed: use another node."
        )
