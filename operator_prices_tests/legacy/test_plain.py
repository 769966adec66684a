"""What is read a section at a time is what is read a member at a time."""

import json
import sqlite3
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operator_prices.chain.substrate import keys
from operator_prices.legacy import plain
from operator_prices.legacy.entries import AMOUNTS, OPERATORS_PREFIX
from operator_prices.legacy.reader import Reader
from operator_prices.legacy.snapshots import Row
from operator_prices_tests.support.legacy_samples import (
    SHARED,
    document,
    needs_shared,
    operator_entry,
    operator_value,
    price_entry,
    row,
)

ODD_TEXTS = (
    *(
        "",
        "0",
        "7",
        "007",
        "1,000",
        "-1",
        "1_000",
        " 1",
        "1;2",
        "0,5",
        "0,123",
        "12,34",
        "١٢",
        "\0",
    ),
    *("0x", "0x7", "0X07", "0x" + "0" * 33, "0x" * 17, "0" * 34, "9" * 38, "9" * 39),
    *("0" * 399 + "5", "0" * 400 + "5", "0" * 401 + "5"),
    *(
        "1" * 34,
        "0x" + "0_" * 15 + "00",
        "0x" + "0" * 31 + "g",
        f"0x{10**21:032X}",
        f"0x{2**128 - 1:032x}",
    ),
    *(f"{2**128 - 1:,}", f"{2**128:,}"),
)
ODD_NUMBERS: list[object] = [None, True, -1, 0, 7, 2**64, 2**128, 1.0, 1e30, [], {}, *ODD_TEXTS]
ODD_MEMBERS: dict[str, Sequence[object]] = {
    **dict.fromkeys((*AMOUNTS, "nominationTax", "currentDomainId", "nextDomainId"), ODD_NUMBERS),
    "currentTotalShares": [f"0x{2**127:032x}", 2**63, 2**128, 1.0, "1,000", None],
    "nominationTax": [*ODD_NUMBERS, 100, 101],
    "nextDomainId": [None, -1, 1.5, 2**31, 10**18, 2**70, "text"],
    "partialStatus": [
        *("registered", "Registered", ["registered"], {"slashed": {"at": 1.5}}, {"other": None}),
        *({}, {"registered": None, "slashed": None}, {"REGISTERED": None}, "r", None, 5),
    ],
    "signingKey": [
        "0x" + "AB" * 32,
        "0" * 66,
        "0x" + "ab" * 31,
        "ab" * 33,
        "0x" + "ag" * 32,
        None,
        5,
        "",
    ],
    "note": [None, "text", 1.5, "a\0b", 10**25],
}
"""What may stand in an operator instead of what the old script wrote, or beside it."""

ODD_ENTRIES: list[object] = [
    *(None, 5, "xx", ["key", "value"], {}, {"key": ["0"]}, {"key": 5, "value": "0x,{}"}),
    *({"key": ["0"], "value": value} for value in (None, 999, "999", {"a": 1}, [1])),
    *({"key": ["0", "[0,3]"], "value": value} for value in ("1,234", 999)),
    {"key": ["3"], "value": operator_value()},
]
"""Entries that are none, or of another script."""


SPELLINGS: dict[str, Callable[[str], dict[str, Any]]] = {
    "as it is": lambda text: {"key": ["0"], "value": text},
    "upper case": lambda text: {"key": ["0"], "value": "0x" + text[2:66].upper() + text[66:]},
    "underscore": lambda text: {"key": ["0"], "value": text[:66] + "1_1" + text[69:]},
    "blanks in it": lambda text: {"key": ["0"], "value": text[:66] + " " * 16 + text[82:]},
    "another map": lambda text: {"key": ["0"], "value": "0x" + "ab" * 32 + text[66:]},
    "no comma": lambda text: {"key": ["0"], "value": text.replace(",", ";", 1)},
    "shorter": lambda text: {"key": ["0"], "value": text[:80] + text[82:]},
    "blank": lambda text: {"key": ["0"], "value": text.replace(",", " ,", 1)},
    "not closed": lambda text: {"key": ["0"], "value": text[:-1]},
    "two values": lambda text: {"key": ["0"], "value": text + ",{}"},
    "a list": lambda text: {"key": ["0"], "value": text.replace("{", "[{", 1) + "]"},
    "named twice": lambda text: {"key": ["0"], "value": text[:-1] + ', "nominationTax": 9}'},
    "no key": lambda text: {"value": text},
    "two keys": lambda text: {"key": ["0", "[0,1]"], "value": text},
    "owner": lambda text: {"key": ["0"], "value": text, "owner": "someone"},
    "owner and no key": lambda text: {"value": text, "owner": "someone"},
    "no owner": lambda text: {"key": ["0"], "value": text, "owner": None, "after": None},
}
"""Entries of a value, plain and odd."""


@st.composite
def operator_entries(draw: st.DrawFn) -> list[object]:
    """Entries of `operators`: most are plain, and often one is odd."""
    told: list[object] = []
    ids = st.sampled_from([0, 1, 2, 3, 4, 5, 6, 7, 300, 301, 2**31 - 1, 2**31, 2**64 - 1])
    operators = draw(st.lists(ids, min_size=1, max_size=4, unique=draw(st.booleans())))
    odd = draw(st.integers(0, 2 * len(operators)))
    for index, operator in enumerate(operators):
        stake = draw(st.integers(0, 2**128 - 1) | st.integers(0, 2**40))
        value: dict[str, object] = operator_value(
            currentDomainId=draw(st.sampled_from([0, 0, 0, 3])),
            nominationTax=draw(st.integers(0, 100)),
            currentTotalStake=f"0x{stake:032x}",
            currentTotalShares=f"0x{draw(st.integers(0, stake)):032x}",
        )
        text = f"{OPERATORS_PREFIX}{keys.u64(operator)},"
        spelling = "as it is"
        if index == odd:
            name = draw(st.sampled_from([*ODD_MEMBERS]))
            value[name] = draw(st.sampled_from(ODD_MEMBERS[name]))
        elif index + len(operators) == odd:
            spelling = draw(st.sampled_from([*SPELLINGS]))
        told.append(SPELLINGS[spelling](text + json.dumps(value)))
    if draw(st.integers(0, 9)) == 0:
        told.append(draw(st.sampled_from(ODD_ENTRIES)))
    return told


@st.composite
def price_entries(draw: st.DrawFn) -> list[object]:
    """Entries of `operatorEpochSharePrice`: plain, of other domains and epochs, and odd ones."""
    told: list[object] = []
    prices = st.integers(1, 10**18) | st.integers(1, 3)
    odd = st.sampled_from([0, 10**18 + 1, *ODD_NUMBERS])
    for _ in range(draw(st.integers(0, 5))):
        entry = price_entry(
            draw(st.sampled_from([0, 1, 7, 300, 2**31])),
            draw(st.integers(0, 7)),
            draw(prices | prices | odd),
            domain=draw(st.sampled_from([0, 0, 0, 3])),
        )
        spelling = draw(st.just("as it is") | st.just("as it is") | st.sampled_from([*SPELLINGS]))
        told.append(SPELLINGS[spelling](str(entry["value"])))
    if draw(st.integers(0, 9)) == 0:
        told.append(draw(st.sampled_from(ODD_ENTRIES)))
    return told


AMOUNTS_BY_OPERATOR = st.dictionaries(
    st.sampled_from(["0", "1", "7", "07", "300", "x", ""]),
    st.integers(0, 2**128 - 1).map("{:,}".format) | st.sampled_from(ODD_NUMBERS),
    max_size=4,
)


@st.composite
def snapshots(draw: st.DrawFn) -> list[Row]:
    """Rows of consecutive epochs."""
    rows = []
    for epoch in range(3, 3 + draw(st.integers(1, 3))):
        told = document(
            epoch,
            operators=draw(operator_entries()),
            prices=draw(price_entries()),
            rewards=draw(AMOUNTS_BY_OPERATOR),
        )
        told["domainStakingSummary"]["currentOperators"] = draw(AMOUNTS_BY_OPERATOR)
        rows.append(row(epoch, told))
    return rows


def understood(rows: Sequence[Row]) -> list[object]:
    """All that a reader of domain 0 makes of the rows."""
    reader = Reader(0)
    found: list[object] = []
    for one in rows:
        snapshot = reader.read(one)
        if snapshot is None:
            found.append(None)
        else:
            text, complete = snapshot.document({}, 0)
            found += [snapshot.epoch, json.loads(text), complete, snapshot.misfits]
    return [
        *found,
        reader.offenders,
        reader.prices.told,
        reader.prices.foreign,
        reader.operators.foreign,
        reader.operators.count,
    ]


def assert_same(*rows: Row) -> None:
    """Assert that the rows say the same a section and a member at a time."""
    at_once = understood(rows)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plain, "operators_of", lambda *_: None)
        patch.setattr(plain, "prices_of", lambda *_: [])
        patch.setattr(plain, "amounts_of", lambda *_: None)
        assert understood(rows) == at_once


@given(snapshots())
def test_sections_and_members_tell_the_same(rows: list[Row]) -> None:
    assert_same(*rows)


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, odd in ODD_MEMBERS.items() for value in odd]
)
def test_one_odd_member_among_plain_ones_is_read_the_same(name: str, value: object) -> None:
    assert_same(
        row(3, document(3, operators=[operator_entry(0), operator_entry(1, 0, **{name: value})]))
    )


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_one_odd_entry_among_plain_ones_is_read_the_same(spelling: str) -> None:
    operator, price = (
        SPELLINGS[spelling](str(entry["value"]))
        for entry in (operator_entry(1), price_entry(1, 2, 7))
    )
    assert_same(row(3, document(3, operators=[operator_entry(0), operator])))
    assert_same(row(3, document(3, prices=[price_entry(0, 1, 5), price])))


@pytest.mark.parametrize("number", ODD_NUMBERS)
def test_one_odd_number_among_plain_ones_is_read_the_same(number: object) -> None:
    assert_same(row(3, document(3, prices=[price_entry(0, 1, 5), price_entry(1, 2, number)])))
    first = row(3, document(3, rewards={"0": "1", "7": "2"}))
    assert_same(first, row(4, document(4, rewards={"0": "1", "7": number})))


def test_blanks_of_two_keys_do_not_make_up_for_each_other() -> None:
    """Two keys whose blanks together stand for the digits of one."""
    values = [str(price_entry(operator, 2, 7)["value"]) for operator in (1, 2)]
    halves = [text[:66] + " " * 16 + text[82:] for text in values]
    whole = values[0][:66] + " " * 32 + values[0][98:]
    for spoiled in (halves, [whole], [whole, *values]):
        entries = [{"key": ["0"], "value": text} for text in spoiled]
        assert_same(row(3, document(3, prices=[price_entry(0, 1, 5), *entries])))


def test_what_is_nested_too_deep_for_the_exact_reading_is_refused_by_both() -> None:
    entry = operator_entry(0, partialStatus={"registered": "deep"})
    entry["value"] = str(entry["value"]).replace('"deep"', "[" * 1000 + "]" * 1000)
    told = document(5, operators=[entry])
    told["domainStakingSummary"]["currentTotalStake"] = 1.5
    assert_same(row(5, told))


@needs_shared
def test_all_that_the_old_script_wrote_is_plain() -> None:
    file = sqlite3.connect(SHARED / "comprehensive-metrics.db")
    for (text,) in file.execute("SELECT data FROM epochs"):
        told = json.loads(text)
        prices, operators = (
            told[name]["entries"] for name in ("operatorEpochSharePrice", "operators")
        )
        assert len(plain.operators_of(operators) or ()) == len(operators) > 0
        assert len(plain.prices_of(prices, (), 0, told["epoch"])) == len(prices)
        for name in ("currentOperators", "currentEpochRewards"):
            amounts = told["domainStakingSummary"][name]
            assert not amounts or plain.amounts_of(amounts)
    file.close()
