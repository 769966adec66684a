"""What the pallet keeps of each account that stakes on an operator, and how it converts it."""

from typing import NamedTuple, cast

from operator_prices.devchain.journal import Journal, Payout
from operator_prices.devchain.ledger import Ledger
from operator_prices.devchain.records import (
    Deposit,
    KnownDeposit,
    PendingDeposit,
    Withdrawal,
    WithdrawalInBalance,
    WithdrawalInShares,
)
from operator_prices.devchain.shares import shares_to_stake, stake_to_shares

NOTHING = Deposit(KnownDeposit(0, 0), None)
_NONE_LEAVING = Withdrawal(0, 0, (), None)


class Holding(NamedTuple):
    """All that an account has with an operator, converted as far as there are prices."""

    deposit: Deposit
    withdrawal: Withdrawal
    on_hold: int

    @property
    def shares(self) -> int:
        """Known shares, and those that were to leave in an epoch that never got a price."""
        leaving = self.withdrawal.withdrawal_in_shares
        return self.deposit.known.shares + (leaving.shares if leaving else 0)

    @property
    def pending(self) -> int:
        return self.deposit.pending.amount if self.deposit.pending else 0

    @property
    def pending_fee(self) -> int:
        return self.deposit.pending.storage_fee_deposit if self.deposit.pending else 0


class Nominators:
    """The entries of `Deposits`, `Withdrawals` and `DepositOnHold` of one domain's operators."""

    def __init__(self, ledger: Ledger, domain: int, journal: Journal) -> None:
        self._ledger = ledger
        self._domain = domain
        self._journal = journal

    def deposit_of(self, operator_id: int, account: bytes) -> Deposit | None:
        return cast("Deposit | None", self._ledger.read("Deposits", operator_id, account))

    def _withdrawal_of(self, operator_id: int, account: bytes) -> Withdrawal | None:
        return cast("Withdrawal | None", self._ledger.read("Withdrawals", operator_id, account))

    def on_hold(self, operator_id: int, account: bytes) -> int:
        return cast("int | None", self._ledger.read("DepositOnHold", operator_id, account)) or 0

    def of(self, operator_id: int) -> list[bytes]:
        """The accounts that have an entry with the operator, in the order of their keys."""
        return sorted(
            cast("bytes", key[1])
            for key in self._ledger.keys("Deposits")
            if key[0] == operator_id and self._ledger.read("Deposits", *key) is not None
        )

    def _price(self, operator_id: int, epoch: int) -> int | None:
        key = (operator_id, self._domain, epoch)
        return cast("int | None", self._ledger.read("OperatorEpochSharePrice", *key))

    def converted(self, operator_id: int, account: bytes) -> Deposit:
        """The deposit, what is pending turned into shares if its epoch has a price."""
        deposit = self.deposit_of(operator_id, account) or NOTHING
        pending = deposit.pending
        if pending is None:
            return deposit
        price = self._price(operator_id, pending.effective_domain_epoch[1])
        if price is None:
            return deposit
        known = KnownDeposit(
            deposit.known.shares + stake_to_shares(pending.amount, price),
            deposit.known.storage_fee_deposit + pending.storage_fee_deposit,
        )
        return Deposit(known, None)

    def settled(self, operator_id: int, account: bytes) -> Withdrawal:
        """The withdrawal, shares that left turned into balance if their epoch has a price."""
        withdrawal = self._withdrawal_of(operator_id, account) or _NONE_LEAVING
        leaving = withdrawal.withdrawal_in_shares
        if leaving is None:
            return withdrawal
        price = self._price(operator_id, leaving.domain_epoch[1])
        if price is None:
            return withdrawal
        amount = shares_to_stake(leaving.shares, price)
        unlocking = WithdrawalInBalance(
            leaving.unlock_at_confirmed_domain_block_number, amount, leaving.storage_fee_refund
        )
        return withdrawal._replace(
            total_withdrawal_amount=withdrawal.total_withdrawal_amount + amount,
            withdrawals=(*withdrawal.withdrawals, unlocking),
            withdrawal_in_shares=None,
        )

    def with_paid_in(
        self, operator_id: int, account: bytes, epoch: int, staking: int, fee: int
    ) -> Deposit:
        """What the deposit would be with a further payment, which is pending until the epoch ends.

        What was pending of an epoch that gave it no price is pending of this one now.
        """
        deposit = self.converted(operator_id, account)
        before = deposit.pending
        if before is not None:
            staking, fee = staking + before.amount, fee + before.storage_fee_deposit
        return deposit._replace(pending=PendingDeposit((self._domain, epoch), staking, fee))

    def pay_in(self, operator_id: int, account: bytes, deposit: Deposit, staking: int) -> None:
        """Keep the deposit, and hold what was paid in for the pool."""
        self._ledger.write(deposit, "Deposits", operator_id, account)
        held = self.on_hold(operator_id, account) + staking
        self._ledger.write(held, "DepositOnHold", operator_id, account)

    def take_out(
        self, operator_id: int, account: bytes, known: KnownDeposit, leaving: WithdrawalInShares
    ) -> None:
        """Leave `known` of the deposit; what leaves is added to what left before in the epoch."""
        deposit = self.converted(operator_id, account)._replace(known=known)
        self._ledger.write(deposit, "Deposits", operator_id, account)
        withdrawal = self.settled(operator_id, account)
        refund, before = leaving.storage_fee_refund, withdrawal.withdrawal_in_shares
        if before is not None:
            leaving = leaving._replace(
                shares=leaving.shares + before.shares,
                storage_fee_refund=refund + before.storage_fee_refund,
            )
        withdrawal = withdrawal._replace(
            total_storage_fee_withdrawal=withdrawal.total_storage_fee_withdrawal + refund,
            withdrawal_in_shares=leaving,
        )
        self._ledger.write(withdrawal, "Withdrawals", operator_id, account)

    def unlock(self, operator_id: int, account: bytes, head: int) -> bool:
        """Pay out what waited for domain block `head` or an earlier one; false if nothing did."""
        withdrawal = self.settled(operator_id, account)
        due = tuple(
            one
            for one in withdrawal.withdrawals
            if one.unlock_at_confirmed_domain_block_number <= head
        )
        if not due:
            return False
        amount = sum(one.amount_to_unlock for one in due)
        refund = sum(one.storage_fee_refund for one in due)
        held = self.on_hold(operator_id, account)
        released = min(amount, held)
        left = withdrawal._replace(
            total_withdrawal_amount=withdrawal.total_withdrawal_amount - amount,
            total_storage_fee_withdrawal=withdrawal.total_storage_fee_withdrawal - refund,
            withdrawals=withdrawal.withdrawals[len(due) :],
        )
        self._pay_out(operator_id, account, released, amount - released, refund)
        self._ledger.write(held - released, "DepositOnHold", operator_id, account)
        if left.withdrawals or left.withdrawal_in_shares is not None:
            self._ledger.write(left, "Withdrawals", operator_id, account)
            return True
        self._ledger.write(None, "Withdrawals", operator_id, account)
        if self.deposit_of(operator_id, account) == NOTHING:
            self._forget(operator_id, account)
        return True

    def redate(self, operator_id: int, epoch: int) -> None:
        """What was moved in an epoch that gave it no price takes effect in this one."""
        now = (self._domain, epoch)
        for account in self.of(operator_id):
            key = (operator_id, account)
            deposit, withdrawal = self.converted(*key), self.settled(*key)
            if deposit.pending is not None:
                pending = deposit.pending._replace(effective_domain_epoch=now)
                self._ledger.write(deposit._replace(pending=pending), "Deposits", *key)
            if withdrawal.withdrawal_in_shares is not None:
                leaving = withdrawal.withdrawal_in_shares._replace(domain_epoch=now)
                self._ledger.write(
                    withdrawal._replace(withdrawal_in_shares=leaving), "Withdrawals", *key
                )

    def close(self, operator_id: int, account: bytes) -> Holding:
        """Take away all that the account has with the operator, and say what it was."""
        holding = Holding(
            self.converted(operator_id, account),
            self.settled(operator_id, account),
            self.on_hold(operator_id, account),
        )
        self._forget(operator_id, account)
        return holding

    def pay_back(self, operator_id: int, account: bytes, amount: int, held: int, fee: int) -> None:
        """Release all that is held, mint what `amount` is above it, and refund the fee."""
        self._pay_out(operator_id, account, held, max(0, amount - held), fee)

    def _pay_out(
        self, operator_id: int, account: bytes, released: int, minted: int, refunded: int
    ) -> None:
        payout = Payout(self._ledger.block, operator_id, account, released, minted, refunded)
        self._journal.payouts.append(payout)

    def _forget(self, operator_id: int, account: bytes) -> None:
        for item in ("Deposits", "Withdrawals", "DepositOnHold"):
            if self._ledger.read(item, operator_id, account) is not None:
                self._ledger.write(None, item, operator_id, account)
