"""Metadata of our own in version 14: the pallets, storage and types that a reader needs."""

from typing import Any

from scalecodec.base import RuntimeConfigurationObject
from scalecodec.type_registry import load_type_registry_preset

from operator_prices.devchain.scenario import Layout
from operator_prices.devchain.staking import (
    EPOCH_DURATION,
    MIN_OPERATOR_STAKE,
    WITHDRAWAL_LIMIT,
)

SPEC_NAME = "subspace"
SS58_PREFIX = 6094
LOCKING = 14_400
"""Domain blocks for which a withdrawal is locked on the real network."""
_STATUSES = {Layout.PERBILL_REWARDS: 4, Layout.PERBILL: 5, Layout.PERQUINTILL: 6}
APIS = (
    ("0xdf6acb689907609b", 5),
    ("0x37e397fc7c91f5e4", 1),
    ("0x40fe3ad401f8959a", 6),
    ("0xbc9d89904f5b923f", 1),
    ("0x37c8bb1350a9a2a8", 4),
)
"""Runtime interfaces and their versions. `Metadata` is at 1, which has no other call."""


class _Types:
    """A portable registry that grows as types are named; the same type gets the same number."""

    def __init__(self) -> None:
        self.types: list[dict[str, Any]] = []

    def add(
        self,
        kind: str,
        definition: object,
        path: str = "",
        params: dict[str, int] | None = None,
    ) -> int:
        info = {
            "path": path.split("::") if path else [],
            "params": [{"name": name, "type": one} for name, one in (params or {}).items()],
            "def": {kind: definition},
            "docs": [],
        }
        for known in self.types:
            if known["type"] == info:
                return int(known["id"])
        self.types.append({"id": len(self.types), "type": info})
        return len(self.types) - 1

    def primitive(self, name: str) -> int:
        return self.add("primitive", name)

    def array(self, length: int) -> int:
        return self.add("array", {"len": length, "type": self.primitive("u8")})

    def vector(self, of: int) -> int:
        return self.add("sequence", {"type": of})

    def tupled(self, *of: int) -> int:
        return self.add("tuple", list(of))

    def compact(self, of: int) -> int:
        return self.add("compact", {"type": of})

    def struct(self, path: str, params: dict[str, int] | None = None, **fields: int) -> int:
        named = [_field(name, one) for name, one in fields.items()]
        return self.add("composite", {"fields": named}, path, params)

    def wrap(self, path: str, *of: int, params: dict[str, int] | None = None) -> int:
        return self.add("composite", {"fields": [_field(None, one) for one in of]}, path, params)

    def enum(
        self,
        path: str,
        variants: dict[str, tuple[int, list[int]]],
        params: dict[str, int] | None = None,
    ) -> int:
        listed = [
            {
                "name": name,
                "index": index,
                "fields": [_field(None, one) for one in fields],
                "docs": [],
            }
            for name, (index, fields) in variants.items()
        ]
        return self.add("variant", {"variants": listed}, path, params)

    def option(self, of: int) -> int:
        return self.enum("Option", {"None": (0, []), "Some": (1, [of])}, {"T": of})

    def ordered_map(self, key: int, value: int) -> int:
        entries = self.vector(self.tupled(key, value))
        return self.wrap("BTreeMap", entries, params={"K": key, "V": value})

    def ordered_set(self, of: int) -> int:
        return self.wrap("BTreeSet", self.vector(of), params={"T": of})


def _field(name: str | None, type_id: int) -> dict[str, object]:
    return {"name": name, "type": type_id, "typeName": None, "docs": []}


def _plain(name: str, value: int, default: bytes | None) -> dict[str, object]:
    return _item(name, {"Plain": value}, default)


def _map(name: str, hashers: str, key: int, value: int, default: bytes | None) -> dict[str, object]:
    shape = {"hashers": hashers.split(), "key": key, "value": value}
    return _item(name, {"Map": shape}, default)


def _item(name: str, kind: dict[str, object], default: bytes | None) -> dict[str, object]:
    """A storage item, optional when it has no default."""
    return {
        "name": name,
        "modifier": "Optional" if default is None else "Default",
        "type": kind,
        "default": "0x" + (default if default is not None else b"\0").hex(),
        "documentation": [],
    }


def _constant(name: str, type_id: int, value: bytes) -> dict[str, object]:
    return {"name": name, "type": type_id, "value": "0x" + value.hex(), "documentation": []}


def _pallet(
    name: str, index: int, storage: list[dict[str, object]], constants: list[dict[str, object]]
) -> dict[str, object]:
    return {
        "name": name,
        "storage": {"prefix": name, "entries": storage},
        "calls": None,
        "event": None,
        "constants": constants,
        "error": None,
        "index": index,
    }


def own_metadata(layout: Layout, spec_version: int, locking: int = LOCKING) -> bytes:
    """What `state_getMetadata` answers for a runtime of this layout."""
    types = _Types()
    pallets = [
        _pallet("System", 0, _system_storage(types), _system_constants(types, spec_version)),
        _pallet(
            "Timestamp",
            1,
            [_plain("Now", types.primitive("u64"), bytes(8))],
            [_constant("MinimumPeriod", types.primitive("u64"), (500).to_bytes(8, "little"))],
        ),
        _pallet(
            "Domains",
            12,
            _domains_storage(types, layout),
            _domains_constants(types, locking),
        ),
    ]
    content = {
        "types": {"types": types.types},
        "pallets": pallets,
        "extrinsic": _extrinsic(types),
        "runtime_type": types.wrap("subspace_runtime::Runtime"),
    }
    config = RuntimeConfigurationObject()
    config.update_type_registry(load_type_registry_preset("core"))
    scale = config.create_scale_object("MetadataVersioned")
    return bytes(scale.encode(("0x6d657461", {"V14": content})).data)


def _domains_constants(types: _Types, locking: int) -> list[dict[str, object]]:
    u32, u128 = types.primitive("u32"), types.primitive("u128")
    numbers = {
        "StakeEpochDuration": EPOCH_DURATION,
        "ConfirmationDepthK": 100,
        "StakeWithdrawalLockingPeriod": locking,
        "WithdrawalLimit": WITHDRAWAL_LIMIT,
    }
    return [
        *(_constant(name, u32, one.to_bytes(4, "little")) for name, one in numbers.items()),
        _constant("MinOperatorStake", u128, MIN_OPERATOR_STAKE.to_bytes(16, "little")),
    ]


def _system_storage(types: _Types) -> list[dict[str, object]]:
    u32, h256 = types.primitive("u32"), _h256(types)
    cow = types.wrap("Cow", types.primitive("str"), params={"T": types.primitive("str")})
    upgrade = types.struct(
        "frame_system::LastRuntimeUpgradeInfo", spec_version=types.compact(u32), spec_name=cow
    )
    log = [types.array(4), types.vector(types.primitive("u8"))]
    item = types.enum(
        "sp_runtime::generic::digest::DigestItem",
        {
            "PreRuntime": (6, log),
            "Consensus": (4, log),
            "Seal": (5, log),
            "Other": (0, log[1:]),
            "RuntimeEnvironmentUpdated": (8, []),
        },
    )
    digest = types.struct("sp_runtime::generic::digest::Digest", logs=types.vector(item))
    return [
        _map("BlockHash", "Twox64Concat", u32, h256, bytes(32)),
        _plain("Number", u32, bytes(4)),
        _plain("ParentHash", h256, bytes(32)),
        _plain("Digest", digest, b"\0"),
        _plain("LastRuntimeUpgrade", upgrade, None),
    ]


def _system_constants(types: _Types, spec_version: int) -> list[dict[str, object]]:
    u32, text = types.primitive("u32"), types.primitive("str")
    apis = types.vector(types.tupled(types.array(8), u32))
    version = types.struct(
        "sp_version::RuntimeVersion",
        spec_name=text,
        impl_name=text,
        authoring_version=u32,
        spec_version=u32,
        impl_version=u32,
        apis=types.wrap("Cow", apis, params={"T": apis}),
        transaction_version=u32,
        system_version=types.primitive("u8"),
    )
    name = bytes([len(SPEC_NAME) << 2]) + SPEC_NAME.encode()
    encoded = b"".join(
        [
            name,
            name,
            bytes(4),
            spec_version.to_bytes(4, "little"),
            bytes(4),
            bytes([len(APIS) << 2]),
            *(bytes.fromhex(api[2:]) + number.to_bytes(4, "little") for api, number in APIS),
            (1).to_bytes(4, "little"),
            b"\1",
        ]
    )
    return [
        _constant("BlockHashCount", u32, (250).to_bytes(4, "little")),
        _constant("Version", version, encoded),
        _constant("SS58Prefix", types.primitive("u16"), SS58_PREFIX.to_bytes(2, "little")),
    ]


def _h256(types: _Types) -> int:
    return types.wrap("primitive_types::H256", types.array(32))


def _domains_storage(types: _Types, layout: Layout) -> list[dict[str, object]]:
    u8, u32, u64, u128 = map(types.primitive, ("u8", "u32", "u64", "u128"))
    h256, account = _h256(types), types.wrap("sp_core::crypto::AccountId32", types.array(32))
    domain = types.wrap("sp_domains::DomainId", u32)
    ids, amounts = types.ordered_set(u64), types.ordered_map(u64, u128)
    epoch = types.wrap("pallet_domains::staking::DomainEpoch", domain, u32)
    summary = types.struct(
        "pallet_domains::staking::StakingSummary",
        {"OperatorId": u64, "Balance": u128},
        current_epoch_index=u32,
        current_total_stake=u128,
        current_operators=amounts,
        next_operators=ids,
        current_epoch_rewards=amounts,
    )
    percent = types.wrap("sp_arithmetic::per_things::Percent", u8)
    rewards = {"current_epoch_rewards": u128} if layout is Layout.PERBILL_REWARDS else {}
    operator = types.struct(
        "pallet_domains::staking::Operator",
        {"Balance": u128, "Share": u128},
        signing_key=types.wrap("sp_domains::app::Public", types.array(32)),
        current_domain_id=domain,
        next_domain_id=domain,
        minimum_nominator_stake=u128,
        nomination_tax=percent,
        current_total_stake=u128,
        **rewards,
        current_total_shares=u128,
        partial_status=_status(types, layout, epoch, h256),
        deposits_in_epoch=u128,
        withdrawals_in_epoch=u128,
        total_storage_fee_deposit=u128,
    )
    part = ("Perquintill", u64) if layout is Layout.PERQUINTILL else ("Perbill", u32)
    per_thing = types.wrap(f"sp_arithmetic::per_things::{part[0]}", part[1])
    price = types.wrap("pallet_domains::staking::SharePrice", per_thing)
    deposit, withdrawal = _deposit(types, epoch), _withdrawal(types, layout, epoch)
    staker = types.tupled(u64, account)
    on_hold = [] if layout is Layout.PERBILL_REWARDS else ["DepositOnHold"]
    return [
        _map("SuccessfulBundles", "Identity", domain, types.vector(h256), b"\0"),
        _map("OperatorIdOwner", "Identity", u64, account, None),
        _map("DomainStakingSummary", "Identity", domain, summary, None),
        _map("Operators", "Identity", u64, operator, None),
        _map("OperatorEpochSharePrice", "Identity Identity", types.tupled(u64, epoch), price, None),
        _map("Deposits", "Identity Identity", staker, deposit, None),
        _map("Withdrawals", "Identity Identity", staker, withdrawal, None),
        *(_map(name, "Identity", staker, u128, bytes(16)) for name in on_hold),
        _map("PendingSlashes", "Identity", domain, ids, None),
        _map("DeregisteredOperators", "Identity", domain, ids, b"\0"),
        _map("InvalidBundleAuthors", "Identity", domain, ids, b"\0"),
        _plain("NextOperatorId", u64, bytes(8)),
        _map("HeadDomainNumber", "Identity", domain, u32, bytes(4)),
        _map("ConsensusBlockHash", "Identity Identity", types.tupled(domain, u32), h256, None),
        _plain("AccumulatedTreasuryFunds", u128, bytes(16)),
        _map("DomainChainRewards", "Identity", domain, u128, bytes(16)),
    ]


def _status(types: _Types, layout: Layout, epoch: int, h256: int) -> int:
    u32 = types.primitive("u32")
    deregistered = types.struct(
        "pallet_domains::staking::OperatorDeregisteredInfo",
        domain_epoch=epoch,
        unlock_at_confirmed_domain_block_number=u32,
    )
    variants: dict[str, tuple[int, list[int]]] = {
        "Registered": (0, []),
        "Deregistered": (1, [deregistered]),
        "Slashed": (2, []),
        "PendingSlash": (3, []),
        "InvalidBundle": (4, [h256]),
        "Deactivated": (5, [u32]),
    }
    known = dict(list(variants.items())[: _STATUSES[layout]])
    return types.enum("pallet_domains::staking::OperatorStatus", known)


def _deposit(types: _Types, epoch: int) -> int:
    u128 = types.primitive("u128")
    known = types.struct(
        "pallet_domains::staking::KnownDeposit", shares=u128, storage_fee_deposit=u128
    )
    pending = types.struct(
        "pallet_domains::staking::PendingDeposit",
        effective_domain_epoch=epoch,
        amount=u128,
        storage_fee_deposit=u128,
    )
    return types.struct(
        "pallet_domains::staking::Deposit", known=known, pending=types.option(pending)
    )


def _withdrawal(types: _Types, layout: Layout, epoch: int) -> int:
    u32, u128 = types.primitive("u32"), types.primitive("u128")
    balance = types.struct(
        "pallet_domains::staking::WithdrawalInBalance",
        unlock_at_confirmed_domain_block_number=u32,
        amount_to_unlock=u128,
        storage_fee_refund=u128,
    )
    shares = types.struct(
        "pallet_domains::staking::WithdrawalInShares",
        domain_epoch=epoch,
        unlock_at_confirmed_domain_block_number=u32,
        shares=u128,
        storage_fee_refund=u128,
    )
    fields = {
        "total_withdrawal_amount": u128,
        "total_storage_fee_withdrawal": u128,
        "withdrawals": types.vector(balance),
        "withdrawal_in_shares": types.option(shares),
    }
    if layout is Layout.PERBILL_REWARDS:
        del fields["total_storage_fee_withdrawal"]
    return types.struct("pallet_domains::staking::Withdrawal", None, **fields)


def _extrinsic(types: _Types) -> dict[str, object]:
    """An extrinsic that nobody can send: there are no calls."""
    account = types.wrap("sp_core::crypto::AccountId32", types.array(32))
    params = {
        "Address": types.enum(
            "sp_runtime::multiaddress::MultiAddress", {"Id": (0, [account])}, {"AccountId": account}
        ),
        "Call": types.enum("subspace_runtime::RuntimeCall", {}),
        "Signature": types.enum("sp_runtime::MultiSignature", {"Sr25519": (1, [types.array(64)])}),
        "Extra": types.tupled(),
    }
    path = "sp_runtime::generic::unchecked_extrinsic::UncheckedExtrinsic"
    data = types.vector(types.primitive("u8"))
    extrinsic = types.wrap(path, data, params=params)
    return {"ty": extrinsic, "version": 4, "signed_extensions": []}
