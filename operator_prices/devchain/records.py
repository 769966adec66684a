"""The values that staking keeps on chain, named and ordered as in the pallet."""

from typing import NamedTuple, Self

_PACKED = 16
"""Bytes of a number in a packed record."""
DomainEpoch = tuple[int, int]
"""A domain and the index of one of its epochs."""


class Status(NamedTuple):
    name: str
    detail: object = None


class DeregisteredInfo(NamedTuple):
    domain_epoch: DomainEpoch
    unlock_at_confirmed_domain_block_number: int


class Operator(NamedTuple):
    signing_key: bytes
    current_domain_id: int
    next_domain_id: int
    minimum_nominator_stake: int
    nomination_tax: int
    current_total_stake: int
    current_epoch_rewards: int
    """Only in old layouts, and of no meaning there: it stays zero."""
    current_total_shares: int
    partial_status: Status
    deposits_in_epoch: int
    withdrawals_in_epoch: int
    total_storage_fee_deposit: int


class Summary(NamedTuple):
    current_epoch_index: int
    current_total_stake: int
    current_operators: dict[int, int]
    next_operators: frozenset[int]
    current_epoch_rewards: dict[int, int]


class KnownDeposit(NamedTuple):
    shares: int
    storage_fee_deposit: int


class PendingDeposit(NamedTuple):
    effective_domain_epoch: DomainEpoch
    amount: int
    storage_fee_deposit: int


class Deposit(NamedTuple):
    known: KnownDeposit
    pending: PendingDeposit | None

    def packed(self) -> bytes:
        """The deposit as bytes, which take a fifth of the memory."""
        numbers: tuple[int, ...] = self.known
        if self.pending is not None:
            domain_epoch, amount, fee = self.pending
            numbers = (*numbers, *domain_epoch, amount, fee)
        return b"".join([number.to_bytes(_PACKED, "little") for number in numbers])

    @classmethod
    def unpacked(cls, raw: bytes) -> Self:
        numbers = [
            int.from_bytes(raw[at : at + _PACKED], "little") for at in range(0, len(raw), _PACKED)
        ]
        shares, known_fee, *rest = numbers
        pending = None
        if rest:
            domain, epoch, amount, fee = rest
            pending = PendingDeposit((domain, epoch), amount, fee)
        return cls(KnownDeposit(shares, known_fee), pending)


class WithdrawalInBalance(NamedTuple):
    unlock_at_confirmed_domain_block_number: int
    amount_to_unlock: int
    storage_fee_refund: int


class WithdrawalInShares(NamedTuple):
    domain_epoch: DomainEpoch
    unlock_at_confirmed_domain_block_number: int
    shares: int
    storage_fee_refund: int


class Withdrawal(NamedTuple):
    total_withdrawal_amount: int
    total_storage_fee_withdrawal: int
    withdrawals: tuple[WithdrawalInBalance, ...]
    withdrawal_in_shares: WithdrawalInShares | None


class RuntimeVersion(NamedTuple):
    spec_version: int
    spec_name: str


REGISTERED = Status("Registered")
PENDING_SLASH = Status("PendingSlash")
