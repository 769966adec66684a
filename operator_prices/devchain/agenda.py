"""What happens in an epoch, and when: the operators' careers, their rewards, nominators' lives."""

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from random import Random

from operator_prices.devchain.lives import AI3, Lives, Move
from operator_prices.devchain.players import Players, Role
from operator_prices.devchain.records import DeregisteredInfo, Operator
from operator_prices.devchain.staking import Staking

Event = Callable[[], object]
Agenda = dict[int, list[Event]]
"""Events by the number of domain blocks the epoch has had; `AT_TRANSITION` for its last block."""
AT_TRANSITION = -1

_SLASHED_AFTER = _MARKED_FOR = 2
_INACTIVE_FOR = 4
"""Epochs that a status lasts."""
_REWARD_OFFSETS = (21, 57, 83)
_QUIET = 4
"""Odds of a hundred that an operator earns nothing in an epoch."""
_FAREWELLS = 50
"""Domain blocks into an epoch when a deregistered operator's nominators begin to go."""


@dataclass(slots=True, kw_only=True)
class Planner:
    """Plans the epoch that begins."""

    players: Players
    staking: Staking
    members: list[int]
    """The ids of the domain's operators so far, by position; registrations append to it."""
    draw: Random
    head: int
    """The domain's newest block."""
    statuses: frozenset[str]
    """The statuses that the runtime knows."""
    lives: Lives
    _events: Agenda = field(default_factory=lambda: defaultdict(list))

    def agenda(self) -> Agenda:
        players, staking = self.players, self.staking
        summary = staking.summary()
        epoch = summary.current_epoch_index
        for position in range(len(self.members), players.operators):
            if players.enters(position) <= epoch:
                self._at(3 + position % 9, self._register, position)
                self._plan(self.lives.at_the_beginning(partial(self._member, position)))
        rewarded: list[int] = []
        open_to_all: dict[int, Operator] = {}
        for position, operator_id in enumerate(self.members):
            operator = staking.operator(operator_id)
            due = epoch - players.turn(position)
            if operator is None:
                if self._is_confirmed_late(position, due):
                    rewarded.append(operator_id)
                continue
            self._plan_career(position, operator_id, operator, due)
            if operator_id in summary.current_operators and self.draw.randrange(100) >= _QUIET:
                rewarded.append(operator_id)
            if operator.partial_status.name == "Registered":
                open_to_all[operator_id] = operator
                self._plan(self.lives.by_chance(operator_id, operator, self.draw))
                if players.role(position) != "quiet":
                    age = epoch - players.enters(position)
                    self._plan(self.lives.of_operator(operator_id, operator, age))
        if players.crowd and open_to_all:
            self._plan(self.lives.of_the_crowd(epoch, open_to_all))
        self._plan_rewards(rewarded, epoch)
        return self._events

    def _plan(self, moves: Iterable[Move]) -> None:
        for offset, event in moves:
            self._events[offset].append(event)

    def _member(self, position: int) -> int | None:
        """The operator at a position, once it is registered."""
        return self.members[position] if position < len(self.members) else None

    def _at(self, offset: int, event: Callable[..., object], *arguments: object) -> None:
        self._events[offset].append(partial(event, *arguments))

    def _register(self, position: int) -> None:
        """Amounts reach from 10,000 AI3 to some hundred millions, and none is round."""
        players = self.players
        if position != len(self.members):
            return
        draw = Random(f"{players.seed} {players.domain} {position}")  # noqa: S311
        operator_id = self.staking.next_operator_id()
        self.staking.register(
            players.account(operator_id, 0),
            players.signing_key(operator_id),
            amount=draw.randrange(1_000 * AI3, 5_000 * AI3) * 10 ** (position * 3 % 5 + 1),
            tax=0 if players.role(position) == "quiet" else draw.randrange(1, 40),
            minimum=draw.randrange(1, 100) * AI3,
        )
        self.members.append(operator_id)

    def _is_confirmed_late(self, position: int, due: int) -> bool:
        """Whether the last blocks of an operator that is gone bring a reward now: to nobody."""
        gone = {
            "leaving": self.players.locking_epochs + 3,
            "slashed": _SLASHED_AFTER + 1,
        }
        return due == gone.get(self.players.role(position))

    def _plan_career(self, position: int, operator_id: int, operator: Operator, due: int) -> None:
        """Act the role, `due` epochs after its turn; what a skipped epoch lost is made up for."""
        staking, status = self.staking, operator.partial_status.name
        if status == "Registered" and due >= 0:
            self._plan_turn(self.players.role(position), operator_id, operator, due)
        elif status == "Deregistered":
            self._plan_farewells(operator_id, operator)
        elif status == "PendingSlash" and due >= _SLASHED_AFTER:
            self._at(11, staking.slash, operator_id)
        elif status == "InvalidBundle" and due >= _MARKED_FOR:
            self._at(66, staking.unmark_invalid, operator_id)
        elif status == "Deactivated" and due >= _INACTIVE_FOR:
            self._at(8, staking.reactivate, operator_id)

    def _plan_turn(self, role: Role, operator_id: int, operator: Operator, due: int) -> None:
        staking = self.staking
        if role in {"leaving", "slashed"}:
            self._plan(self.lives.before_the_end(operator_id, operator))
        if role == "leaving":
            self._at(40, staking.deregister, operator_id)
        elif role == "slashed":
            self._at(45, staking.pend_slash, operator_id)
        elif role == "invalid" and due < _MARKED_FOR and "InvalidBundle" in self.statuses:
            receipt_hash = self.players.signing_key(operator_id)[::-1]
            self._at(35, staking.mark_invalid, operator_id, receipt_hash)
        elif role == "deactivated" and due < _INACTIVE_FOR and "Deactivated" in self.statuses:
            self._at(50, staking.deactivate, operator_id)

    def _plan_farewells(self, operator_id: int, operator: Operator) -> None:
        """A third of a deregistered operator's nominators goes, two at least, one by one.

        The owner goes last, in the very block that ends the epoch.
        """
        info, staking = operator.partial_status.detail, self.staking
        if not isinstance(info, DeregisteredInfo):
            raise TypeError(f"operator {operator_id} is deregistered without saying since when")
        if info.unlock_at_confirmed_domain_block_number > self.head + _FAREWELLS:
            return
        owner = staking.owner(operator_id)
        others = [one for one in staking.nominators.of(operator_id) if one != owner]
        going = others[: max(2, -(-len(others) // 3))]
        for number, account in enumerate(going):
            offset = _FAREWELLS + 9 * number % 45
            self._at(offset, staking.unlock_nominator, operator_id, account)
        if len(going) == len(others):
            self._at(AT_TRANSITION, self._say_farewell_last, operator_id, owner)

    def _say_farewell_last(self, operator_id: int, owner: bytes) -> None:
        """The owner goes, unless the epoch was too short for all others to have gone before."""
        if self.staking.nominators.of(operator_id) == [owner]:
            self.staking.unlock_nominator(operator_id, owner)

    def _plan_rewards(self, rewarded: list[int], epoch: int) -> None:
        for offset in _REWARD_OFFSETS:
            rewards = {operator_id: self._reward(operator_id) for operator_id in rewarded}
            self._at(offset, self.staking.reward, rewards)
        every = self.players.late_reward_every
        if every and epoch % every == every // 2:
            late = {operator_id: self._reward(operator_id) for operator_id in rewarded[:1]}
            self._at(AT_TRANSITION, self.staking.reward, late)

    def _reward(self, operator_id: int) -> int:
        """Around two millionths of the stake."""
        operator = self.staking.operator(operator_id)
        stake = operator.current_total_stake if operator else AI3
        return 1 + stake * self.draw.randrange(1_000, 10_000) // 3_000_000_000
