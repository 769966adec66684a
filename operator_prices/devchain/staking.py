"""The rules of `pallet-domains` for one domain: what each call does to the storage."""

from typing import cast

from operator_prices.devchain.journal import Act, EpochEnd, Journal, Kind
from operator_prices.devchain.ledger import Ledger
from operator_prices.devchain.nominators import Holding, Nominators
from operator_prices.devchain.records import (
    PENDING_SLASH,
    REGISTERED,
    DeregisteredInfo,
    KnownDeposit,
    Operator,
    Status,
    Summary,
    WithdrawalInShares,
)
from operator_prices.devchain.shares import (
    PERQUINTILL,
    part_of_fee,
    share_price,
    shares_to_stake,
    stake_to_shares,
)

EPOCH_DURATION = 100
"""Domain blocks in an epoch: constant `StakeEpochDuration`."""
WITHDRAWAL_LIMIT = 32
"""Withdrawals that may wait for one account with one operator: constant `WithdrawalLimit`."""
MIN_OPERATOR_STAKE = 100 * 10**18
"""Shannons that an owner must leave in: constant `MinOperatorStake`."""
_CHARGED_EVERY = 8
_CHARGE = 20
"""Every so many epochs bundles have cost a fund one part in 2 to this power."""


class Staking:
    """The staking of one domain. Amounts are Shannons, floor division throughout.

    A call that the pallet refuses changes nothing and returns false.
    """

    def __init__(
        self, ledger: Ledger, domain: int, four_byte: frozenset[tuple[int, int]], locking: int
    ) -> None:
        self.domain = domain
        self.price_unit = PERQUINTILL
        """What the executing runtime counts prices in: 10^18, or 10^9 with `Perbill`."""
        self.head = 0
        """`HeadDomainNumber` while a block is executed, the block's own bundle included."""
        self.journal = Journal()
        self.nominators = Nominators(ledger, domain, self.journal)
        self._ledger = ledger
        self._four_byte = four_byte
        self._locking = locking

    # --- reading ---

    def summary(self) -> Summary:
        return cast("Summary", self._ledger.read("DomainStakingSummary", self.domain))

    def operator(self, operator_id: int) -> Operator | None:
        return cast("Operator | None", self._ledger.read("Operators", operator_id))

    def next_operator_id(self) -> int:
        return cast("int | None", self._ledger.read("NextOperatorId")) or 0

    def price(self, operator_id: int, epoch: int) -> int | None:
        """The stored price, Perquintill."""
        key = (operator_id, self.domain, epoch)
        return cast("int | None", self._ledger.read("OperatorEpochSharePrice", *key))

    def owner(self, operator_id: int) -> bytes:
        return cast("bytes", self._ledger.read("OperatorIdOwner", operator_id))

    def shares_of(self, operator_id: int, account: bytes) -> int:
        """The account's shares as the chain would convert them now."""
        return self.nominators.converted(operator_id, account).known.shares

    def _members(self, item: str) -> frozenset[int]:
        return cast("frozenset[int] | None", self._ledger.read(item, self.domain)) or frozenset()

    # --- writing ---

    def _put(self, operator_id: int, operator: Operator) -> None:
        self._ledger.write(operator, "Operators", operator_id)

    def _put_summary(self, summary: Summary) -> None:
        self._ledger.write(summary, "DomainStakingSummary", self.domain)

    def _put_price(self, operator_id: int, epoch: int, price: int) -> None:
        self._ledger.write(price, "OperatorEpochSharePrice", operator_id, self.domain, epoch)

    def _price_now(self, operator_id: int, epoch: int, shares: int, stake: int) -> int:
        """The price of an operator's epoch in Perquintill, as fine as the runtime has it."""
        unit = self.price_unit
        price = share_price(shares, stake, unit) * (PERQUINTILL // unit)
        return price - price % 10**9 if (operator_id, epoch) in self._four_byte else price

    def _put_members(self, item: str, members: frozenset[int]) -> None:
        self._ledger.write(members or None, item, self.domain)

    def _to_treasury(self, amount: int) -> None:
        if amount:
            funds = cast("int | None", self._ledger.read("AccumulatedTreasuryFunds")) or 0
            self._ledger.write(funds + amount, "AccumulatedTreasuryFunds")

    # --- calls ---

    def create(self) -> None:
        self._put_summary(Summary(0, 0, {}, frozenset(), {}))

    def register(
        self, owner: bytes, signing_key: bytes, *, amount: int, tax: int, minimum: int
    ) -> int:
        ledger = self._ledger
        operator_id = self.next_operator_id()
        ledger.write(operator_id + 1, "NextOperatorId")
        self._put(
            operator_id,
            Operator(
                signing_key,
                self.domain,
                self.domain,
                minimum,
                tax,
                0,
                0,
                0,
                REGISTERED,
                0,
                0,
                0,
            ),
        )
        ledger.write(owner, "OperatorIdOwner", operator_id)
        summary = self.summary()
        self._put_summary(summary._replace(next_operators=summary.next_operators | {operator_id}))
        self._put_price(operator_id, summary.current_epoch_index, PERQUINTILL)
        self._note("register", operator_id, owner, tax)
        if not self.deposit(operator_id, owner, amount):
            raise AssertionError(f"operator {operator_id} begins with less than its own minimum")
        return operator_id

    def deposit(self, operator_id: int, account: bytes, amount: int) -> bool:
        """Deposit into a pool: a fifth is reserved for storage fees, the rest enters at the end.

        Who has no shares yet must bring the operator's minimum.
        """
        operator = self.operator(operator_id)
        fee = amount // 5
        deposit = self.nominators.with_paid_in(operator_id, account, self._epoch, amount - fee, fee)
        pending = deposit.pending
        paid_in = pending.amount + pending.storage_fee_deposit if pending else 0
        new = not deposit.known.shares
        if operator is None or operator.partial_status != REGISTERED:
            return False
        if new and paid_in < operator.minimum_nominator_stake:
            return False
        self._note("deposit", operator_id, account, amount)
        self._pay_in(operator_id, account, amount)
        return True

    def _pay_in(self, operator_id: int, account: bytes, amount: int) -> None:
        fee = amount // 5
        staking = amount - fee
        operator = self._known(operator_id)
        deposit = self.nominators.with_paid_in(operator_id, account, self._epoch, staking, fee)
        self.nominators.pay_in(operator_id, account, deposit, staking)
        self._put(
            operator_id,
            operator._replace(
                deposits_in_epoch=operator.deposits_in_epoch + staking,
                total_storage_fee_deposit=operator.total_storage_fee_deposit + fee,
            ),
        )

    @property
    def _epoch(self) -> int:
        return self.summary().current_epoch_index

    def _note(self, kind: Kind, operator_id: int, account: bytes, number: int) -> None:
        act = Act(self._ledger.block, kind, operator_id, account, number)
        self.journal.acts.append(act)

    def withdraw(self, operator_id: int, account: bytes, shares: int) -> bool:
        """Take shares out of a pool, all of them if the rest were below the minimum."""
        operator = self.operator(operator_id)
        deposit = self.nominators.converted(operator_id, account)
        known = deposit.known
        waiting = len(self.nominators.settled(operator_id, account).withdrawals)
        if operator is None or not 0 < shares <= known.shares or waiting >= WITHDRAWAL_LIMIT:
            return False
        left = known.shares - shares
        worth = self._worth(operator_id, operator, left)
        worth += part_of_fee(known.storage_fee_deposit, left, known.shares)
        owns = account == self.owner(operator_id)
        if left and not owns and worth < operator.minimum_nominator_stake:
            shares, left = known.shares, 0
        if (
            operator.partial_status != REGISTERED
            or (owns and worth < MIN_OPERATOR_STAKE)
            or shares > operator.current_total_shares - operator.withdrawals_in_epoch
        ):
            return False
        pending = deposit.pending
        if not left and pending is not None:
            paid_in = pending.amount + pending.storage_fee_deposit
            if paid_in < operator.minimum_nominator_stake:
                return False
        fee = part_of_fee(known.storage_fee_deposit, shares, known.shares)
        self._take_out(
            operator_id, account, KnownDeposit(left, known.storage_fee_deposit - fee), shares, fee
        )
        return True

    def _worth(self, operator_id: int, operator: Operator, shares: int) -> int:
        """What shares are worth now, this epoch's rewards so far included."""
        reward = self.summary().current_epoch_rewards.get(operator_id, 0)
        stake = operator.current_total_stake + reward - reward * operator.nomination_tax // 100
        price = self._price_now(operator_id, self._epoch, operator.current_total_shares, stake)
        return shares_to_stake(shares, price)

    def _take_out(
        self, operator_id: int, account: bytes, known: KnownDeposit, shares: int, fee: int
    ) -> None:
        self._note("withdraw", operator_id, account, shares)
        refund = self._redeem(operator_id, fee)
        leaving = WithdrawalInShares(
            (self.domain, self._epoch), self.head + self._locking, shares, refund
        )
        self.nominators.take_out(operator_id, account, known, leaving)
        operator = self._known(operator_id)
        self._put(
            operator_id,
            operator._replace(
                withdrawals_in_epoch=operator.withdrawals_in_epoch + shares,
                total_storage_fee_deposit=operator.total_storage_fee_deposit - fee,
            ),
        )

    def unlock_funds(self, operator_id: int, account: bytes) -> bool:
        """Pay out the account's withdrawals that have waited long enough."""
        unlocked = self.nominators.unlock(operator_id, account, self.head)
        if unlocked:
            self._note("unlock", operator_id, account, self.head)
        return unlocked

    # --- the storage fund ---

    def _spent(self, operator_id: int) -> int:
        """What the operator's bundles have cost its storage fund so far."""
        return cast("int | None", self._ledger.read("StorageFundSpent", operator_id)) or 0

    def _redeem(self, operator_id: int, fee: int) -> int:
        """Take a part of the deposits for storage out of the fund, at the fund's price."""
        deposits = self._known(operator_id).total_storage_fee_deposit
        spent = self._spent(operator_id)
        refund = part_of_fee(deposits - spent, fee, deposits) if spent else fee
        if refund != fee:
            self._ledger.write(spent - (fee - refund), "StorageFundSpent", operator_id)
        return refund

    def _charge(self, operator_id: int) -> int:
        """What bundles of some epochs cost the fund."""
        spent = self._spent(operator_id)
        cost = self._known(operator_id).total_storage_fee_deposit - spent >> _CHARGE
        self._ledger.write(spent + cost, "StorageFundSpent", operator_id)
        return cost

    # --- operators come and go ---

    def reward(self, rewards: dict[int, int]) -> None:
        summary = self.summary()
        total = dict(summary.current_epoch_rewards)
        for operator_id, amount in rewards.items():
            total[operator_id] = total.get(operator_id, 0) + amount
        self._put_summary(summary._replace(current_epoch_rewards=total))

    def deregister(self, operator_id: int) -> None:
        info = DeregisteredInfo((self.domain, self._epoch), self.head + self._locking)
        self._leave(operator_id, Status("Deregistered", info))
        self._note("deregister", operator_id, self.owner(operator_id), 0)
        members = self._members("DeregisteredOperators")
        self._put_members("DeregisteredOperators", members | {operator_id})

    def mark_invalid(self, operator_id: int, receipt_hash: bytes) -> None:
        self._leave(operator_id, Status("InvalidBundle", receipt_hash))
        members = self._members("InvalidBundleAuthors")
        self._put_members("InvalidBundleAuthors", members | {operator_id})

    def unmark_invalid(self, operator_id: int) -> None:
        self._return(operator_id)
        members = self._members("InvalidBundleAuthors")
        self._put_members("InvalidBundleAuthors", members - {operator_id})

    def deactivate(self, operator_id: int) -> None:
        self._leave(operator_id, Status("Deactivated", self._epoch))

    def reactivate(self, operator_id: int) -> None:
        self._return(operator_id)

    def pend_slash(self, operator_id: int) -> None:
        self._leave(operator_id, PENDING_SLASH)
        self._put_members("PendingSlashes", self._members("PendingSlashes") | {operator_id})

    def _leave(self, operator_id: int, status: Status) -> None:
        """Serve to the end of the epoch, and not in the next."""
        self._put(operator_id, self._known(operator_id)._replace(partial_status=status))
        summary = self.summary()
        self._put_summary(summary._replace(next_operators=summary.next_operators - {operator_id}))

    def _return(self, operator_id: int) -> None:
        """Serve again. What was moved in an epoch that gave it no price is moved in this one."""
        self._put(operator_id, self._known(operator_id)._replace(partial_status=REGISTERED))
        summary = self.summary()
        self._put_summary(summary._replace(next_operators=summary.next_operators | {operator_id}))
        self.nominators.redate(operator_id, summary.current_epoch_index)
        self._note("return", operator_id, self.owner(operator_id), 0)

    def slash(self, operator_id: int) -> None:
        """Take all that is staked or waits, and remove the operator. Its historic prices stay.

        What has not entered the pool goes back to who paid it in, with its storage fee.
        """
        self._note("slash", operator_id, self.owner(operator_id), 0)
        taken = self._known(operator_id).current_total_stake
        for account in self.nominators.of(operator_id):
            holding = self.nominators.close(operator_id, account)
            withdrawal, pending = holding.withdrawal, holding.pending
            taken += withdrawal.total_withdrawal_amount + withdrawal.total_storage_fee_withdrawal
            fee = self._refund(operator_id, holding.pending_fee)
            self.nominators.pay_back(operator_id, account, pending, pending, fee)
        self._to_treasury(taken + self._fund(operator_id))
        self._remove(operator_id)
        self._put_members("PendingSlashes", self._members("PendingSlashes") - {operator_id})

    def unlock_nominator(self, operator_id: int, account: bytes) -> bool:
        """Pay one account of a deregistered operator out; the last one takes the operator away."""
        operator = self.operator(operator_id)
        info = operator.partial_status.detail if operator else None
        if (
            operator is None
            or not isinstance(info, DeregisteredInfo)
            or info.unlock_at_confirmed_domain_block_number > self.head
            or self.nominators.deposit_of(operator_id, account) is None
        ):
            return False
        self._note("leave", operator_id, account, self.head)
        holding = self.nominators.close(operator_id, account)
        amount = self._let_go(operator_id, operator, holding)
        withdrawal = holding.withdrawal
        fees = holding.deposit.known.storage_fee_deposit + holding.pending_fee
        fee = withdrawal.total_storage_fee_withdrawal + self._refund(operator_id, fees)
        amount += withdrawal.total_withdrawal_amount + holding.pending
        self.nominators.pay_back(operator_id, account, amount, holding.on_hold, fee)
        if not self.nominators.of(operator_id):
            self._clean_up(operator_id)
        return True

    def _let_go(self, operator_id: int, operator: Operator, holding: Holding) -> int:
        """Take an account's shares out of a deregistered operator's pool; return their worth."""
        shares = holding.shares
        price = share_price(
            operator.current_total_shares, operator.current_total_stake, PERQUINTILL
        )
        amount = shares_to_stake(shares, price)
        waiting = shares - holding.deposit.known.shares
        self._put(
            operator_id,
            operator._replace(
                current_total_stake=operator.current_total_stake - amount,
                current_total_shares=operator.current_total_shares - shares,
                deposits_in_epoch=operator.deposits_in_epoch - holding.pending,
                withdrawals_in_epoch=operator.withdrawals_in_epoch - waiting,
            ),
        )
        return amount

    def _refund(self, operator_id: int, fee: int) -> int:
        """Take a deposit for storage out of the fund; return what it brings."""
        refund = self._redeem(operator_id, fee)
        operator = self._known(operator_id)
        left = operator.total_storage_fee_deposit - fee
        self._put(operator_id, operator._replace(total_storage_fee_deposit=left))
        return refund

    def _fund(self, operator_id: int) -> int:
        return self._known(operator_id).total_storage_fee_deposit - self._spent(operator_id)

    def _clean_up(self, operator_id: int) -> None:
        """Remove an operator that nobody has stake with any more, and all its historic prices."""
        stake = self._known(operator_id).current_total_stake
        self._to_treasury(stake + self._fund(operator_id))
        self._remove(operator_id)
        members = self._members("DeregisteredOperators")
        self._put_members("DeregisteredOperators", members - {operator_id})
        for key in self._ledger.keys("OperatorEpochSharePrice"):
            if key[0] == operator_id and self._ledger.read("OperatorEpochSharePrice", *key):
                self._ledger.write(None, "OperatorEpochSharePrice", *key)

    def _remove(self, operator_id: int) -> None:
        self._ledger.write(None, "Operators", operator_id)
        self._ledger.write(None, "OperatorIdOwner", operator_id)

    def _known(self, operator_id: int) -> Operator:
        operator = self.operator(operator_id)
        if operator is None:
            raise KeyError(f"operator {operator_id} is not there at block {self._ledger.block}")
        return operator

    # --- the end of an epoch ---

    def finalize(self) -> None:
        """End the epoch: rewards, then prices, then withdrawals, then deposits."""
        summary = self.summary()
        epoch, rewards = summary.current_epoch_index, self._take_tax_and_stake_rewards()
        charges = {
            operator_id: self._charge(operator_id)
            for operator_id in rewards
            if epoch % _CHARGED_EVERY == operator_id % _CHARGED_EVERY
        }
        current = {
            operator_id: self._finalize_operator(operator_id, epoch)
            for operator_id in sorted(summary.next_operators)
        }
        self.journal.acts.append(
            EpochEnd(
                self._ledger.block,
                epoch,
                rewards,
                charges,
                summary.next_operators,
                self.price_unit,
            )
        )
        self._put_summary(
            Summary(
                current_epoch_index=epoch + 1,
                current_total_stake=sum(current.values()),
                current_operators=current,
                next_operators=summary.next_operators,
                current_epoch_rewards={},
            )
        )

    def _take_tax_and_stake_rewards(self) -> dict[int, int]:
        """Stake what was earned, the tax as the owner's deposit; return what was staked."""
        staked = {}
        for operator_id, reward in sorted(self.summary().current_epoch_rewards.items()):
            operator = self.operator(operator_id)
            if operator is None or operator.partial_status == PENDING_SLASH:
                self._to_treasury(reward)
                continue
            staked[operator_id] = reward
            tax = reward * operator.nomination_tax // 100
            self._put(
                operator_id,
                operator._replace(current_total_stake=operator.current_total_stake + reward - tax),
            )
            if tax:
                self._pay_in(operator_id, self.owner(operator_id), tax)
        return staked

    def _finalize_operator(self, operator_id: int, epoch: int) -> int:
        """The operator's stake in the next epoch."""
        operator = self._known(operator_id)
        deposits, withdrawals = operator.deposits_in_epoch, operator.withdrawals_in_epoch
        stake, shares = operator.current_total_stake, operator.current_total_shares
        if not deposits and not withdrawals:
            return stake
        price = self._price_now(operator_id, epoch, shares, stake)
        stake += deposits - shares_to_stake(withdrawals, price)
        shares += stake_to_shares(deposits, price) - withdrawals
        self._put(
            operator_id,
            operator._replace(
                current_total_stake=stake,
                current_total_shares=shares,
                deposits_in_epoch=0,
                withdrawals_in_epoch=0,
            ),
        )
        self._put_price(operator_id, epoch, price)
        return stake
