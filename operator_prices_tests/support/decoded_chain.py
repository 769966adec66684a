"""The staking of the development chain as `scalecodec` alone decodes it, no truth asked."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

from scalecodec.base import RuntimeConfigurationObject, ScaleBytes
from scalecodec.type_registry import load_type_registry_preset

from operator_prices.devchain.chain import DevChain
from operator_prices.devchain.runtime import Runtime
from operator_prices.devchain.state import State
from operator_prices.devchain.truth import EpochTruth

ONE = 10**18
Holder = tuple[int, bytes]
"""An operator and an account."""


@dataclass(frozen=True)
class Decoded:
    """The staking of all domains at one block."""

    summary: dict[str, Any]
    operators: dict[int, dict[str, Any]]
    prices: dict[tuple[int, int], int]
    """By operator and epoch, in the unit of the runtime."""
    deposits: dict[Holder, dict[str, Any]]
    withdrawals: dict[Holder, dict[str, Any]]
    on_hold: dict[Holder, int]


@dataclass(frozen=True)
class Played:
    """A chain, and how to read its blocks."""

    chain: DevChain
    read: Callable[[int], Decoded]

    def ends(self) -> Iterator[tuple[EpochTruth, Decoded, Decoded]]:
        """Each epoch with its end block and its transition block."""
        for truth in self.chain.truth():
            yield truth, self.read(truth.end_block), self.read(truth.transition_block)


class _Decoder:
    """Decodes the storage items of one runtime."""

    def __init__(self, runtime: Runtime) -> None:
        self._config = RuntimeConfigurationObject()
        self._config.update_type_registry(load_type_registry_preset("core"))
        decoded = self._config.create_scale_object(
            "MetadataVersioned", data=ScaleBytes(runtime.metadata)
        )
        decoded.decode()
        self._config.add_portable_registry(decoded)
        functions = decoded.get_metadata_pallet("Domains").storage
        self._kinds = {one.value["name"]: one.get_value_type_string() for one in functions}
        self._prefixes = {item: entry.prefix for item, entry in runtime.entries.values()}

    def items(self, state: State, item: str, block: int) -> Iterator[tuple[bytes, Any]]:
        """Every entry of an item, which may be missing: its key without the prefix, its value."""
        if item not in self._prefixes:
            return
        keys = state.keys(self._prefixes[item], 10**6, b"", block)
        for key, value in zip(keys, state.values(keys, block), strict=True):
            assert value is not None
            scale = self._config.create_scale_object(self._kinds[item], data=ScaleBytes(value))
            yield key[32:], scale.decode(check_remaining=True)


def played(chain: DevChain) -> Played:
    """Read the chain by listing all keys and decoding all values, each block once."""
    state, decoders = State(chain), [_Decoder(runtime) for runtime in chain.runtimes]

    @cache
    def read(block: int) -> Decoded:
        decoder = decoders[chain.executing_runtime(block)]

        def items(item: str) -> Iterator[tuple[bytes, Any]]:
            return decoder.items(state, item, block)

        def held(item: str) -> dict[Holder, Any]:
            return {(number(key[:8]), key[8:]): value for key, value in items(item)}

        ((_, summary),) = ((key, one) for key, one in items("DomainStakingSummary") if not any(key))
        return Decoded(
            summary,
            {number(key): value for key, value in items("Operators")},
            {
                (number(key[:8]), number(key[12:])): value
                for key, value in items("OperatorEpochSharePrice")
            },
            held("Deposits"),
            held("Withdrawals"),
            held("DepositOnHold"),
        )

    return Played(chain, read)


def number(raw: bytes) -> int:
    """A little-endian number."""
    return int.from_bytes(raw, "little")


def worth(shares: int, price: int) -> int:
    """What leaving shares bring: the price is rounded up by one part first."""
    return shares if price == ONE else shares * ONE // (price + 1)
