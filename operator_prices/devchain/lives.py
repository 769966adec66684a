"""What nominators do in an epoch: lives that every operator sees, chance, and a crowd."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice
from random import Random

from operator_prices.devchain.players import ACCOUNTS, Players
from operator_prices.devchain.records import Operator
from operator_prices.devchain.staking import Staking

AI3 = 10**18
_OWNER, _FIRST, _SECOND = 0, 1, 2
_DEPOSIT, _WITHDRAW, _UNLOCK = 12, 18, 24
"""Odds of a hundred, cumulated, of one of an account's actions in an epoch."""
_CROWD_DEPOSITS, _CROWD_WITHDRAWS, _CROWD_LEAVES = 50, 75, 85
"""The same odds for one of the crowd that acts; the rest unlock what is due."""
_ARRIVES_OVER = 10
"""Epochs over which the crowd comes in, from epoch 1 on."""
_LIFE = 12
"""Epochs of a traveller's visit beside those for which its last withdrawal is locked."""

Move = tuple[int, Callable[[], object]]
"""What happens, and after how many domain blocks of the epoch."""


@dataclass(frozen=True, slots=True)
class Lives:
    """Moves of nominators. What they amount to is decided when they are made."""

    players: Players
    staking: Staking
    draw: Random

    # --- what an account can do ---

    def _deposit(self, operator_id: int, account: bytes, amount: int) -> None:
        self.staking.deposit(operator_id, account, amount)

    def _withdraw(self, operator_id: int, account: bytes, percent: int) -> None:
        shares = self.staking.shares_of(operator_id, account) * percent // 100
        self.staking.withdraw(operator_id, account, shares)

    def _unlock(self, operator_id: int, account: bytes) -> None:
        self.staking.unlock_funds(operator_id, account)

    # --- chance ---

    def by_chance(self, operator_id: int, operator: Operator, draw: Random) -> Iterator[Move]:
        """What one of an operator's accounts may do, now and then."""
        account = self.players.account(operator_id, draw.randrange(ACCOUNTS))
        chance, offset = draw.randrange(100), draw.randrange(12, 30)
        if chance < _DEPOSIT:
            least = operator.minimum_nominator_stake
            amount = max(least, operator.current_total_stake // draw.randrange(50, 5_000))
            amount += draw.randrange(AI3)
            yield offset, lambda: self._deposit(operator_id, account, amount)
        elif chance < _WITHDRAW:
            percent = draw.randrange(1, 30)
            yield offset, lambda: self._withdraw(operator_id, account, percent)
        elif chance < _UNLOCK:
            yield offset, lambda: self._unlock(operator_id, account)

    # --- lives ---

    def at_the_beginning(self, operator_id: Callable[[], int | None]) -> Iterator[Move]:
        """In the epoch that registers an operator, who is known only when it has happened."""
        draw = self.draw
        owners, firsts = draw.randrange(100 * AI3, 900 * AI3), draw.randrange(200 * AI3, 900 * AI3)

        def deposit(number: int, amount: int) -> None:
            found = operator_id()
            if found is not None:
                self._deposit(found, self.players.account(found, number), amount)

        yield 14, lambda: deposit(_OWNER, owners)
        yield 15, lambda: deposit(_FIRST, firsts)
        yield 18, lambda: deposit(_FIRST, firsts // 3)

    def of_operator(self, operator_id: int, operator: Operator, age: int) -> Iterator[Move]:
        """The moves that every operator sees, `age` epochs after it came; they come round again."""
        first, second = (self.players.account(operator_id, one) for one in (_FIRST, _SECOND))
        traveller, least = self.players.traveller, operator.minimum_nominator_stake
        some = least + self.draw.randrange(50 * AI3, 5_000 * AI3)
        if self._is_due(operator_id, traveller):
            yield 25, lambda: self._unlock(operator_id, traveller)
        match age % (_LIFE + self.players.locking_epochs):
            case 1:
                yield 13, lambda: self._deposit(operator_id, second, least - 1)
                yield 14, lambda: self._deposit(operator_id, traveller, some)
                yield 20, lambda: self._deposit(operator_id, traveller, some // 7)
            case 2:
                yield 13, lambda: self._deposit(operator_id, traveller, some)
                yield 16, lambda: self._deposit(operator_id, second, least - 1)
                yield 17, lambda: self._deposit(operator_id, second, least)
            case 3:
                yield 13, lambda: self._withdraw(operator_id, first, 30)
                yield 19, lambda: self._withdraw(operator_id, first, 25)
            case 4:
                yield 15, lambda: self._withdraw(operator_id, traveller, 40)
            case 5:
                yield 16, lambda: self._deposit(operator_id, first, some)
                yield 21, lambda: self._withdraw(operator_id, first, 10)
            case 6:
                yield 15, lambda: self._withdraw(operator_id, traveller, 100)

    def before_the_end(self, operator_id: int, operator: Operator) -> Iterator[Move]:
        """In the epoch in which an operator leaves or is caught: moves that get no price."""
        first, second = (self.players.account(operator_id, one) for one in (_FIRST, _SECOND))
        some = operator.minimum_nominator_stake + self.draw.randrange(50 * AI3, 5_000 * AI3)
        yield 31, lambda: self._deposit(operator_id, second, some)
        yield 32, lambda: self._withdraw(operator_id, first, 50)

    def _is_due(self, operator_id: int, account: bytes) -> bool:
        """Whether something of the account's can be unlocked already."""
        waiting = self.staking.nominators.settled(operator_id, account).withdrawals
        head = self.staking.head
        return any(one.unlock_at_confirmed_domain_block_number <= head for one in waiting[:1])

    # --- the crowd ---

    def of_the_crowd(self, epoch: int, members: dict[int, Operator]) -> Iterator[Move]:
        """Each epoch a part of the crowd acts; in the first ones all of it comes in.

        `members` are the operators that take deposits.
        """
        draw, size = self.draw, self.players.crowd
        if 1 <= epoch <= _ARRIVES_OVER:
            for number in range(epoch - 1, size, _ARRIVES_OVER):
                yield self._of_one(number, members, chance=0)
        for number in draw.sample(range(size), size * self.players.acting_per_mille // 1000):
            yield self._of_one(number, members, chance=draw.randrange(100))

    def _of_one(self, number: int, members: dict[int, Operator], chance: int) -> Move:
        account = self.players.one_of_the_crowd(number)
        operator_id = self._home(number, account, members)
        draw, nominators = self.draw, self.staking.nominators
        offset = draw.randrange(12, 97)
        if chance < _CROWD_DEPOSITS or nominators.deposit_of(operator_id, account) is None:
            amount = members[operator_id].minimum_nominator_stake * draw.randrange(1, 1_000)
            amount += draw.randrange(AI3)
            return offset, partial(self._deposit, operator_id, account, amount)
        if chance < _CROWD_LEAVES:
            percent = draw.randrange(1, 60) if chance < _CROWD_WITHDRAWS else 100
            return offset, partial(self._withdraw, operator_id, account, percent)
        return offset, partial(self._unlock, operator_id, account)

    def _home(self, number: int, account: bytes, members: dict[int, Operator]) -> int:
        """The operator that the account has stake with, else the next that takes any."""
        first, nominators = number % len(members), self.staking.nominators
        turned = [*islice(members, first, None), *islice(members, first)]
        return next((one for one in turned if nominators.deposit_of(one, account)), turned[0])
