"""Runtimes: what each spec version's metadata says of the storage that is read."""

import json
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from tempfile import NamedTemporaryFile
from threading import Lock
from typing import Any, Self

from scalecodec.base import (
    RemainingScaleBytesNotEmptyException,
    RuntimeConfigurationObject,
    ScaleBytes,
)
from scalecodec.type_registry import load_type_registry_preset

from operator_prices.chain.errors import (
    NotASubstrateNodeError,
    RefusedError,
)
from operator_prices.chain.substrate.layout import Layout, compile_layout, from_json, to_json

UNREADABLE = (
    RemainingScaleBytesNotEmptyException,
    NotImplementedError,
    AttributeError,
    LookupError,
    TypeError,
    ValueError,
)
"""What `scalecodec` raises for bytes that are not a value of the type."""

CACHE_FORMAT = 3
"""Grows when what is kept on disk changes its shape."""

READ: Mapping[str, tuple[str, ...]] = {
    "System": ("Number", "ParentHash", "LastRuntimeUpgrade"),
    "Timestamp": ("Now",),
    "Domains": (
        "DomainStakingSummary",
        "Operators",
        "OperatorIdOwner",
        "NextOperatorId",
        "OperatorEpochSharePrice",
        "HeadDomainNumber",
        "ConsensusBlockHash",
        "AccumulatedTreasuryFunds",
        "DomainChainRewards",
        "Deposits",
        "Withdrawals",
        "DepositOnHold",
    ),
}
"""The storage items that are read, by pallet."""


@dataclass(frozen=True, slots=True)
class Item:
    """A storage item: the layout of its value, and the value that stands for an absent one."""

    layout: Layout
    default: str | None


@dataclass(frozen=True)
class Runtime:
    """What one spec version says of the storage that is read."""

    spec_version: int
    items: Mapping[str, Item]
    confirmation_depth: int
    stake_epoch_duration: int
    ss58_prefix: int | None
    metadata: bytes = field(repr=False)

    @classmethod
    def compile(cls, spec_version: int, metadata: bytes) -> Self:
        """Read `metadata` (SCALE, as `state_getMetadata` answers it)."""
        versioned = _parse(metadata)[1]
        registry = versioned.portable_registry["types"]
        types = {number: entry.value["type"] for number, entry in enumerate(registry)}
        pallets = {pallet.value["name"]: pallet for pallet in versioned.pallets}
        items = {}
        for name, wanted in READ.items():
            if name not in pallets:
                raise NotASubstrateNodeError(
                    f"The runtime {spec_version} has no pallet {name}: set ARCHIVE_NODE_URL to a"
                    " node of an Autonomys consensus chain."
                )
            for storage in pallets[name].storage or ():
                if storage.value["name"] in wanted:
                    items[storage.value["name"]] = _item(types, storage)
        return cls(
            spec_version=spec_version,
            items=items,
            confirmation_depth=_constant(pallets["Domains"], "ConfirmationDepthK"),
            stake_epoch_duration=_constant(pallets["Domains"], "StakeEpochDuration"),
            ss58_prefix=_constant(pallets["System"], "SS58Prefix", optional=True),
            metadata=metadata,
        )

    def to_json(self) -> dict[str, Any]:
        return {
            "spec_version": self.spec_version,
            "items": {
                name: {"layout": to_json(item.layout), "default": item.default}
                for name, item in self.items.items()
            },
            "confirmation_depth": self.confirmation_depth,
            "stake_epoch_duration": self.stake_epoch_duration,
            "ss58_prefix": self.ss58_prefix,
        }

    @classmethod
    def from_json(cls, form: Mapping[str, Any], metadata: bytes) -> Self:
        items = {
            name: Item(from_json(item["layout"]), item["default"])
            for name, item in form["items"].items()
        }
        return cls(**{**form, "items": items}, metadata=metadata)

    def decode_slowly(self, item: str, raw: bytes) -> Any:  # noqa: ANN401
        """One value through `scalecodec`, whatever its type; it must be consumed to the end.

        Raises what `scalecodec` raises, or `ValueError` when bytes are left over.
        """
        configuration, pallet_items = self._slow
        data = ScaleBytes(raw)
        value = configuration.create_scale_object(
            pallet_items[item].get_value_type_string(), data, metadata=None
        ).decode()
        left = data.get_remaining_length()
        if left:
            raise ValueError(f"{left} of {len(raw)} bytes are left over")
        return value

    @cached_property
    def _slow(self) -> tuple[Any, Mapping[str, Any]]:
        configuration, versioned = _parse(self.metadata)
        return configuration, {
            storage.value["name"]: storage
            for pallet in versioned.pallets
            if pallet.value["name"] in READ
            for storage in pallet.storage or ()
        }


class Runtimes:
    """Every runtime of one chain, fetched once and kept on disk by genesis hash and version."""

    def __init__(
        self,
        directory: Path,
        fetch: Callable[[int, str], bytes],
        known: dict[int, Runtime] | None = None,
        lock: AbstractContextManager[object] | None = None,
    ) -> None:
        self._directory = directory
        self._fetch = fetch
        self._known = {} if known is None else known
        self._lock = lock or Lock()

    def fetched_by(self, fetch: Callable[[int, str], bytes]) -> "Runtimes":
        """The same runtimes for another thread, which asks for itself for what is not known yet."""
        return Runtimes(self._directory, fetch, self._known, self._lock)

    def get(self, spec_version: int, block_hash: str) -> Runtime:
        """The runtime `spec_version`; `block_hash` names a block that it executed."""
        with self._lock:
            if spec_version not in self._known:
                self._known[spec_version] = self._from_disk(spec_version) or self._from_node(
                    spec_version, block_hash
                )
            return self._known[spec_version]

    def known(self, spec_version: int) -> Runtime:
        """A runtime that `get` has seen before."""
        return self._known[spec_version]

    def _from_disk(self, spec_version: int) -> Runtime | None:
        path = self._directory / f"{spec_version}.scale"
        try:
            metadata, form = path.read_bytes(), json.loads(path.with_suffix(".json").read_bytes())
            if form["mark"] == _mark(metadata, form["runtime"]):
                return Runtime.from_json(form["runtime"], metadata)
        except (FileNotFoundError, LookupError, TypeError, ValueError):
            pass  # a power failure may have cut a file short
        return None

    def _from_node(self, spec_version: int, block_hash: str) -> Runtime:
        try:
            runtime = Runtime.compile(spec_version, self._fetch(spec_version, block_hash))
        except UNREADABLE as error:
            raise NotASubstrateNodeError(
                f"The metadata of spec version {spec_version} cannot be read"
                f" ({type(error).__name__}: {error}): set ARCHIVE_NODE_URL to another node."
            ) from error
        return self._keep(runtime)

    def _keep(self, runtime: Runtime) -> Runtime:
        self._directory.mkdir(parents=True, exist_ok=True)
        layouts = runtime.to_json()
        form = json.dumps({"mark": _mark(runtime.metadata, layouts), "runtime": layouts})
        name = str(runtime.spec_version)
        _replace(self._directory / f"{name}.scale", runtime.metadata)
        _replace(self._directory / f"{name}.json", form.encode())
        return runtime


def _mark(metadata: bytes, layouts: Mapping[str, Any]) -> dict[str, object]:
    """What must agree for layouts on disk to be those of the metadata beside them, unchanged."""
    return {
        "format": CACHE_FORMAT,
        "metadata": sha256(metadata).hexdigest(),
        "layouts": sha256(json.dumps(layouts).encode()).hexdigest(),
    }


def _replace(path: Path, content: bytes) -> None:
    """Write whole or not at all: several runs share the folder."""
    with NamedTemporaryFile(dir=path.parent, delete=False) as temporary:
        temporary.write(content)
    Path(temporary.name).replace(path)


def _parse(metadata: bytes) -> tuple[Any, Any]:
    configuration = RuntimeConfigurationObject()
    configuration.clear_type_registry()
    configuration.update_type_registry(load_type_registry_preset("core"))
    versioned = configuration.create_scale_object("MetadataVersioned", ScaleBytes(metadata))
    versioned.decode()
    configuration.add_portable_registry(versioned)
    return configuration, versioned


def _item(types: Mapping[int, Mapping[str, Any]], storage: Any) -> Item:  # noqa: ANN401
    name, kind = storage.value["name"], storage.value["type"]
    if "Map" in kind:
        if set(kind["Map"]["hashers"]) != {"Identity"}:
            raise RefusedError(
                f"This runtime hashes the keys of {name} by"
                f" {', '.join(kind['Map']['hashers'])} and no longer by Identity: this version of"
                " operator-prices cannot read it, use a newer one."
            )
        value = kind["Map"]["value"]
    else:
        value = kind["Plain"]
    default = bytes(storage.value_object["default"].value_object)
    absent = f"0x{default.hex()}" if storage.value["modifier"] == "Default" else None
    return Item(compile_layout(types, value), absent)


def _constant(pallet: Any, name: str, *, optional: bool = False) -> Any:  # noqa: ANN401
    for constant in pallet.constants:
        if constant.value["name"] == name:
            return int.from_bytes(constant.constant_value, "little")
    if optional:
        return None
    raise NotASubstrateNodeError(
        f"The runtime has no constant {pallet.value['name']}.{name}: set ARCHIVE_NODE_URL to a node"
        " of an Autonomys consensus chain."
    )
