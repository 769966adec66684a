"""Find the blocks that close epochs: by the ledger of domain blocks, or else by a search."""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace

from operator_prices.chain.errors import NodeBehindError
from operator_prices.chain.substrate import keys, storage
from operator_prices.chain.substrate.asking import Asked
from operator_prices.chain.substrate.boundaries import (
    LEDGER_REACH,
    Candidate,
    candidates,
    corrected,
    first_block_at,
    likely,
)
from operator_prices.chain.substrate.node import Node
from operator_prices.chain.substrate.storage import Boundary, State, epoch_index, number
from operator_prices.chain.substrate.tip import Tip

LEDGER_BLOCKS = 17_300
"""Consensus blocks that the ledger's last 14,400 domain blocks usually stretch over."""

SLACK = 300
"""Blocks that the estimate of a block number may be off, beside a quarter of the distance."""

ANCHOR_TRIES = 8
"""Looks at the chain until a block is found from which the ledger covers what is asked for."""

LEDGER_TRIES = 3
"""Candidates of the ledger that are read for an epoch before its end is searched for."""


@dataclass(frozen=True, slots=True)
class Finder:
    """Finds where epochs of a domain end, as the chain is below `tip`."""

    node: Node
    tip: Tip
    domain_id: int
    asked: Asked | None = None
    """What is to be read of nominators along with the blocks, if they are followed."""

    @property
    def operators(self) -> range:
        """Every operator that the chain knows at its tip."""
        return range(self.tip.next_operator_id)

    def boundaries(self, epochs: Sequence[int]) -> tuple[list[Boundary], dict[int, State]]:
        """The boundaries of `epochs`, which lie close together, in their order.

        Beside them the epochs that have none, each with the state of the block that skipped it.
        """
        found = self._by_ledger(epochs)
        skipped: dict[int, State] = {}
        for epoch in epochs:
            if epoch not in found:
                block = first_block_at(epoch + 1, self.node.known, self.node.indices)
                candidate = Candidate(block, self.node.hash(block), epoch + 1)
                for boundary in self._verified([candidate]):
                    found[epoch] = boundary
                if epoch not in found:
                    skipped[epoch] = self._skip(epoch, block)
        return [found[epoch] for epoch in sorted(found)], skipped

    def _by_ledger(self, epochs: Sequence[int]) -> dict[int, Boundary]:
        """The boundaries of `epochs` that the ledger tells of.

        A candidate that is not the one it was taken for tells which other one to try.
        """
        told = self._told_by_ledger(epochs)
        found: dict[int, Boundary] = {}
        tried: set[Candidate] = set()
        for _ in range(LEDGER_TRIES):
            missing = [epoch for epoch in epochs if epoch not in found]
            guesses = [likely(told, epoch + 1, self.node.known, tried) for epoch in missing]
            new = list({guess.block: guess for guess in guesses if guess}.values())
            tried.update(new)
            found |= {boundary.epoch: boundary for boundary in self._verified(new)}
        return found

    def _skip(self, epoch: int, block: int) -> State:
        """The state of the block that moved the index past `epoch`, by what it and its parent show.

        An epoch that is recorded as skipped is never read again, so nothing is concluded from an
        answer that does not show both.
        """
        summary = keys.of_domain("DomainStakingSummary", self.domain_id)
        (after,) = self.node.states([(block, [summary, storage.NUMBER, storage.PARENT_HASH])])
        self._learn_parent(after)
        (before,) = self.node.states([(block - 1, [summary, storage.NUMBER])])
        if not 0 <= self.node.learn_index(before) < epoch < self.node.learn_index(after):
            raise NodeBehindError(
                f"{self.node} contradicts itself about where epoch {epoch} ends (block {block}"
                f" shows epoch index {epoch_index(after)}, its parent {epoch_index(before)}): the"
                " chain has just reorganized, or the node is not whole; try again, or use another"
                " node."
            )
        return after

    def _verified(self, told: Sequence[Candidate]) -> list[Boundary]:
        """Read the transition and end blocks of `told`; keep those that really end the epoch.

        The transition block must show at least the expected index, and the block that it names as
        its parent must be the one before it and show the index of the epoch.
        """
        for candidate in told:
            self._ensure_deep_enough(candidate)
        transitions = self.node.states([(c.block, self._transition_keys(c)) for c in told])
        plausible = []
        for candidate, transition in zip(told, transitions, strict=True):
            if self.node.learn_index(transition) >= candidate.expected_index:
                plausible.append((candidate.expected_index - 1, transition))
                self._learn_parent(transition)
        at_end = storage.end_keys(self.operators, self.domain_id)
        ends = self.node.states(
            [
                (
                    state.block - 1,
                    [*at_end, *(self.asked.at_end(epoch, state) if self.asked else ())],
                )
                for epoch, state in plausible
            ]
        )
        return [
            Boundary(epoch, self._executed(end), self._executed(transition))
            for (epoch, transition), end in zip(plausible, ends, strict=True)
            if self.node.learn_index(end) == epoch
        ]

    def _transition_keys(self, candidate: Candidate) -> list[str]:
        return [
            *storage.transition_keys(self.operators, self.domain_id, candidate.expected_index - 1),
            *(self.asked.at_transition() if self.asked else ()),
        ]

    def _learn_parent(self, state: State) -> None:
        self.node.learn_hash(state.block - 1, str(state.values[storage.PARENT_HASH]))

    def _ensure_deep_enough(self, candidate: Candidate) -> None:
        tip = self.tip
        if candidate.block > tip.gate:
            raise ValueError(
                f"epoch {candidate.expected_index - 1} is not completed: its transition block"
                f" {candidate.block} is not {tip.block - tip.gate} blocks below the best,"
                f" {tip.block}"
            )

    def _executed(self, state: State) -> State:
        """The same state with the spec version that its block was executed by."""
        return replace(state, spec_version=self.node.runtime(state).spec_version)

    def _told_by_ledger(self, epochs: Sequence[int]) -> list[Candidate]:
        """The ledger's candidates around the ends of `epochs`, as far as it reaches."""
        parent = self._anchor_parent(epochs)
        if parent is None:
            return []
        anchor = parent.block + 1
        distance = anchor - self.node.known.estimate(epochs[0] + 1)
        reach = range(max(1, anchor - min(LEDGER_BLOCKS, distance * 5 // 4 + SLACK)), anchor)
        asked = keys.of_consensus_block_hashes(self.domain_id, reach)
        (ledger,) = self.node.states([(anchor, asked)])
        head_domain_number = parent.values[self._head_domain_number] or "0x"
        told = candidates(
            {
                block: found
                for block, found in zip(reach, ledger.values.values(), strict=True)
                if found is not None
            },
            head_domain_number=number(head_domain_number),
            epoch_index=epoch_index(parent),
            duration=self.tip.runtime.stake_epoch_duration,
        )
        for candidate in told:
            self.node.learn_hash(candidate.block, candidate.block_hash)
        deep = [candidate for candidate in told if candidate.block <= self.tip.gate]
        near = range(
            bisect_left(deep, epochs[0] + 1, key=_expected_index),
            bisect_right(deep, epochs[-1] + 1, key=_expected_index),
        )
        return corrected(deep, near, self.node.indices)

    def _anchor_parent(self, epochs: Sequence[int]) -> State | None:
        """A state after the last of `epochs` from whose child the ledger reaches to the first."""
        summary = keys.of_domain("DomainStakingSummary", self.domain_id)
        reach = LEDGER_REACH // self.tip.runtime.stake_epoch_duration
        lowest, highest = epochs[-1] + 1, max(epochs[-1] + 1, epochs[0] + reach - 2)
        for _ in range(ANCHOR_TRIES):
            middle = self.node.known.estimate((lowest + highest) / 2 + 1)
            anchor = max(2, min(self.tip.block, middle))
            self.node.resolve([anchor - 1, anchor])
            asked = [summary, self._head_domain_number]
            (parent,) = self.node.states([(anchor - 1, asked)])
            index = epoch_index(parent)
            self.node.known.learn(parent.block, index)
            if lowest <= index <= highest:
                return parent
        return None

    @property
    def _head_domain_number(self) -> str:
        return keys.of_domain("HeadDomainNumber", self.domain_id)


def _expected_index(candidate: Candidate) -> int:
    return candidate.expected_index
