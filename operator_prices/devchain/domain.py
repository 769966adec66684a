"""One domain as blocks go by: its epochs begin, its agenda is played, its epochs end."""

from dataclasses import dataclass
from random import Random
from typing import cast

from operator_prices.devchain.agenda import AT_TRANSITION, Agenda, Event, Planner
from operator_prices.devchain.ledger import Ledger
from operator_prices.devchain.lives import Lives
from operator_prices.devchain.players import Players
from operator_prices.devchain.scenario import Scenario
from operator_prices.devchain.staking import EPOCH_DURATION, Staking
from operator_prices.devchain.truth import Before, Totals

_FORCED_AFTER = 37
"""Domain blocks into an epoch that root ends early."""


@dataclass(frozen=True, slots=True)
class Ended:
    """An epoch that a block ended, and what stood before that block."""

    epoch: int
    before: Before
    active: dict[int, int]
    rewards: dict[int, int]
    totals: Totals


class Domain:
    """Drives a domain. All its memory beside the ledger is derived from it, so it can be cut."""

    def __init__(
        self,
        number: int,
        created: int,
        scenario: Scenario,
        ledger: Ledger,
        *,
        operators: int,
        locking: int,
    ) -> None:
        self.number = number
        self.created = created
        self.staking = Staking(
            ledger,
            number,
            scenario.four_byte_prices if number == 0 else frozenset(),
            locking,
        )
        self._scenario = scenario
        self._ledger = ledger
        self.players = Players(
            seed=scenario.seed,
            domain=number,
            operators=operators,
            epochs=scenario.careers_over or scenario.epochs,
            locking_epochs=locking // EPOCH_DURATION,
            late_reward_every=scenario.late_reward_every,
            crowd=scenario.nominators if number == 0 else 0,
            acting_per_mille=scenario.acting_per_mille,
        )
        self._members: list[int] = []
        self._starts: list[int] = []
        self._agenda: Agenda = {}

    def create(self) -> None:
        self.staking.create()
        self._starts = [self.created]

    @property
    def epoch(self) -> int:
        return len(self._starts) - 1

    @property
    def start(self) -> int:
        """The block in which the current epoch began."""
        return self._starts[-1]

    def plan(self, luck: str, head: int, statuses: frozenset[str]) -> None:
        """Decide what the epoch will bring; to be called when one begins, or after a cut."""
        self.staking.head = head
        planner = Planner(
            players=self.players,
            staking=self.staking,
            members=self._members,
            draw=Random(luck),  # noqa: S311
            head=head,
            statuses=statuses,
            lives=Lives(self.players, self.staking, Random(luck + " lives")),  # noqa: S311
        )
        self._agenda = planner.agenda()

    def cut(self, block: int) -> None:
        """Forget what happened at `block` and later; the ledger has been cut already."""
        known = {key[0] for key in self._ledger.keys("Operators")}
        self._members = [operator_id for operator_id in self._members if operator_id in known]
        self._starts = [start for start in self._starts if start < block]
        self.staking.journal.cut(block)

    def ends(self, head: int, start_head: int, *, bundle: bool) -> int:
        """How many epochs end in the block that makes `head` the newest domain block."""
        epoch, regular = self.epoch, bundle and head % EPOCH_DURATION == 0
        if self.number:
            return int(regular)
        if epoch in self._scenario.missed and head - start_head <= EPOCH_DURATION:
            regular = False
        played = head - bundle - start_head
        forced = epoch in self._scenario.forced and played >= _FORCED_AFTER
        if not regular and not forced:
            return 0
        return 2 if epoch in self._scenario.jumps else 1

    def play(self, block: int, played: int, ends: int, *, bundle: bool) -> Ended | None:
        """Execute a block: `played` domain blocks into the epoch, which `ends` here, or twice."""
        ended = self._standing() if ends else None
        if bundle:
            _run(self._agenda.get(played, []))
        if ends:
            _run(self._agenda.get(AT_TRANSITION, []))
            for _ in range(ends):
                self.staking.finalize()
                self._starts.append(block)
        return ended

    def totals(self) -> Totals:
        """As the last block left them."""
        treasury = cast("int | None", self._ledger.read("AccumulatedTreasuryFunds"))
        rewards = cast("int | None", self._ledger.read("DomainChainRewards", self.number))
        return Totals(self.staking.summary().current_total_stake, treasury or 0, rewards or 0)

    def _standing(self) -> Ended:
        ledger, summary = self._ledger, self.staking.summary()
        before: Before = {}
        for operator_id in self._members:
            operator = self.staking.operator(operator_id)
            if operator is not None:
                owner = cast("bytes", ledger.read("OperatorIdOwner", operator_id))
                before[operator_id] = (operator, owner)
        return Ended(
            epoch=summary.current_epoch_index,
            before=before,
            active=summary.current_operators,
            rewards=summary.current_epoch_rewards,
            totals=self.totals(),
        )


def _run(events: list[Event]) -> None:
    for event in events:
        event()
