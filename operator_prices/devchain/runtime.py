"""The runtimes of a chain: their version, the metadata they answer, and how they encode."""

from dataclasses import dataclass
from functools import cached_property

from operator_prices.devchain.encoding import Codec, Entry, strip_length
from operator_prices.devchain.metadata import SPEC_NAME, own_metadata
from operator_prices.devchain.scenario import Layout, Scenario
from operator_prices.devchain.staking import EPOCH_DURATION

ITEMS = {
    "System": ("Number", "ParentHash", "BlockHash", "LastRuntimeUpgrade"),
    "Timestamp": ("Now",),
    "Domains": (
        "SuccessfulBundles",
        "OperatorIdOwner",
        "DomainStakingSummary",
        "Operators",
        "OperatorEpochSharePrice",
        "Deposits",
        "Withdrawals",
        "DepositOnHold",
        "PendingSlashes",
        "DeregisteredOperators",
        "InvalidBundleAuthors",
        "NextOperatorId",
        "HeadDomainNumber",
        "ConsensusBlockHash",
        "AccumulatedTreasuryFunds",
        "DomainChainRewards",
    ),
}
"""The storage that the chain keeps, by pallet."""


@dataclass(frozen=True)
class Runtime:
    spec_name: str
    spec_version: int
    metadata: bytes
    codec: Codec

    @cached_property
    def entries(self) -> dict[bytes, tuple[str, Entry]]:
        """The items of this runtime's metadata that the chain keeps, by their storage prefix."""
        found = {}
        for pallet, items in ITEMS.items():
            for item in items:
                entry = self.codec.entry(pallet, item)
                if entry is not None:
                    found[entry.prefix] = (item, entry)
        return found

    @cached_property
    def statuses(self) -> frozenset[str]:
        return self.codec.variants("Domains", "Operators", "partial_status")

    @cached_property
    def price_unit(self) -> int:
        entry = self.codec.entry("Domains", "OperatorEpochSharePrice")
        if entry is None:
            raise KeyError("the metadata has no Domains.OperatorEpochSharePrice")
        return 10**9 if entry.value_path.endswith("Perbill") else 10**18

    @cached_property
    def locking(self) -> int:
        """Domain blocks for which what is withdrawn stays locked."""
        return self.codec.whole_constant("Domains", "StakeWithdrawalLockingPeriod")

    @property
    def holds(self) -> bool:
        """Whether the runtime keeps what is on hold for each deposit."""
        return self.codec.entry("Domains", "DepositOnHold") is not None


def runtimes(scenario: Scenario) -> list[Runtime]:
    """The first runtime and those that the scenario's upgrades bring, in their order."""
    if scenario.metadata is not None:
        metadata = strip_length(scenario.metadata.read_bytes())
        codec = Codec(metadata)
        version = codec.constant("System", "Version")
        if not isinstance(version, dict):
            raise ValueError(f"{scenario.metadata} has no runtime version in System.Version")
        return [Runtime(version["spec_name"], version["spec_version"], metadata, codec)]
    layouts: list[Layout] = [scenario.layout, *(upgrade.layout for upgrade in scenario.upgrades)]
    locking = scenario.locking_epochs * EPOCH_DURATION
    return [_own_runtime(layout, number, locking) for number, layout in enumerate(layouts, start=1)]


def _own_runtime(layout: Layout, spec_version: int, locking: int) -> Runtime:
    metadata = own_metadata(layout, spec_version, locking)
    return Runtime(SPEC_NAME, spec_version, metadata, Codec(metadata))
