"""Values to SCALE and storage keys to values, by the types of the metadata that is served.

`scalecodec` reads the metadata and says what each leaf looks like; what lies above the leaves is
put together here, since it takes 100 microseconds for a struct.
"""

from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from operator import attrgetter, methodcaller
from typing import Any, Literal, TypedDict, cast

import xxhash
from scalecodec.base import RuntimeConfigurationObject, ScaleBytes
from scalecodec.type_registry import load_type_registry_preset

Encoder = Callable[[Any], bytes]
Hasher = Literal["Identity", "Twox64Concat", "Blake2_128Concat"]


class Field(TypedDict):
    name: str | None
    type: int


class Variant(TypedDict):
    name: str
    index: int
    fields: list[Field]


def twox128(text: str) -> bytes:
    data = text.encode()
    return b"".join(
        xxhash.xxh64(data, seed=seed).intdigest().to_bytes(8, "little") for seed in (0, 1)
    )


def strip_length(metadata: bytes) -> bytes:
    """Metadata without the compact length that `Metadata_metadata` puts before it."""
    start = metadata[:8].find(b"meta")
    if start < 0:
        raise ValueError("this is no metadata: no 'meta' within its first bytes")
    return metadata[start:]


@dataclass(frozen=True, slots=True)
class Entry:
    """A storage item: how to parse its keys and to encode its values."""

    prefix: bytes
    hashers: tuple[Hasher, ...]
    widths: tuple[int, ...]
    """Bytes of each part of the key."""
    whole: tuple[bool, ...]
    """Whether each part of the key is a number, or bytes."""
    groups: tuple[int, ...]
    """How many parts each hasher hashes."""
    encode: Encoder
    value_path: str

    def key(self, *parts: int | bytes) -> bytes:
        """The storage key, prefix included."""
        raw = [
            part.to_bytes(width, "little") if isinstance(part, int) else part
            for part, width in zip(parts, self.widths, strict=True)
        ]
        if all(hasher == "Identity" for hasher in self.hashers):
            return b"".join([self.prefix, *raw])
        pieces, at = [self.prefix], 0
        for hasher, size in zip(self.hashers, self.groups, strict=True):
            data = b"".join(raw[at : at + size])
            pieces += [_hash(hasher, data), data]
            at += size
        return b"".join(pieces)

    def parts(self, key: bytes) -> tuple[int | bytes, ...] | None:
        """What the key is of; `None` when it is no key of this item."""
        at, found, index = len(self.prefix), [], 0
        for hasher, size in zip(self.hashers, self.groups, strict=True):
            at += _HASH_LENGTHS[hasher]
            for _ in range(size):
                width = self.widths[index]
                raw = key[at : at + width]
                part = int.from_bytes(raw, "little") if self.whole[index] else raw
                found.append(part)
                at += width
                index += 1
        if at != len(key):
            return None
        parts = tuple(found)
        if any(map(_HASH_LENGTHS.__getitem__, self.hashers)) and self.key(*parts) != key:
            return None
        return parts


_HASH_LENGTHS: dict[Hasher, int] = {"Identity": 0, "Twox64Concat": 8, "Blake2_128Concat": 16}


def _hash(hasher: Hasher, data: bytes) -> bytes:
    if hasher == "Twox64Concat":
        return xxhash.xxh64(data, seed=0).intdigest().to_bytes(8, "little")
    if hasher == "Blake2_128Concat":
        return blake2b(data, digest_size=16).digest()
    return b""


class Codec:
    """The encoders of one metadata."""

    def __init__(self, metadata: bytes) -> None:
        self._config = RuntimeConfigurationObject()
        self._config.update_type_registry(load_type_registry_preset("core"))
        decoded = self._config.create_scale_object("MetadataVersioned", data=ScaleBytes(metadata))
        decoded.decode()
        self._config.add_portable_registry(decoded)
        versions = decoded.value[1]
        if "V14" not in versions:
            raise ValueError(f"metadata of version 14 is needed, not {', '.join(versions)}")
        content = versions["V14"]
        self._types = {one["id"]: one["type"] for one in content["types"]["types"]}
        self._pallets = {pallet["name"]: pallet for pallet in content["pallets"]}
        self._encoders: dict[int, Encoder] = {}

    def scale(self, type_id: int, value: object) -> bytes:
        """What `scalecodec` makes of the value, slowly."""
        scale = self._config.create_scale_object(f"scale_info::{type_id}")
        return bytes(scale.encode(value).data)

    def decode(self, type_id: int, encoded: bytes) -> object:
        """The value as `scalecodec` reads it, to the last byte."""
        scale = self._config.create_scale_object(f"scale_info::{type_id}", data=ScaleBytes(encoded))
        return cast("object", scale.decode(check_remaining=True))

    def constant(self, pallet: str, name: str) -> object:
        for constant in self._pallets[pallet]["constants"]:
            if constant["name"] == name:
                return self.decode(constant["type"], bytes.fromhex(constant["value"][2:]))
        raise KeyError(f"this metadata has no constant {pallet}.{name}")

    def whole_constant(self, pallet: str, name: str) -> int:
        """A constant that is a little-endian number, whose bytes may happen to be text."""
        for constant in self._pallets[pallet]["constants"]:
            if constant["name"] == name:
                value = constant["value"]
                text = not value.startswith("0x")
                return int.from_bytes(
                    value.encode() if text else bytes.fromhex(value[2:]), "little"
                )
        raise KeyError(f"this metadata has no constant {pallet}.{name}")

    def variants(self, pallet: str, item: str, field: str) -> frozenset[str]:
        """The names of the variants of an enum that is a field of an item's value."""
        for one in self._composite(self.value_type(pallet, item)):
            if one["name"] == field:
                variants = self._definition(one["type"])["variant"]["variants"]
                return frozenset(variant["name"] for variant in variants)
        raise KeyError(f"{pallet}.{item} has no field {field} in this metadata")

    def entry(self, pallet: str, item: str) -> Entry | None:
        """The storage item, or `None` when this metadata has no such item."""
        found = self._storage(pallet, item)
        if found is None:
            return None
        prefix = twox128(self._pallets[pallet]["storage"]["prefix"]) + twox128(item)
        value_type = self.value_type(pallet, item)
        encode, path = self.encoder(value_type), self._leaf_path(value_type)
        if "Plain" in found["type"]:
            return Entry(prefix, (), (), (), (), encode, path)
        layout = found["type"]["Map"]
        hashers = tuple(layout["hashers"])
        keys = [layout["key"]] if len(hashers) == 1 else self._definition(layout["key"])["tuple"]
        parts = [self._key_parts(key) for key in keys]
        flat = [part for group in parts for part in group]
        return Entry(
            prefix,
            hashers,
            tuple(width for width, _ in flat),
            tuple(whole for _, whole in flat),
            tuple(map(len, parts)),
            encode,
            path,
        )

    def value_type(self, pallet: str, item: str) -> int:
        found = self._storage(pallet, item)
        if found is None:
            raise KeyError(f"this metadata has no storage item {pallet}.{item}")
        kind = found["type"]
        return int(kind["Plain"] if "Plain" in kind else kind["Map"]["value"])

    def _storage(self, pallet: str, item: str) -> dict[str, Any] | None:
        storage = self._pallets.get(pallet, {}).get("storage") or {"entries": []}
        found = [entry for entry in storage["entries"] if entry["name"] == item]
        return found[0] if found else None

    def _definition(self, type_id: int) -> dict[str, Any]:
        return cast("dict[str, Any]", self._types[type_id]["def"])

    def _composite(self, type_id: int) -> list[Field]:
        return cast("list[Field]", self._definition(type_id)["composite"]["fields"])

    def _leaf_path(self, type_id: int) -> str:
        """The path of the innermost of newtypes: what a share price is counted in."""
        definition = self._definition(type_id)
        fields = definition.get("composite", {}).get("fields", [])
        if len(fields) == 1 and "primitive" not in self._definition(fields[0]["type"]):
            return self._leaf_path(fields[0]["type"])
        return "::".join(self._types[type_id]["path"])

    def _key_parts(self, type_id: int) -> list[tuple[int, bool]]:
        """Width of each leaf of a key, and whether it is a number."""
        definition = self._definition(type_id)
        if "primitive" in definition:
            return [(_width(definition["primitive"]), True)]
        if "array" in definition:
            return [(definition["array"]["len"], False)]
        if "composite" in definition:
            inner = [field["type"] for field in self._composite(type_id)]
        else:
            inner = definition["tuple"]
        return [part for one in inner for part in self._key_parts(one)]

    def encoder(self, type_id: int) -> Encoder:
        if type_id not in self._encoders:
            self._encoders[type_id] = self._compile(type_id)
        return self._encoders[type_id]

    def _compile(self, type_id: int) -> Encoder:
        definition = self._definition(type_id)
        encode: Encoder = lru_cache(maxsize=1 << 10)(lambda value: self.scale(type_id, value))
        match next(iter(definition)):
            case "primitive" if definition["primitive"].startswith("u"):
                encode = self._integer(type_id, _width(definition["primitive"]))
            case "array" if self._definition(definition["array"]["type"]) == {"primitive": "u8"}:
                encode = _fixed(definition["array"]["len"])
            case "composite":
                encode = self._struct(self._composite(type_id))
            case "tuple":
                encode = _tuple([self.encoder(one) for one in definition["tuple"]])
            case "sequence":
                encode = self._sequence(definition["sequence"]["type"])
            case "variant":
                encode = self._variant(definition["variant"]["variants"])
        return encode

    def _integer(self, type_id: int, width: int) -> Encoder:
        """A fixed-width number, for which `scalecodec` vouches at both ends."""
        encode = methodcaller("to_bytes", width, "little")
        for value in (0, 1, 256**width - 2):
            if encode(value) != self.scale(type_id, value):
                raise AssertionError(f"type {type_id} is no little-endian number of {width} bytes")
        return encode

    def _struct(self, fields: list[Field]) -> Encoder:
        encoders = [self.encoder(field["type"]) for field in fields]
        if len(fields) == 1 and fields[0]["name"] is None:
            return encoders[0]
        names = [field["name"] for field in fields if field["name"] is not None]
        if not names:
            return _tuple(encoders)
        if len(names) == 1:
            only = attrgetter(names[0])
            return lambda value: encoders[0](only(value))
        get, encode = attrgetter(*names), _tuple(encoders)
        return lambda value: encode(get(value))

    def _sequence(self, type_id: int) -> Encoder:
        """A vector, or a map or set, which is in the order of its keys."""
        encode = self.encoder(type_id)
        length = lru_cache(maxsize=1 << 10)(self._length)

        def sequence(value: object) -> bytes:
            items: Any = value
            if isinstance(value, Mapping):
                items = sorted(value.items())
            elif isinstance(value, AbstractSet):
                items = sorted(value)
            return length(len(items)) + b"".join(map(encode, items))

        return sequence

    def _length(self, length: int) -> bytes:
        return bytes(self._config.create_scale_object("Compact<u32>").encode(length).data)

    def _variant(self, variants: list[Variant]) -> Encoder:
        """An `Option` takes a value or `None`; another enum takes something named and detailed."""
        encoders = {
            variant["name"]: (
                bytes([variant["index"]]),
                self._struct(variant["fields"]) if variant["fields"] else None,
            )
            for variant in variants
        }
        if set(encoders) == {"None", "Some"}:
            some = encoders["Some"][1] or bytes
            return lambda value: b"\0" if value is None else b"\1" + some(value)

        def enum(value: object) -> bytes:
            name, detail = cast("tuple[str, object]", value)
            index, encode = encoders[name]
            return index + encode(detail) if encode else index

        return enum


def _width(primitive: str) -> int:
    return int(primitive[1:]) // 8


def _tuple(encoders: list[Encoder]) -> Encoder:
    def encode(value: object) -> bytes:
        parts = cast("tuple[object, ...]", value)
        return b"".join([one(part) for one, part in zip(encoders, parts, strict=True)])

    return encode


def _fixed(length: int) -> Encoder:
    def encode(value: bytes) -> bytes:
        if len(value) != length:
            raise ValueError(f"{length} bytes are needed, not {len(value)}")
        return value

    return encode
