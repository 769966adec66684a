"""The `Chain` of production: an archive node, read in two requests an epoch."""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from time import sleep
from typing import Any, TypeVar

from operator_prices.chain.errors import (
    ChainError,
    DomainMissingError,
    NodeBehindError,
    NotASubstrateNodeError,
    RefusedError,
)
from operator_prices.chain.port import (
    EpochStates,
    Head,
)
from operator_prices.chain.rpc.client import Request, Rpc
from operator_prices.chain.substrate import keys, states
from operator_prices.chain.substrate.boundaries import (
    BEFORE_THE_DOMAIN,
    LEDGER_REACH,
    Candidate,
    IndexMap,
    candidates,
    corrected,
    first_block_at,
    likely,
)
from operator_prices.chain.substrate.runtimes import Runtime, Runtimes
from operator_prices.chain.substrate.states import Boundary, State, number

SPAN = 100
"""Epochs read at a time: what is in memory does not grow with what is asked for."""

LEDGER_BLOCKS = 17_300
"""Consensus blocks that the ledger's last 14,400 domain blocks usually stretch over."""

SLACK = 300
"""Blocks that the estimate of a block number may be off, beside a quarter of the distance."""

ANCHOR_TRIES = 8
"""Looks at the chain until a block is found from which the ledger covers what is asked for."""

LEDGER_TRIES = 3
"""Candidates of the ledger that are read for an epoch before its end is searched for."""

PAGE = 1000
"""Keys that a node lists in one answer, at most."""

HASHES = 2000
"""Blocks whose hashes are asked for in one request: the two blocks of each of 1,000 epochs."""

COUNTED = {
    "deposits": "Deposits",
    "withdrawals": "Withdrawals",
    "successfulBundles": "SuccessfulBundles",
}
"""The maps whose entries are counted on request, by their names in raw epochs."""

NULL_HASH_PAUSES = (0.2, 0.4, 0.8, 1.6)
"""Seconds before a block is asked for again that a node below its head does not have yet."""

INCOMPLETE_ANSWERS = 5
"""How often a node may leave keys of one request unanswered before that is an error."""

NOT_WHOLE = (NodeBehindError, NotASubstrateNodeError, RefusedError)
"""Errors after which another endpoint may know better."""

Result = TypeVar("Result")

SUMMARY = keys.prefix("Domains", "DomainStakingSummary")


@dataclass(frozen=True, slots=True)
class _Tip:
    """The best block and what has been read of it."""

    block: int
    index: int
    runtime: Runtime
    next_operator_id: int


class SubstrateChain:
    """Reads one domain's epochs. `cache` keeps runtimes, a folder for each chain.

    `depth` is how many blocks below the best one a transition must lie; the chain's own
    `ConfirmationDepthK` is the least.
    """

    def __init__(self, rpc: Rpc, *, domain_id: int, cache: Path, depth: int = 0) -> None:
        self._rpc = rpc
        self._domain_id = domain_id
        self._depth = depth
        self._cache = cache
        self._known = IndexMap()
        self._hashes: dict[int, str] = {}
        self._tip_seen: _Tip | None = None
        self._promised = 0
        """The last block that `head` has called deep enough."""
        self._runtimes_seen: Runtimes | None = None
        self._summary = keys.of_domain("DomainStakingSummary", domain_id)
        self._head_domain_number = keys.of_domain("HeadDomainNumber", domain_id)

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
        return self._hash(0)

    def head(self) -> Head:
        """Look at the head anew; completed is what lies deep enough below the best block."""
        self._tip_seen = None
        return self._anywhere(self._head)

    def _head(self) -> Head:
        tip = self._tip()
        gate = self._gate(tip)
        if gate < 1:
            raise DomainMissingError(
                f"The chain has {tip.block} blocks, fewer than the {tip.block - gate} that must lie"
                " on top of an epoch: wait until it has grown."
            )
        (index,) = self._indices([gate])
        if index == BEFORE_THE_DOMAIN:
            raise DomainMissingError(
                f"Domain {self._domain_id} does not exist at block {gate}: set DOMAIN_ID to a"
                " domain of this chain, or wait until it has been created."
            )
        self._promised = gate
        return Head(tip.block, gate, index - 1 if index else None)

    def read(self, epochs: Iterable[int]) -> EpochStates:
        """Read completed epochs, each from its end block and its transition block.

        Errors are `ChainError`; an epoch whose transition is not deep enough is a `ValueError`.
        """
        spans = list(_spans(sorted(set(epochs))))
        return states.concat([self._anywhere(partial(self._read_span, span)) for span in spans])

    def _anywhere(self, work: Callable[[], Result]) -> Result:
        """What `work` makes of the endpoint in use, or of another one if that is not whole.

        After an error nothing is taken for known, so that the next try looks at all of it.
        """
        left = self._rpc.endpoint_count
        while True:
            try:
                return work()
            except ChainError as error:
                self._forget()
                left -= 1
                if not (left and isinstance(error, NOT_WHOLE) and self._rpc.turn_away()):
                    raise

    def _forget(self) -> None:
        """Drop what is known of blocks, which may have left the chain; the first one cannot."""
        self._hashes = {block: known for block, known in self._hashes.items() if block == 0}
        self._known = IndexMap()
        self._tip_seen = None

    def block_hashes(self, blocks: Sequence[int]) -> list[str | None]:
        """The hashes of `blocks` on the chain as it is now, None where it is not that long."""
        found: list[str | None] = []
        requests: list[Request] = [
            ("chain_getBlockHash", [list(blocks[at : at + HASHES])])
            for at in range(0, len(blocks), HASHES)
        ]
        for answer in self._rpc.call_many(requests):
            if not isinstance(answer, list):
                raise NotASubstrateNodeError(
                    f"{self._rpc.endpoint} does not answer chain_getBlockHash with a list: use"
                    " another node."
                )
            found += answer
        return found

    def count(self, block_hash: str) -> dict[str, int]:
        """How many entries some maps have at a block, by the names of raw epochs.

        The maps must be listed, a thousand keys a request; a map that is not there has none.
        """
        return {
            name: self._entries(keys.prefix("Domains", item), block_hash)
            for name, item in COUNTED.items()
        }

    def _entries(self, prefix: str, block_hash: str) -> int:
        found, start = 0, None
        while True:
            page = self._rpc.call("state_getKeysPaged", prefix, PAGE, start, block_hash)
            found += len(page)
            if len(page) < PAGE:
                return found
            start = page[-1]

    def _tip(self) -> _Tip:
        if self._tip_seen is None:
            header = self._rpc.call("chain_getHeader")
            try:
                block = int(header["number"], 16)
            except (TypeError, KeyError, ValueError) as error:
                raise NotASubstrateNodeError(
                    f"{self._rpc.endpoint} does not answer as a Substrate node does: set"
                    " ARCHIVE_NODE_URL to a node's RPC address."
                ) from error
            self._resolve_best(block)
            plain = [self._summary, states.LAST_RUNTIME_UPGRADE, states.NEXT_OPERATOR_ID]
            (best,) = self._states([(block, plain)])
            self._known.learn(block, _index(best))
            operators = best.values[states.NEXT_OPERATOR_ID]
            self._tip_seen = _Tip(
                block, _index(best), self._runtime(best), number(operators) if operators else 0
            )
        return self._tip_seen

    def _gate(self, tip: _Tip) -> int:
        return tip.block - max(self._depth, tip.runtime.confirmation_depth)

    def _hash(self, block: int) -> str:
        self._resolve([block])
        return self._hashes[block]

    def _resolve(self, blocks: Iterable[int]) -> None:
        """Ask for the hashes of `blocks` that are not known yet, in one request.

        All of them lie below the head, so a node that has none for a block is behind: asked again,
        it may have caught up, or another one behind the same address may answer.
        """
        unknown = sorted(set(blocks) - self._hashes.keys())
        for pause in (0.0, *NULL_HASH_PAUSES):
            if not unknown:
                return
            sleep(pause)
            found = zip(unknown, self.block_hashes(unknown), strict=True)
            self._hashes |= {block: known for block, known in found if known is not None}
            unknown = [block for block in unknown if block not in self._hashes]
        if unknown:
            raise NodeBehindError(
                f"{self._rpc.endpoint} has no block {unknown[0]} though its head is above: it is"
                " behind or syncing; wait until it has caught up, or use another node."
            )

    def _resolve_best(self, block: int) -> None:
        """Ask for the hash of the best block, and whether the highest known one is still there.

        A reorganization since then has replaced that one, too, whatever else it has replaced.
        """
        asked = sorted({0, block, max(self._hashes, default=0)})
        found = dict(zip(asked, self.block_hashes(asked), strict=True))
        if any(self._hashes.get(known, now) != now for known, now in found.items()):
            self._forget()
        self._hashes |= {block: now for block, now in found.items() if now is not None}
        self._resolve([0, block])

    def _states(self, wanted: Sequence[tuple[int, Sequence[str]]]) -> list[State]:
        """Read some keys at each of some blocks, all requests at once."""
        self._resolve(block for block, _ in wanted)
        return self._states_at([(self._hashes[block], block, asked) for block, asked in wanted])

    def _states_at(self, wanted: Sequence[tuple[str, int, Sequence[str]]]) -> list[State]:
        missing = list(range(len(wanted)))
        found: dict[int, State] = {}
        for _ in range(INCOMPLETE_ANSWERS):
            requests: list[Request] = [
                ("state_queryStorageAt", [wanted[i][2], wanted[i][0]]) for i in missing
            ]
            for i, answer in zip(missing, self._rpc.call_many(requests), strict=True):
                values = _changes(answer)
                if values is not None and all(key in values for key in wanted[i][2]):
                    found[i] = State(wanted[i][0], wanted[i][1], values)
            missing = [i for i in missing if i not in found]
            if not missing:
                return [found[i] for i in range(len(wanted))]
        raise RefusedError(
            f"{self._rpc.endpoint} leaves keys of state_queryStorageAt unanswered at block"
            f" {wanted[missing[0]][1]}: use another node."
        )

    def _indices(self, blocks: Sequence[int]) -> list[int]:
        """The epoch index at each of `blocks`: the first four bytes of the staking summary."""
        found = [_index(state) for state in self._states([(b, [self._summary]) for b in blocks])]
        for block, index in zip(blocks, found, strict=True):
            self._known.learn(block, index)
        return found

    def _runtime(self, state: State) -> Runtime:
        """The runtime that executed the block of `state`."""
        return self._runtimes.get(self._spec_version(state), state.block_hash)

    def _spec_version(self, state: State) -> int:
        upgrade = state.values[states.LAST_RUNTIME_UPGRADE]
        if upgrade is not None:
            return states.spec_version(upgrade)
        header = self._rpc.call("chain_getHeader", state.block_hash)
        return int(self._rpc.call("state_getRuntimeVersion", header["parentHash"])["specVersion"])

    @property
    def _runtimes(self) -> Runtimes:
        if self._runtimes_seen is None:
            self._runtimes_seen = Runtimes(self._cache / self.genesis_hash, self._metadata)
        return self._runtimes_seen

    def _metadata(self, spec_version: int, block_hash: str) -> bytes:
        """The metadata of the runtime that executed a block is the one its parent's state holds."""
        header = self._rpc.call("chain_getHeader", block_hash)
        if header is None:
            raise NodeBehindError(
                f"{self._rpc.endpoint} does not know block {block_hash} any more: it is on another"
                " fork; try again."
            )
        for at in (header["parentHash"], block_hash):
            if self._rpc.call("state_getRuntimeVersion", at)["specVersion"] == spec_version:
                return bytes.fromhex(self._rpc.call("state_getMetadata", at)[2:])
        raise RefusedError(
            f"{self._rpc.endpoint} has no metadata of spec version {spec_version} around block"
            f" {int(header['number'], 16)}, which that version executed: use another node."
        )

    def _read_span(self, epochs: Sequence[int]) -> EpochStates:
        """Read at most `SPAN` epochs that lie close together."""
        tip = self._tip()
        if self._gate(tip) < self._promised:
            raise NodeBehindError(
                f"{self._rpc.endpoint} is at block {tip.block} and lacks blocks that have been"
                " seen: it is behind or syncing; wait until it has caught up, or use another node."
            )
        found = self._by_ledger(tip, epochs)
        skipped: dict[int, State] = {}
        for epoch in epochs:
            if epoch not in found:
                block = first_block_at(epoch + 1, self._known, self._indices)
                candidate = Candidate(block, self._hash(block), epoch + 1)
                for boundary in self._verified(tip, [candidate]):
                    found[epoch] = boundary
                if epoch not in found:
                    skipped[epoch] = self._skip(epoch, block)
        return states.assemble(
            [found[epoch] for epoch in sorted(found)],
            skipped=skipped,
            operators=range(tip.next_operator_id),
            domain_id=self._domain_id,
            runtimes=self._runtimes,
        )

    def _by_ledger(self, tip: _Tip, epochs: Sequence[int]) -> dict[int, Boundary]:
        """The boundaries of `epochs` that the ledger tells of.

        A candidate that is not the one it was taken for tells which other one to try.
        """
        told = self._told_by_ledger(tip, epochs)
        found: dict[int, Boundary] = {}
        tried: set[Candidate] = set()
        for _ in range(LEDGER_TRIES):
            missing = [epoch for epoch in epochs if epoch not in found]
            guesses = [likely(told, epoch + 1, self._known, tried) for epoch in missing]
            new = list({guess.block: guess for guess in guesses if guess}.values())
            tried.update(new)
            found |= {boundary.epoch: boundary for boundary in self._verified(tip, new)}
        return found

    def _skip(self, epoch: int, block: int) -> State:
        """The state of the block that moved the index past `epoch`, by what it and its parent show.

        An epoch that is recorded as skipped is never read again, so nothing is concluded from an
        answer that does not show both.
        """
        (after,) = self._states([(block, [self._summary, states.NUMBER, states.PARENT_HASH])])
        self._hashes[block - 1] = str(after.values[states.PARENT_HASH])
        (before,) = self._states([(block - 1, [self._summary, states.NUMBER])])
        if not 0 <= self._learn(before) < epoch < self._learn(after):
            raise NodeBehindError(
                f"{self._rpc.endpoint} contradicts itself about where epoch {epoch} ends (block"
                f" {block} shows epoch index {_index(after)}, its parent {_index(before)}): the"
                " chain has just reorganized, or the node is not whole; try again, or use another"
                " node."
            )
        return after

    def _verified(self, tip: _Tip, told: Sequence[Candidate]) -> list[Boundary]:
        """Read the transition and end blocks of `told`; keep those that really end the epoch.

        The transition block must show at least the expected index, and the block that it names as
        its parent must be the one before it and show the index of the epoch.
        """
        operators = range(tip.next_operator_id)
        for candidate in told:
            self._ensure_deep_enough(tip, candidate)
        transitions = self._states(
            [
                (
                    c.block,
                    states.transition_keys(operators, self._domain_id, c.expected_index - 1),
                )
                for c in told
            ]
        )
        plausible = []
        for candidate, transition in zip(told, transitions, strict=True):
            index = self._learn(transition)
            if index >= candidate.expected_index:
                plausible.append((candidate.expected_index - 1, transition))
                self._hashes[transition.block - 1] = str(transition.values[states.PARENT_HASH])
        ends = self._states(
            [
                (transition.block - 1, states.end_keys(operators, self._domain_id))
                for _, transition in plausible
            ]
        )
        return [
            Boundary(epoch, self._executed(end), self._executed(transition))
            for (epoch, transition), end in zip(plausible, ends, strict=True)
            if self._learn(end) == epoch
        ]

    def _ensure_deep_enough(self, tip: _Tip, candidate: Candidate) -> None:
        gate = self._gate(tip)
        if candidate.block > gate:
            raise ValueError(
                f"epoch {candidate.expected_index - 1} is not completed: its transition block"
                f" {candidate.block} is not {tip.block - gate} blocks below the best, {tip.block}"
            )

    def _learn(self, state: State) -> int:
        """Remember the epoch index at a block; the block must be the one that was asked for."""
        found = state.values.get(states.NUMBER)
        if found is None or number(found) != state.block:
            raise RefusedError(
                f"{self._rpc.endpoint} answers with the state of another block for block"
                f" {state.block} ({state.block_hash}): use another node."
            )
        index = _index(state)
        self._known.learn(state.block, index)
        return index

    def _executed(self, state: State) -> State:
        """The same state with the spec version that its block was executed by."""
        return replace(state, spec_version=self._runtime(state).spec_version)

    def _told_by_ledger(self, tip: _Tip, epochs: Sequence[int]) -> list[Candidate]:
        """The ledger's candidates around the ends of `epochs`, as far as it reaches."""
        parent = self._anchor_parent(tip, epochs)
        if parent is None:
            return []
        anchor = parent.block + 1
        distance = anchor - self._known.estimate(epochs[0] + 1)
        reach = range(max(1, anchor - min(LEDGER_BLOCKS, distance * 5 // 4 + SLACK)), anchor)
        asked = keys.of_consensus_block_hashes(self._domain_id, reach)
        (ledger,) = self._states([(anchor, asked)])
        told = candidates(
            {
                block: found
                for block, key in zip(reach, asked, strict=True)
                if (found := ledger.values[key]) is not None
            },
            head_domain_number=number(parent.values[self._head_domain_number] or "0x"),
            epoch_index=_index(parent),
            duration=tip.runtime.stake_epoch_duration,
        )
        self._hashes |= {candidate.block: candidate.block_hash for candidate in told}
        deep = [candidate for candidate in told if candidate.block <= self._gate(tip)]
        near = range(
            bisect_left(deep, epochs[0] + 1, key=_expected_index),
            bisect_right(deep, epochs[-1] + 1, key=_expected_index),
        )
        return corrected(deep, near, self._indices)

    def _anchor_parent(self, tip: _Tip, epochs: Sequence[int]) -> State | None:
        """A state after the last of `epochs` from whose child the ledger reaches to the first."""
        reach = LEDGER_REACH // tip.runtime.stake_epoch_duration
        lowest, highest = epochs[-1] + 1, max(epochs[-1] + 1, epochs[0] + reach - 2)
        for _ in range(ANCHOR_TRIES):
            anchor = max(2, min(tip.block, self._known.estimate((lowest + highest) / 2 + 1)))
            self._resolve([anchor - 1, anchor])
            (parent,) = self._states([(anchor - 1, [self._summary, self._head_domain_number])])
            index = _index(parent)
            self._known.learn(parent.block, index)
            if lowest <= index <= highest:
                return parent
        return None


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


def _expected_index(candidate: Candidate) -> int:
    return candidate.expected_index


def _index(state: State) -> int:
    """The epoch index: the first four bytes of the staking summary."""
    summary = next(value for key, value in state.values.items() if key.startswith(SUMMARY))
    return BEFORE_THE_DOMAIN if summary is None else number(summary[:10])


def _changes(answer: Any) -> dict[str, str | None] | None:  # noqa: ANN401
    """The values in an answer to `state_queryStorageAt`, or None where it is not one."""
    try:
        return {key: value for change_set in answer for key, value in change_set["changes"]}
    except (TypeError, KeyError, ValueError):
        return None
