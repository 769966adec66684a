"""What happens in an epoch, and when: the operators' careers, deposits, withdrawals and rewards."""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from hashlib import blake2b
from random import Random
from typing import Literal

from operator_prices.devchain.records import Operator
from operator_prices.devchain.staking import EPOCH_DURATION, Staking

AI3 = 10**18
ACCOUNTS = 4
"""Accounts that may stake on an operator: its owner, then three nominators."""

Event = Callable[[], object]
Agenda = dict[int, list[Event]]
"""Events by the number of domain blocks the epoch has had; `AT_TRANSITION` for its last block."""
AT_TRANSITION = -1

Role = Literal["steady", "quiet", "leaving", "slashed", "invalid", "deactivated"]
_ROLES: tuple[Role, ...] = ("steady", "quiet", "leaving", "slashed", "invalid", "deactivated")
_CAST = 24
"""Of so many operators the first ones have the roles, in this order, and the others are steady."""
_SLASHED_AFTER = _MARKED_FOR = 2
_INACTIVE_FOR = 4
"""Epochs that a status lasts."""
_REWARD_OFFSETS = (21, 57, 83)
_QUIET, _DEPOSIT, _WITHDRAW, _UNLOCK = 4, 12, 18, 24
"""Odds of a hundred: no reward in an epoch; then, cumulated, one of an account's actions."""


@dataclass(frozen=True, slots=True)
class Players:
    """Who plays in a domain: operators by their position, which is the order they come in."""

    seed: int
    domain: int
    operators: int
    epochs: int
    locking_epochs: int
    late_reward_every: int

    def enters(self, position: int) -> int:
        """Half of the operators are there from the first epoch, the others come one by one."""
        early = (self.operators + 1) // 2
        late = self.operators - early
        return 0 if position < early else max(1, (position - early + 1) * self.epochs // (2 * late))

    def role(self, position: int) -> Role:
        position %= _CAST
        return _ROLES[position] if position < len(_ROLES) else "steady"

    def turn(self, position: int) -> int:
        """The epoch in which the operator's role has its turn."""
        nth = 2 * (position % _CAST) + 5 * (position // _CAST)
        return self.enters(position) + 6 + self.epochs // 12 + nth

    def account(self, operator_id: int, number: int) -> bytes:
        return self._drawn(f"account {operator_id} {number}")

    def accounts(self, operator_id: int) -> list[bytes]:
        return [self.account(operator_id, number) for number in range(ACCOUNTS)]

    def signing_key(self, operator_id: int) -> bytes:
        return self._drawn(f"signing key {operator_id}")

    def _drawn(self, what: str) -> bytes:
        return blake2b(f"{self.seed} {what}".encode(), digest_size=32).digest()


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
    _events: Agenda = field(default_factory=lambda: defaultdict(list))

    def agenda(self) -> Agenda:
        players, staking = self.players, self.staking
        summary = staking.summary()
        epoch = summary.current_epoch_index
        for position in range(len(self.members), players.operators):
            if players.enters(position) <= epoch:
                self._at(3 + position % 9, self._register, position)
        rewarded: list[int] = []
        for position, operator_id in enumerate(self.members):
            operator = staking.operator(operator_id)
            due = epoch - players.turn(position)
            if operator is None:
                if self._is_confirmed_late(position, due):
                    rewarded.append(operator_id)
                continue
            self._plan_career(position, operator_id, operator.partial_status.name, due)
            if operator_id in summary.current_operators and self.draw.randrange(100) >= _QUIET:
                rewarded.append(operator_id)
            if operator.partial_status.name == "Registered":
                self._plan_stakes(operator_id, operator)
        self._plan_rewards(rewarded, epoch)
        return self._events

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
            "leaving": self.players.locking_epochs + 2,
            "slashed": _SLASHED_AFTER + 1,
        }
        return due == gone.get(self.players.role(position))

    def _plan_career(self, position: int, operator_id: int, status: str, due: int) -> None:
        """Act the role, `due` epochs after its turn; what a skipped epoch lost is made up for."""
        players, staking = self.players, self.staking
        if status == "Registered" and due >= 0:
            self._plan_turn(players.role(position), operator_id, due)
        elif status == "Deregistered" and due >= players.locking_epochs:
            owner, *nominators = players.accounts(operator_id)
            for number, account in enumerate(nominators):
                self._at(30 + 9 * number, staking.unlock_nominator, operator_id, account)
            # the owner goes last, in the very block that ends the epoch
            self._at(AT_TRANSITION, staking.unlock_nominator, operator_id, owner)
            self._at(AT_TRANSITION, staking.clean_up, operator_id)
        elif status == "PendingSlash" and due >= _SLASHED_AFTER:
            self._at(11, staking.slash, operator_id, players.accounts(operator_id))
        elif status == "InvalidBundle" and due >= _MARKED_FOR:
            self._at(66, staking.unmark_invalid, operator_id, players.accounts(operator_id))
        elif status == "Deactivated" and due >= _INACTIVE_FOR:
            self._at(8, staking.reactivate, operator_id, players.accounts(operator_id))

    def _plan_turn(self, role: Role, operator_id: int, due: int) -> None:
        staking = self.staking
        if role == "leaving":
            self._at(40, staking.deregister, operator_id, self._unlock_at)
        elif role == "slashed":
            self._at(45, staking.pend_slash, operator_id)
        elif role == "invalid" and due < _MARKED_FOR and "InvalidBundle" in self.statuses:
            receipt_hash = self.players.signing_key(operator_id)[::-1]
            self._at(35, staking.mark_invalid, operator_id, receipt_hash)
        elif role == "deactivated" and due < _INACTIVE_FOR and "Deactivated" in self.statuses:
            self._at(50, staking.deactivate, operator_id)

    @property
    def _unlock_at(self) -> int:
        return self.head + self.players.locking_epochs * EPOCH_DURATION

    def _plan_stakes(self, operator_id: int, operator: Operator) -> None:
        draw, staking = self.draw, self.staking
        account = self.players.account(operator_id, draw.randrange(ACCOUNTS))
        chance, offset = draw.randrange(100), draw.randrange(12, 30)
        if chance < _DEPOSIT:
            amount = max(AI3, operator.current_total_stake // draw.randrange(50, 5_000))
            amount += draw.randrange(AI3)
            self._at(offset, staking.deposit, operator_id, account, amount)
        elif chance < _WITHDRAW:
            percent = draw.randrange(1, 30)
            self._at(offset, staking.withdraw, operator_id, account, percent, self._unlock_at)
        elif chance < _UNLOCK:
            confirmed = self.head - self.players.locking_epochs * EPOCH_DURATION
            self._at(offset, staking.unlock_funds, operator_id, account, confirmed)

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
