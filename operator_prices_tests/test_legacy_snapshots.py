import json
from typing import Any

import pytest

from operator_prices.legacy.snapshots import ONE, Price, Reader, Row, Snapshot
from operator_prices_tests.legacy_samples import (
    document,
    operator_entry,
    operator_value,
    price_entry,
    row,
)


def read(told: Row, reader: Reader | None = None) -> tuple[Reader, dict[str, Any]]:
    reader = reader or Reader(0)
    snapshot = reader.read(told)
    assert snapshot is not None, reader.offenders
    return reader, written(snapshot)


def written(snapshot: Snapshot) -> dict[str, Any]:
    text, _ = snapshot.document({}, 0)
    normal: dict[str, Any] = json.loads(text)
    return normal


def operators(normal: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {entry["key"][0]: entry for entry in normal["operators"]["entries"]}


def named(reader: Reader) -> list[tuple[str, str]]:
    return [(offender.path, offender.reason) for offender in reader.offenders]


def test_the_operator_is_read_from_the_storage_key_and_not_from_the_position() -> None:
    entries = [operator_entry(7, position=0), operator_entry(300, position=1)]
    prices = [price_entry(7, 3, 999, position=0), price_entry(300, 4, 998, position=1)]
    reader, normal = read(row(5, document(5, operators=entries, prices=prices)))
    assert list(operators(normal)) == ["7", "300"]
    assert reader.prices == {(3, 7): Price(999, 5), (4, 300): Price(998, 5)}
    assert not reader.offenders


@pytest.mark.parametrize(
    "key", [["7", "[0,1234]"], ["7", ["0", "1234"]], ["7", [0, 1234]], ["7", '["0","1,234"]']]
)
@pytest.mark.parametrize("price", ["999,992", "999992", 999992, "0xf4238"])
def test_true_keys_with_bare_values_are_read_as_well(key: list[object], price: object) -> None:
    told = document(
        2000,
        prices=[{"key": key, "value": price}],
        operators=[{"key": ["7"], "value": operator_value()}],
    )
    reader, normal = read(row(2000, told))
    assert reader.prices == {(1234, 7): Price(999992, 2000)}
    assert list(operators(normal)) == ["7"]


def test_only_the_first_comma_parts_the_key_from_the_value() -> None:
    reader, _ = read(row(5, document(5, prices=[price_entry(0, 3, "999,992,459,651,833,669")])))
    assert reader.prices[3, 0].price == 999992459651833669


def test_the_later_snapshot_wins() -> None:
    reader = Reader(0)
    for epoch, price in ((4, 10), (5, 11), (6, 10), (7, 12)):
        reader.read(row(epoch, document(epoch, prices=[price_entry(0, 3, price)])))
    assert reader.prices == {(3, 0): Price(12, 7)}


def test_prices_of_other_domains_are_left_out_and_counted_once() -> None:
    reader = Reader(0)
    for epoch in (4, 5):
        prices = [price_entry(0, 3, 5, domain=1), price_entry(0, 3, 6)]
        reader.read(row(epoch, document(epoch, prices=prices)))
    assert reader.prices == {(3, 0): Price(6, 5)}
    assert reader.foreign_prices == 1
    assert not reader.offenders


def test_operators_of_other_domains_are_left_out_and_counted() -> None:
    entries = [operator_entry(0), operator_entry(1, currentDomainId=1)]
    reader, normal = read(row(5, document(5, operators=entries)))
    assert list(operators(normal)) == ["0"]
    assert reader.foreign_operators == 1


def test_numbers_come_out_as_plain_decimal_text() -> None:
    told = document(5, operators=[operator_entry(0)], rewards={"0": "6,870,330,918"})
    _, normal = read(row(5, told))
    entry = operators(normal)["0"]
    assert entry["value"]["currentTotalStake"] == "2000000000000000000000"
    assert entry["value"]["partialStatus"] == "Registered"
    assert entry["activeStake"] == "2000000000000000000000"
    assert entry["reward"] == "6870330918"
    assert normal["domainStakingSummary"]["currentTotalStake"] == "2000000000000000000000"
    assert normal["deposits"]["count"] == 3


def test_totals_that_the_old_script_always_wrote_as_zero_are_left_out() -> None:
    _, normal = read(row(5))
    assert not {"totalStake", "totalShares", "totalStorageFeeDeposit"} & normal.keys()


def test_an_integer_that_no_float_holds_is_read_exactly() -> None:
    exact = 2**100 + 1
    told = json.dumps(document(5, operators=[{"key": ["0"], "value": operator_value()}]))
    stake = f'"currentTotalStake": "0x{2 * 10**21:032x}"'
    assert stake in told
    _, normal = read(row(5, told.replace(stake, f'"currentTotalStake": {exact}')))
    assert operators(normal)["0"]["value"]["currentTotalStake"] == str(exact)


def test_other_facts_of_the_epoch_stay_as_they_are() -> None:
    told = document(5, headDomainNumber="399", pending={"a": [1, "two", None]})
    _, normal = read(row(5, told))
    assert normal["headDomainNumber"] == "399"
    assert normal["pending"] == {"a": [1, "two", None]}


def test_the_normal_form_is_read_as_itself() -> None:
    told = document(5, operators=[operator_entry(0), operator_entry(3)], rewards={"0": 7})
    snapshot = Reader(0).read(row(5, told))
    assert snapshot is not None
    once, complete = snapshot.document({0: 12}, 0)
    reader = Reader(0)
    again = reader.read(row(5, once))
    assert again is not None
    assert again.document({0: 12}, 0) == (once, complete)
    assert reader.prices == {(5, 0): Price(12, 5)}


BROKEN_ROWS = [
    ({"data": "{"}, "data", "is broken JSON"),
    ({"data": "[]"}, "data", "is no JSON object"),
    ({"data": '"text"'}, "data", "is no JSON object"),
    ({"data": None}, "data", "is missing"),
    ({"data": b"\xff\xfe"}, "data", "is no UTF-8"),
    ({"data": json.dumps(document(6))}, "data.epoch", "is another epoch"),
    ({"end_block": "x"}, "end_block", "is no number"),
    ({"end_block": 2**40}, "end_block", "is too large"),
    ({"end_hash": "0x12"}, "end_hash", "is no block hash"),
    ({"timestamp": -1}, "timestamp", "is negative"),
    ({"data": json.dumps(document(5, note="a\0b"))}, "data", "zero character"),
]


@pytest.mark.parametrize(("changes", "path", "reason"), BROKEN_ROWS)
def test_a_row_that_cannot_be_understood_is_named(
    changes: dict[str, Any], path: str, reason: str
) -> None:
    reader = Reader(0)
    assert reader.read(row(5)._replace(**changes)) is None
    (offender,) = reader.offenders
    assert (offender.epoch, offender.item, offender.path) == (5, "epochs", path)
    assert reason in offender.reason


BROKEN_OPERATORS = [
    ({"currentTotalShares": "zwölf"}, ".currentTotalShares", "is no number"),
    ({"currentTotalShares": None}, ".currentTotalShares", "is missing"),
    ({"currentTotalStake": 5, "currentTotalShares": 6}, ".currentTotalShares", "above the stake"),
    ({"currentTotalStake": -1}, ".currentTotalStake", "is negative"),
    ({"nominationTax": 101}, ".nominationTax", "above 100 percent"),
    ({"nominationTax": 1.5}, ".nominationTax", "is no number"),
    ({"partialStatus": {"unheard": None}}, ".partialStatus", "is no status"),
    ({"partialStatus": None}, ".partialStatus", "is missing"),
    ({"signingKey": "0x12"}, ".signingKey", "is no key"),
    ({"totalStorageFeeDeposit": "1.5"}, ".totalStorageFeeDeposit", "is no number"),
]


@pytest.mark.parametrize(("changes", "path", "reason"), BROKEN_OPERATORS)
def test_an_operator_that_cannot_be_understood_is_named_and_the_rest_is_kept(
    changes: dict[str, Any], path: str, reason: str
) -> None:
    entries = [operator_entry(0), operator_entry(9, **changes), operator_entry(4)]
    reader, normal = read(row(5, document(5, operators=entries)))
    assert list(operators(normal)) == ["0", "4"]
    (offender,) = reader.offenders
    assert offender.path == f"data.operators.entries[1].value{path}"
    assert reason in offender.reason
    assert (offender.operator_id, offender.epoch) == (9, 5)
    assert [(misfit["item"], misfit["operatorId"]) for misfit in normal["quarantined"]] == [
        ("Operators", "9")
    ]


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        ({"key": ["1"], "value": json.dumps(operator_value())}, "no storage key"),
        ({"key": ["1"], "value": "0x12,{}"}, "no storage key"),
        ({"key": ["1"]}, "is missing"),
        ({"value": operator_value()}, "names no operator"),
        ("text", "is no object"),
        ({"key": ["x"], "value": operator_value()}, "is no number"),
        ({"key": ["1"], "value": operator_entry(1)["value"] + "}"}, "broken JSON"),  # type: ignore[operator]
    ],
)
def test_an_entry_of_operators_that_is_none_is_named(entry: object, reason: str) -> None:
    reader, normal = read(row(5, document(5, operators=[operator_entry(0), entry])))
    assert list(operators(normal)) == ["0"]
    (offender,) = reader.offenders
    assert reason in offender.reason


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        (price_entry(0, 3, 0), "is zero"),
        (price_entry(0, 3, ONE + 1), "is above 10^18"),
        (price_entry(0, 3, "1.5"), "is no number"),
        (price_entry(0, 3, ""), "is empty"),
        (price_entry(0, 6, 5), "yet to come"),
        ({"key": ["0"], "value": "999"}, "no storage key"),
        ({"key": ["0", "[0]"], "value": "999"}, "names no epoch"),
        ({"key": ["0", "[0,3]"], "value": None}, "is missing"),
        ({"key": ["0", "[0,3]"], "value": 0.5}, "is no number"),
        (None, "is no object"),
    ],
)
def test_a_price_that_is_none_is_named_and_never_becomes_a_zero(entry: object, reason: str) -> None:
    reader = Reader(0)
    for epoch in (5, 6):
        reader.read(row(epoch, document(epoch, prices=[price_entry(1, 3, 7), entry])))
        if reason == "yet to come":
            break
    assert reader.prices.pop((3, 1)).price == 7
    assert all(price.price is None for price in reader.prices.values())
    assert {reason in offender.reason for offender in reader.offenders} == {True}
    assert reader.offenders[0].path.startswith("data.operatorEpochSharePrice.entries[1]")


def test_a_price_that_one_snapshot_spoils_is_taken_from_another() -> None:
    reader = Reader(0)
    reader.read(row(5, document(5, prices=[price_entry(0, 3, 7)])))
    reader.read(row(6, document(6, prices=[price_entry(0, 3, "x")])))
    assert reader.prices == {(3, 0): Price(7, 5)}
    assert len(reader.offenders) == 1


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"domainStakingSummary": None}, "data.domainStakingSummary"),
        ({"operators": {"count": 0}}, "data.operators"),
        ({"operators": {"count": 2, "entries": []}}, "data.operators.count"),
        ({"operatorEpochSharePrice": ""}, "data.operatorEpochSharePrice"),
    ],
)
def test_a_section_that_is_missing_is_named_and_the_row_is_kept(
    changes: dict[str, object], path: str
) -> None:
    reader, _ = read(row(5, document(5) | changes))
    assert [offender.path for offender in reader.offenders] == [path]


def test_an_amount_of_the_summary_that_is_none_is_unknown_and_not_zero() -> None:
    told = document(5, operators=[operator_entry(0)], rewards={"0": "many"})
    reader, normal = read(row(5, told))
    assert operators(normal)["0"]["reward"] is None
    assert named(reader) == [
        ("data.domainStakingSummary.currentEpochRewards.0", "is no number"),
    ]
