"""The rules of `pallet-domains` for one domain: what each call does to the storage."""

from typing import cast

from operator_prices.devchain.ledger import Ledger
from operator_prices.devchain.records import (
    PENDING_SLASH,
    REGISTERED,
    Deposit,
    DeregisteredInfo,
    KnownDeposit,
    Operator,
    PendingDeposit,
    Status,
    Summary,
    Withdrawal,
    WithdrawalInBalance,
    WithdrawalInShares,
)

PERQUINTILL = 10**18
EPOCH_DURATION = 100
"""Domain blocks in an epoch: constant `StakeEpochDuration`."""


def share_price(shares: int, stake: int, unit: int) -> int:
    """Shares per stake in parts of `unit`, rounded down; one where there are none."""
    if shares > stake:
        raise AssertionError(f"{shares} shares on a stake of {stake}: a share costs less than one")
    return shares * unit // stake if shares else unit


class Staking:
    """The staking of one domain. Amounts are Shannons, floor division throughout."""

    def __init__(self, ledger: Ledger, domain: int, four_byte: frozenset[tuple[int, int]]) -> None:
        self.domain = domain
        self.price_unit = PERQUINTILL
        """What the executing runtime counts prices in: 10^18, or 10^9 with `Perbill`."""
        self._ledger = ledger
        self._four_byte = four_byte

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

    def deposit_of(self, operator_id: int, account: bytes) -> Deposit | None:
        return cast("Deposit | None", self._ledger.read("Deposits", operator_id, account))

    def _withdrawal_of(self, operator_id: int, account: bytes) -> Withdrawal | None:
        return cast("Withdrawal | None", self._ledger.read("Withdrawals", operator_id, account))

    def _members(self, item: str) -> frozenset[int]:
        return cast("frozenset[int] | None", self._ledger.read(item, self.domain)) or frozenset()

    # --- writing ---

    def _put(self, operator_id: int, operator: Operator) -> None:
        self._ledger.write(operator, "Operators", operator_id)

    def _put_summary(self, summary: Summary) -> None:
        self._ledger.write(summary, "DomainStakingSummary", self.domain)

    def _put_price(self, operator_id: int, epoch: int, price: int) -> None:
        perquintill = price * (PERQUINTILL // self.price_unit)
        if (operator_id, epoch) in self._four_byte:
            perquintill -= perquintill % 10**9
        self._ledger.write(perquintill, "OperatorEpochSharePrice", operator_id, self.domain, epoch)

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
        self._put_price(operator_id, summary.current_epoch_index, self.price_unit)
        self.deposit(operator_id, owner, amount)
        return operator_id

    def deposit(self, operator_id: int, account: bytes, amount: int) -> None:
        """Deposit into a pool: a fifth is reserved for storage fees, the rest enters at the end."""
        operator = self._known(operator_id)
        fee = amount // 5
        staking = amount - fee
        self._put(
            operator_id,
            operator._replace(
                deposits_in_epoch=operator.deposits_in_epoch + staking,
                total_storage_fee_deposit=operator.total_storage_fee_deposit + fee,
            ),
        )
        epoch = (self.domain, self.summary().current_epoch_index)
        deposit = self._converted(operator_id, account)
        before = deposit.pending or PendingDeposit(epoch, 0, 0)
        pending = PendingDeposit(epoch, before.amount + staking, before.storage_fee_deposit + fee)
        self._ledger.write(deposit._replace(pending=pending), "Deposits", operator_id, account)

    def _converted(self, operator_id: int, account: bytes) -> Deposit:
        """The deposit, what was pending of past epochs turned into shares at their price."""
        deposit = self.deposit_of(operator_id, account) or Deposit(KnownDeposit(0, 0), None)
        pending = deposit.pending
        if pending is None or pending.effective_domain_epoch[1] == self._epoch:
            return deposit
        price = self.price(operator_id, pending.effective_domain_epoch[1])
        if price is None:  # the operator was not finalized: what is pending waits on
            return deposit
        shares = pending.amount * price // PERQUINTILL
        known = KnownDeposit(
            deposit.known.shares + shares,
            deposit.known.storage_fee_deposit + pending.storage_fee_deposit,
        )
        return Deposit(known, None)

    @property
    def _epoch(self) -> int:
        return self.summary().current_epoch_index

    def withdraw(self, operator_id: int, account: bytes, percent: int, unlock_at: int) -> bool:
        """Take a part of the account's shares out; false if there is nothing to take."""
        deposit = self._converted(operator_id, account)
        shares = deposit.known.shares * percent // 100
        if not shares:
            return False
        operator = self._known(operator_id)
        fee = deposit.known.storage_fee_deposit * percent // 100
        known = KnownDeposit(deposit.known.shares - shares, deposit.known.storage_fee_deposit - fee)
        self._ledger.write(deposit._replace(known=known), "Deposits", operator_id, account)
        self._put(
            operator_id,
            operator._replace(
                withdrawals_in_epoch=operator.withdrawals_in_epoch + shares,
                total_storage_fee_deposit=operator.total_storage_fee_deposit - fee,
            ),
        )
        withdrawal = self._settled(operator_id, account)
        before = withdrawal.withdrawal_in_shares
        if before is not None:
            shares, fee = shares + before.shares, fee + before.storage_fee_refund
        leaving = WithdrawalInShares((self.domain, self._epoch), unlock_at, shares, fee)
        self._ledger.write(
            withdrawal._replace(withdrawal_in_shares=leaving), "Withdrawals", operator_id, account
        )
        return True

    def _settled(self, operator_id: int, account: bytes) -> Withdrawal:
        """The withdrawal, shares that left in past epochs turned into balance at their price."""
        withdrawal = self._withdrawal_of(operator_id, account) or Withdrawal(0, 0, (), None)
        leaving = withdrawal.withdrawal_in_shares
        if leaving is None or leaving.domain_epoch[1] == self._epoch:
            return withdrawal
        price = self.price(operator_id, leaving.domain_epoch[1])
        if price is None:
            return withdrawal
        amount = leaving.shares * PERQUINTILL // price
        unlocking = WithdrawalInBalance(
            leaving.unlock_at_confirmed_domain_block_number, amount, leaving.storage_fee_refund
        )
        return Withdrawal(
            withdrawal.total_withdrawal_amount + amount,
            withdrawal.total_storage_fee_withdrawal + leaving.storage_fee_refund,
            (*withdrawal.withdrawals, unlocking),
            None,
        )

    def unlock_funds(self, operator_id: int, account: bytes, confirmed: int) -> None:
        """Pay out the account's withdrawals that have waited long enough."""
        withdrawal = self._settled(operator_id, account)
        waiting = tuple(
            one
            for one in withdrawal.withdrawals
            if one.unlock_at_confirmed_domain_block_number > confirmed
        )
        left: Withdrawal | None = withdrawal._replace(
            total_withdrawal_amount=sum(one.amount_to_unlock for one in waiting),
            total_storage_fee_withdrawal=sum(one.storage_fee_refund for one in waiting),
            withdrawals=waiting,
        )
        if not waiting and withdrawal.withdrawal_in_shares is None:
            left = None
        if left != self._withdrawal_of(operator_id, account):
            self._ledger.write(left, "Withdrawals", operator_id, account)

    def reward(self, rewards: dict[int, int]) -> None:
        summary = self.summary()
        total = dict(summary.current_epoch_rewards)
        for operator_id, amount in rewards.items():
            total[operator_id] = total.get(operator_id, 0) + amount
        self._put_summary(summary._replace(current_epoch_rewards=total))

    def deregister(self, operator_id: int, unlock_at: int) -> None:
        info = DeregisteredInfo((self.domain, self._epoch), unlock_at)
        self._leave(operator_id, Status("Deregistered", info))
        members = self._members("DeregisteredOperators")
        self._put_members("DeregisteredOperators", members | {operator_id})

    def mark_invalid(self, operator_id: int, receipt_hash: bytes) -> None:
        self._leave(operator_id, Status("InvalidBundle", receipt_hash))
        members = self._members("InvalidBundleAuthors")
        self._put_members("InvalidBundleAuthors", members | {operator_id})

    def unmark_invalid(self, operator_id: int, accounts: list[bytes]) -> None:
        self._return(operator_id, accounts)
        members = self._members("InvalidBundleAuthors")
        self._put_members("InvalidBundleAuthors", members - {operator_id})

    def deactivate(self, operator_id: int) -> None:
        self._leave(operator_id, Status("Deactivated", self._epoch))

    def reactivate(self, operator_id: int, accounts: list[bytes]) -> None:
        self._return(operator_id, accounts)

    def pend_slash(self, operator_id: int) -> None:
        self._leave(operator_id, PENDING_SLASH)
        self._put_members("PendingSlashes", self._members("PendingSlashes") | {operator_id})

    def _leave(self, operator_id: int, status: Status) -> None:
        """Serve to the end of the epoch, and not in the next."""
        self._put(operator_id, self._known(operator_id)._replace(partial_status=status))
        summary = self.summary()
        self._put_summary(summary._replace(next_operators=summary.next_operators - {operator_id}))

    def _return(self, operator_id: int, accounts: list[bytes]) -> None:
        """Serve again. What was moved in an epoch that gave it no price is moved in this one."""
        self._put(operator_id, self._known(operator_id)._replace(partial_status=REGISTERED))
        summary = self.summary()
        self._put_summary(summary._replace(next_operators=summary.next_operators | {operator_id}))
        now = (self.domain, summary.current_epoch_index)
        for account in accounts:
            key = (operator_id, account)
            deposit = self._converted(*key)
            if deposit.pending is not None:
                pending = deposit.pending._replace(effective_domain_epoch=now)
                self._ledger.write(deposit._replace(pending=pending), "Deposits", *key)
            withdrawal = self._settled(*key)
            if withdrawal.withdrawal_in_shares is not None:
                leaving = withdrawal.withdrawal_in_shares._replace(domain_epoch=now)
                self._ledger.write(
                    withdrawal._replace(withdrawal_in_shares=leaving), "Withdrawals", *key
                )

    def slash(self, operator_id: int, accounts: list[bytes]) -> None:
        """Take everything and remove the operator. Its historic prices stay."""
        operator = self._known(operator_id)
        for account in accounts:
            self._forget_account(operator_id, account)
        self._to_treasury(operator.current_total_stake)
        self._remove(operator_id)
        self._put_members("PendingSlashes", self._members("PendingSlashes") - {operator_id})

    def unlock_nominator(self, operator_id: int, account: bytes) -> None:
        """Pay one account of a deregistered operator out; the last one takes the operator away."""
        operator = self._known(operator_id)
        deposit = self._converted(operator_id, account)
        pending = deposit.pending or PendingDeposit((self.domain, 0), 0, 0)
        withdrawal = self._settled(operator_id, account).withdrawal_in_shares
        waiting = withdrawal.shares if withdrawal else 0  # shares of the epoch it deregistered in
        shares = deposit.known.shares + waiting
        shares = min(shares, operator.current_total_shares)
        price = share_price(
            operator.current_total_shares, operator.current_total_stake, PERQUINTILL
        )
        amount = min(shares * PERQUINTILL // price, operator.current_total_stake)
        amount = min(
            amount,
            operator.current_total_stake - (operator.current_total_shares - shares),
        )
        fees = deposit.known.storage_fee_deposit + pending.storage_fee_deposit
        operator = operator._replace(
            current_total_stake=operator.current_total_stake - amount,
            current_total_shares=operator.current_total_shares - shares,
            deposits_in_epoch=max(0, operator.deposits_in_epoch - pending.amount),
            withdrawals_in_epoch=operator.withdrawals_in_epoch - waiting,
            total_storage_fee_deposit=max(0, operator.total_storage_fee_deposit - fees),
        )
        self._put(operator_id, operator)
        self._forget_account(operator_id, account)

    def clean_up(self, operator_id: int) -> None:
        """Remove an operator that nobody has stake with any more, and all its historic prices."""
        self._to_treasury(self._known(operator_id).current_total_stake)
        self._remove(operator_id)
        members = self._members("DeregisteredOperators")
        self._put_members("DeregisteredOperators", members - {operator_id})
        for key in self._ledger.keys("OperatorEpochSharePrice"):
            if key[0] == operator_id and self._ledger.read("OperatorEpochSharePrice", *key):
                self._ledger.write(None, "OperatorEpochSharePrice", *key)

    def _forget_account(self, operator_id: int, account: bytes) -> None:
        for item in ("Deposits", "Withdrawals"):
            if self._ledger.read(item, operator_id, account) is not None:
                self._ledger.write(None, item, operator_id, account)

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
        self._take_tax_and_stake_rewards()
        summary = self.summary()
        current = {
            operator_id: self._finalize_operator(operator_id, summary.current_epoch_index)
            for operator_id in sorted(summary.next_operators)
        }
        self._put_summary(
            Summary(
                current_epoch_index=summary.current_epoch_index + 1,
                current_total_stake=sum(current.values()),
                current_operators=current,
                next_operators=summary.next_operators,
                current_epoch_rewards={},
            )
        )

    def _take_tax_and_stake_rewards(self) -> None:
        for operator_id, reward in sorted(self.summary().current_epoch_rewards.items()):
            operator = self.operator(operator_id)
            if operator is None or operator.partial_status == PENDING_SLASH:
                self._to_treasury(reward)
                continue
            tax = reward * operator.nomination_tax // 100
            self._put(
                operator_id,
                operator._replace(current_total_stake=operator.current_total_stake + reward - tax),
            )
            if tax:
                owner = cast("bytes", self._ledger.read("OperatorIdOwner", operator_id))
                self.deposit(operator_id, owner, tax)

    def _finalize_operator(self, operator_id: int, epoch: int) -> int:
        """The operator's stake in the next epoch."""
        operator = self._known(operator_id)
        deposits, withdrawals = operator.deposits_in_epoch, operator.withdrawals_in_epoch
        stake, shares = operator.current_total_stake, operator.current_total_shares
        if not deposits and not withdrawals:
            return stake
        unit = self.price_unit
        price = share_price(shares, stake, unit)
        stake -= withdrawals * unit // price
        shares -= withdrawals
        stake += deposits
        shares += deposits * price // unit
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
