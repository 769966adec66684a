"""The development chain: blocks one after the other, what they did, and what is true of them."""

from bisect import bisect_left, bisect_right
from collections.abc import Container, Iterator
from typing import cast

from operator_prices.devchain.blocks import GENESIS_MILLISECONDS, Blocks, draws_bundle, interval
from operator_prices.devchain.domain import Domain, Ended
from operator_prices.devchain.ledger import Ledger
from operator_prices.devchain.positions import Books, Holder, Position, position, replayed
from operator_prices.devchain.runtime import Runtime, runtimes
from operator_prices.devchain.scenario import Scenario, Upgrade
from operator_prices.devchain.staking import EPOCH_DURATION
from operator_prices.devchain.truth import EpochTruth, operators_truth

CONFIRMATION_DEPTH = 100
"""Blocks that must follow a transition block: constant `ConfirmationDepthK`."""


_MIDDLE = 30
"""Domain blocks into an epoch: before any epoch that root ends early is over."""


class DevChain:
    """A chain that has played `scenario` up to its last epoch, and goes on when told to."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        self.runtimes: list[Runtime] = runtimes(scenario)
        self.blocks = Blocks(scenario.seed)
        self.ledger = Ledger()
        self.domains = [self._domain(0, scenario.created, scenario.operators)]
        if scenario.other_domain_operators:
            others = scenario.other_domain_operators
            self.domains.append(self._domain(1, scenario.created + 13, others))
        self._truth: list[EpochTruth] = []
        self.blocks.append(timestamp=GENESIS_MILLISECONDS, bundle=False, upgrade=False)
        while self._epochs_over < scenario.epochs:
            self.produce()
        for _ in range(scenario.blocks_after):
            self.produce()

    def _domain(self, number: int, created: int, operators: int) -> Domain:
        locking = self.runtimes[0].locking
        return Domain(
            number, created, self.scenario, self.ledger, operators=operators, locking=locking
        )

    @property
    def _epochs_over(self) -> int:
        return self.domains[0].epoch if self.blocks.head >= self.scenario.created else 0

    @property
    def head(self) -> int:
        return self.blocks.head

    @property
    def genesis_hash(self) -> str:
        return "0x" + self.blocks.hash(0).hex()

    @property
    def finalized(self) -> int:
        return max(0, (self.head - self.scenario.finality_lag) // 100 * 100)

    def head_domain_number(self, domain: Domain, block: int) -> int:
        return self.blocks.bundles(block) - self.blocks.bundles(domain.created)

    def consensus_block(self, domain: Domain, number: int) -> int:
        """The consensus block that carried the bundle of this domain block, 1 or later."""
        base = self.blocks.bundles(domain.created)
        return bisect_left(self.blocks.bundle_counts, base + number)

    def executing_runtime(self, block: int) -> int:
        """Index of the runtime that executed a block, whose layout the block's state has."""
        return bisect_left(self.blocks.upgrades, block)

    def next_runtime(self, block: int) -> int:
        """Index of the runtime in a block's state, which executes the block after it."""
        return bisect_right(self.blocks.upgrades, block)

    def truth(self, confirmations: int = CONFIRMATION_DEPTH) -> Iterator[EpochTruth]:
        """Every epoch of domain 0 whose transition block is that deep below the head."""
        return (
            epoch for epoch in self._truth if epoch.transition_block + confirmations <= self.head
        )

    def books(self) -> Books:
        """Empty books of domain 0, to be brought along its journal."""
        domain, four_byte = self.domains[0], self.scenario.four_byte_prices
        locking = self.runtimes[0].locking
        return Books(lambda block: self.head_domain_number(domain, block), locking, four_byte)

    def positions(
        self, epochs: Container[int] | None = None, confirmations: int = CONFIRMATION_DEPTH
    ) -> Iterator[tuple[EpochTruth, dict[Holder, Position]]]:
        """What each account of domain 0 has at the end block of each epoch, or of the chosen ones.

        By books that share no rule with the staking: see `positions`.
        """
        truth = [one for one in self.truth(confirmations) if epochs is None or one.epoch in epochs]
        books, acts = self.books(), self.domains[0].staking.journal.acts
        blocks = [one.end_block for one in truth]
        for one, block in zip(truth, replayed(books, acts, blocks), strict=True):
            holds = self.runtimes[self.executing_runtime(block)].holds
            prices = {key: operator.published_price for key, operator in one.operators.items()}
            yield (
                one,
                {
                    (operator_id, name): position(account, prices[operator_id], holds=holds)
                    for operator_id, pool in books.pools.items()
                    for name, account in pool.accounts.items()
                },
            )

    def produce(self) -> int:
        """Append the next block and return its number."""
        blocks = self.blocks
        parent = blocks.hash(blocks.head)
        number = blocks.head + 1
        timestamp = blocks.timestamp(number - 1) + interval(parent)
        self.ledger.block = number
        bundle = number > self.scenario.created and (
            draws_bundle(parent) or self._owes_bundle(number)
        )
        ended: Ended | None = None
        runtime = self.executing_runtime(number)
        upgrade = any(one.block == number for one in self._planned_upgrade())
        for domain in self.domains:
            if number == domain.created:
                domain.create()
                self._plan(domain, number - 1, 0, runtime)
            elif number > domain.created:
                done = self._play(domain, number, runtime, bundle=bundle)
                if domain.number == 0:
                    ended = done
                    upgrade = upgrade or self._due_upgrade(number, ended, bundle=bundle)
        if bundle and number % 50 == 0:
            rewards = cast("int | None", self.ledger.read("DomainChainRewards", 0)) or 0
            earned = int.from_bytes(parent[8:16], "little")
            self.ledger.write(rewards + earned, "DomainChainRewards", 0)
        blocks.append(timestamp=timestamp, bundle=bundle, upgrade=upgrade)
        if ended is not None:
            self._note(ended, number)
        return number

    def _play(self, domain: Domain, number: int, runtime: int, *, bundle: bool) -> Ended | None:
        head = self.head_domain_number(domain, number - 1) + bundle
        start_head = self.head_domain_number(domain, domain.start)
        ends = domain.ends(head, start_head, bundle=bundle)
        domain.staking.price_unit = self.runtimes[runtime].price_unit
        domain.staking.head = head
        ended = domain.play(number, head - start_head, ends, bundle=bundle)
        if ends:
            self._plan(domain, number - 1, head, runtime)
        return ended

    def _plan(self, domain: Domain, parent: int, head: int, runtime: int) -> None:
        """Plan the epoch that begins after `parent`, a block whose hash makes the draw its own."""
        luck = self.blocks.hash(parent).hex() + str(self.blocks.fork)
        domain.plan(luck, head, self.runtimes[runtime].statuses)

    def _planned_upgrade(self) -> tuple[Upgrade, ...]:
        """The next upgrade of the scenario, if there is one."""
        done = len(self.blocks.upgrades)
        return self.scenario.upgrades[done : done + 1]

    def _domain_blocks_of_epoch(self, block: int) -> int:
        domain = self.domains[0]
        start = self.head_domain_number(domain, domain.start)
        return self.head_domain_number(domain, block) - start

    def _due_upgrade(self, number: int, ended: Ended | None, *, bundle: bool) -> bool:
        """Whether the next upgrade names this block by its place in an epoch."""
        epoch = ended.epoch if ended else self.domains[0].epoch
        for upgrade in self._planned_upgrade():
            if upgrade.epoch == epoch:
                if upgrade.at == "transition":
                    return ended is not None
                if upgrade.at == "end":
                    head = self.head_domain_number(self.domains[0], number - 1) + bundle
                    return ended is None and head % EPOCH_DURATION == EPOCH_DURATION - 1
                played = self._domain_blocks_of_epoch(number - 1) + bundle
                return ended is None and played == _MIDDLE
        return False

    def _owes_bundle(self, number: int) -> bool:
        """After an upgrade in an epoch's end block the transition block must follow at once."""
        return any(
            number - 1 in self.blocks.upgrades[-1:] and one.at == "end" and one.epoch is not None
            for one in self.scenario.upgrades[: len(self.blocks.upgrades)][-1:]
        )

    def _note(self, ended: Ended, number: int) -> None:
        blocks, end = self.blocks, number - 1
        staking = self.domains[0].staking
        self._truth.append(
            EpochTruth(
                epoch=ended.epoch,
                end_block=end,
                end_hash="0x" + blocks.hash(end).hex(),
                timestamp=blocks.timestamp(end),
                spec_version=self.runtimes[self.executing_runtime(end)].spec_version,
                transition_block=number,
                transition_hash="0x" + blocks.hash(number).hex(),
                transition_spec_version=self.runtimes[self.executing_runtime(number)].spec_version,
                transition_timestamp=blocks.timestamp(number),
                total_stake=ended.totals.stake,
                treasury=ended.totals.treasury,
                chain_rewards=ended.totals.chain_rewards,
                after=self.domains[0].totals(),
                rewards=dict(ended.rewards),
                operators=operators_truth(
                    staking, ended.epoch, ended.before, ended.active, ended.rewards
                ),
            )
        )

    def reorg(self, first: int, *, extra: int = 1) -> None:
        """Replace the blocks from `first` on by others, `extra` more of them."""
        if not self.scenario.created < first <= self.head:
            raise ValueError(
                f"a reorganization starts after block {self.scenario.created}, which creates the "
                f"domain, and no later than the head {self.head}: not at {first}"
            )
        height = self.head + extra
        self.blocks.cut(first)
        self.blocks.fork += 1
        self.ledger.cut(first)
        self._truth = [epoch for epoch in self._truth if epoch.transition_block < first]
        for domain in self.domains:
            domain.cut(first)
            if domain.created < first:
                head = self.head_domain_number(domain, first - 1)
                self._plan(domain, first - 1, head, self.executing_runtime(first))
        while self.head < height:
            self.produce()
