"""Vectorised decoding against values laid out by hand, and against `scalecodec` itself."""

from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from operator_prices.chain.substrate import keys
from operator_prices.chain.substrate.decode import FITS, decode, entries, octets
from operator_prices.chain.substrate.layout import (
    Enum,
    Layout,
    Octets,
    Opaque,
    Sequence,
    Struct,
    Unsigned,
    fixed_size,
    from_json,
    to_json,
)
from operator_prices.chain.substrate.runtimes import Runtime
from operator_prices.chain.substrate.storage import spec_version
from operator_prices_tests.support.samples import METADATA, needs_metadata

STATUS = Enum(
    (
        (0, "Registered", Struct(())),
        (1, "Deregistered", Struct((("epoch", Unsigned(4)), ("unlock", Unsigned(4))))),
        (4, "InvalidBundle", Octets(32)),
        (5, "Strange", Opaque("compact")),
    )
)
OPERATOR = Struct(
    (
        ("signing_key", Octets(32)),
        ("tax", Unsigned(1)),
        ("stake", Unsigned(16)),
        ("status", STATUS),
        ("fee", Unsigned(16)),
    )
)
PAIR = Struct((("operator_id", Unsigned(8)), ("amount", Unsigned(16))))
U128 = st.integers(0, 2**128 - 1)
BODIES = {0: 0, 1: 8, 4: 32}


def le(value: int, size: int) -> bytes:
    return value.to_bytes(size, "little")


def compact(value: int) -> bytes:
    """SCALE's compact form, written down once more from its specification."""
    if value < 2**6:
        return le(value << 2, 1)
    if value < 2**14:
        return le(value << 2 | 1, 2)
    return le(value << 2 | 2, 4)


@st.composite
def operators(draw: st.DrawFn) -> tuple[bytes, dict[str, Any]]:
    key, tax = draw(st.binary(min_size=32, max_size=32)), draw(st.integers(0, 100))
    stake, fee = draw(U128), draw(U128)
    index = draw(st.sampled_from(sorted(BODIES)))
    body = draw(st.binary(min_size=BODIES[index], max_size=BODIES[index]))
    names = {0: "Registered", 1: "Deregistered", 4: "InvalidBundle"}
    value = {
        "signing_key": f"0x{key.hex()}",
        "tax": tax,
        "stake": stake,
        "status": names[index],
        "fee": fee,
    }
    return key + le(tax, 1) + le(stake, 16) + le(index, 1) + body + le(fee, 16), value


@given(st.lists(operators(), min_size=1, max_size=20))
def test_values_of_different_length_are_decoded_side_by_side(
    told: list[tuple[bytes, dict[str, Any]]],
) -> None:
    read = decode(OPERATOR, pl.Series([raw for raw, _ in told]))
    assert read[FITS].all()
    assert read.drop(FITS).rows(named=True) == [value for _, value in told]


@given(operators(), st.integers(-20, 20).filter(bool))
def test_a_value_of_another_length_does_not_fit(
    told: tuple[bytes, dict[str, Any]], change: int
) -> None:
    raw = told[0] + bytes(change) if change > 0 else told[0][:change]
    assert decode(OPERATOR, pl.Series([told[0], raw]))[FITS].to_list() == [True, False]


def test_an_unknown_variant_or_an_opaque_one_does_not_fit() -> None:
    head = bytes(32 + 1 + 16)
    raws = [head + le(index, 1) + bytes(16) for index in (0, 2, 5)]
    assert decode(OPERATOR, pl.Series(raws))[FITS].to_list() == [True, False, False]


@given(st.lists(st.lists(st.tuples(st.integers(0, 2**64 - 1), U128), max_size=80), min_size=1))
def test_the_entries_of_maps_come_out_in_order(maps: list[list[tuple[int, int]]]) -> None:
    layout = Struct((("index", Unsigned(4)), ("pairs", Sequence(PAIR)), ("end", Unsigned(2))))
    raws = [
        le(number, 4)
        + compact(len(pairs))
        + b"".join(le(operator, 8) + le(amount, 16) for operator, amount in pairs)
        + le(7, 2)
        for number, pairs in enumerate(maps)
    ]
    read = decode(layout, pl.Series(raws))
    assert read[FITS].all()
    assert read["end"].to_list() == [7] * len(maps)
    rows = entries(read.select("index", "pairs", "pairs count"), "pairs", PAIR)
    assert rows.rows() == [
        (number, operator, amount)
        for number, pairs in enumerate(maps)
        for operator, amount in pairs
    ]


def test_hex_that_is_none_becomes_null() -> None:
    read = pl.select(octets(pl.lit(pl.Series(["0x00ff", "00ff", "0x0", "0xzz", None])))).to_series()
    assert read.to_list() == [b"\x00\xff", None, None, None, None]


LAYOUTS = st.recursive(
    st.sampled_from([Unsigned(1), Unsigned(4), Unsigned(16), Octets(32), Opaque("compact")]),
    lambda inner: st.one_of(
        st.builds(Sequence, inner),
        st.lists(st.tuples(st.text(max_size=3), inner), max_size=4).map(
            lambda fields: Struct(tuple(fields))
        ),
        st.lists(st.tuples(st.integers(0, 255), st.text(max_size=3), inner), max_size=3).map(
            lambda variants: Enum(tuple(variants))
        ),
    ),
    max_leaves=8,
)


@given(LAYOUTS)
def test_a_layout_survives_the_cache(layout: Layout) -> None:
    assert from_json(to_json(layout)) == layout


def test_only_what_always_takes_the_same_bytes_has_a_fixed_size() -> None:
    assert fixed_size(PAIR) == 24
    assert fixed_size(Struct((("a", PAIR), ("b", Sequence(PAIR))))) is None
    assert fixed_size(STATUS) is None


@given(st.integers(0, 2**32 - 1), st.integers(0, 2**64 - 1), st.integers(0, 2**32 - 1))
def test_storage_keys_hold_their_numbers_little_endian(
    epoch: int, operator: int, domain: int
) -> None:
    (key,) = keys.of_share_prices([operator], domain, epoch)
    parts = bytes.fromhex(key[2 + 64 :])
    numbers = (parts[:8], parts[8:12], parts[12:])
    assert [int.from_bytes(part, "little") for part in numbers] == [operator, domain, epoch]


@pytest.mark.parametrize("version", [0, 1, 63, 64, 16_383, 16_384, 2**30 - 1, 2**30, 2**32 - 1])
def test_a_compact_spec_version_is_read_in_all_its_modes(version: int) -> None:
    raw = compact(version) if version < 2**30 else b"\x03" + le(version, 4)
    assert spec_version(f"0x{(raw + b'name').hex()}") == version


@needs_metadata
def test_real_metadata_compiles_to_the_layouts_that_the_chain_uses() -> None:
    runtime = Runtime.compile(6, METADATA.read_bytes()[4:])
    assert (runtime.confirmation_depth, runtime.stake_epoch_duration) == (100, 100)
    assert runtime.ss58_prefix == 6094
    layout = runtime.items["Operators"].layout
    assert isinstance(layout, Struct)
    assert [name for name, _ in layout.fields][:3] == [
        "signing_key",
        "current_domain_id",
        "next_domain_id",
    ]
    raw = bytes(range(32)) + bytes(4 + 4 + 16) + le(9, 1) + le(2**100, 16) + le(2**99, 16)
    raw += le(1, 1) + bytes(12) + bytes(16 + 16) + le(5, 16)
    (fast,) = decode(layout, pl.Series([raw])).rows(named=True)
    slow = runtime.decode_slowly("Operators", raw)
    assert fast[FITS]
    assert fast["partial_status"] in slow["partial_status"]
    assert {name: fast[name] for name in fast if name not in {FITS, "partial_status"}} == {
        name: value for name, value in slow.items() if name != "partial_status"
    }
