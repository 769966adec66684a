"""Layouts: how the bytes of a storage value are laid out, compiled from a runtime's metadata."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Unsigned:
    """A little-endian unsigned integer of `size` bytes."""

    size: int


@dataclass(frozen=True, slots=True)
class Octets:
    """An array of `size` bytes."""

    size: int


@dataclass(frozen=True, slots=True)
class Struct:
    """Named fields, one after the other."""

    fields: tuple[tuple[str, "Layout"], ...]


@dataclass(frozen=True, slots=True)
class Enum:
    """One byte that names the variant, then the variant's fields."""

    variants: tuple[tuple[int, str, "Layout"], ...]


@dataclass(frozen=True, slots=True)
class Sequence:
    """A compact length, then as many entries: a `Vec`, `BTreeSet` or `BTreeMap`."""

    entry: "Layout"


@dataclass(frozen=True, slots=True)
class Opaque:
    """A type that the fast path does not follow; `scalecodec` has to."""

    name: str


Layout = Unsigned | Octets | Struct | Enum | Sequence | Opaque

NONE, SOME = "None", "Some"
"""The variants of an `Option`."""

_PRIMITIVES = {
    "u8": Unsigned(1),
    "u16": Unsigned(2),
    "u32": Unsigned(4),
    "u64": Unsigned(8),
    "u128": Unsigned(16),
    "bool": Unsigned(1),
}


def compile_layout(  # noqa: PLR0911 - one return for each kind of type
    types: Mapping[int, Mapping[str, Any]], type_id: int
) -> Layout:
    """Compile the type `type_id` of a portable registry: id -> `type` as `scalecodec` gives it."""
    definition = types[type_id]["def"]
    match definition:
        case {"primitive": name}:
            return _PRIMITIVES.get(name, Opaque(name))
        case {"composite": {"fields": fields}}:
            return _struct(types, fields)
        case {"tuple": members}:
            return _struct(types, [{"name": None, "type": member} for member in members])
        case {"array": {"len": size, "type": entry}}:
            inner = compile_layout(types, entry)
            if inner == Unsigned(1):
                return Octets(size)
            return Struct(tuple((str(i), inner) for i in range(size)))
        case {"sequence": {"type": entry}}:
            return Sequence(compile_layout(types, entry))
        case {"variant": {"variants": variants}}:
            return Enum(
                tuple(
                    (variant["index"], variant["name"], _struct(types, variant["fields"]))
                    for variant in variants
                )
            )
    return Opaque(next(iter(definition)))


def _struct(types: Mapping[int, Mapping[str, Any]], fields: list[dict[str, Any]]) -> Layout:
    """A newtype is laid out like what it wraps."""
    members = tuple(
        (field["name"] or str(position), compile_layout(types, field["type"]))
        for position, field in enumerate(fields)
    )
    if len(members) == 1 and fields[0]["name"] is None:
        return members[0][1]
    return Struct(members)


def fixed_size(layout: Layout) -> int | None:
    """The bytes a value takes, or None where that depends on the value.

    >>> fixed_size(Struct((("domain", Unsigned(4)), ("epoch", Unsigned(4)))))
    8
    """
    match layout:
        case Unsigned(size) | Octets(size):
            return size
        case Struct(fields):
            sizes = [fixed_size(member) for _, member in fields]
            known = [size for size in sizes if size is not None]
            return sum(known) if len(known) == len(sizes) else None
    return None


def optional(layout: Enum) -> Layout | None:
    """What an `Option` may hold; None for any other enum."""
    bodies = {name: body for _, name, body in layout.variants}
    return bodies[SOME] if bodies.keys() == {NONE, SOME} and bodies[NONE] == Struct(()) else None


def names(layout: Layout, of: str = "") -> set[str]:
    """What the fields of a value are called when it is decoded, those inside of others included.

    >>> sorted(names(Struct((("known", Struct((("shares", Unsigned(16)),))),))))
    ['known', 'known.shares']
    """
    if isinstance(layout, Enum):
        body = optional(layout)
        return names(body, of) if body is not None else set()
    if not isinstance(layout, Struct):
        return set()
    found = set()
    for name, member in layout.fields:
        field = f"{of}.{name}" if of else name
        found |= {field} | names(member, field)
    return found


def to_json(layout: Layout) -> dict[str, Any]:
    """A form that survives JSON, for the cache on disk; `from_json` reads it."""
    match layout:
        case Unsigned(size):
            return {"unsigned": size}
        case Octets(size):
            return {"octets": size}
        case Struct(fields):
            return {"struct": [[name, to_json(member)] for name, member in fields]}
        case Enum(variants):
            return {"enum": [[index, name, to_json(body)] for index, name, body in variants]}
        case Sequence(entry):
            return {"sequence": to_json(entry)}
        case Opaque(name):
            return {"opaque": name}


def from_json(form: Mapping[str, Any]) -> Layout:
    """The layout whose `to_json` is `form`."""
    match dict(form):
        case {"unsigned": size}:
            return Unsigned(size)
        case {"octets": size}:
            return Octets(size)
        case {"struct": fields}:
            return Struct(tuple((name, from_json(member)) for name, member in fields))
        case {"enum": variants}:
            return Enum(tuple((index, name, from_json(body)) for index, name, body in variants))
        case {"sequence": entry}:
            return Sequence(from_json(entry))
        case {"opaque": name}:
            return Opaque(name)
    raise ValueError(f"{form!r} is no layout")
