import json
from decimal import Decimal
from typing import Any

import pytest

from operator_prices.amounts import ONE
from operator_prices.chain.substrate import keys
from operator_prices.legacy.entries import OPERATORS_PREFIX, PRICES_PREFIX
from operator_prices.legacy.reader import Reader
from operator_prices.legacy.snapshots import Row, Snapshot
from operator_prices_tests.support.legacy_samples import (
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
    assert reader.prices.told == {(3, 7): (999, 5), (4, 300): (998, 5)}
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
    assert reader.prices.told == {(1234, 7): (999992, 2000)}
    assert list(operators(normal)) == ["7"]


def test_only_the_first_comma_parts_the_key_from_the_value() -> None:
    reader, _ = read(row(5, document(5, prices=[price_entry(0, 3, "999,992,459,651,833,669")])))
    assert reader.prices.told[3, 0][0] == 999992459651833669


def test_the_later_snapshot_wins() -> None:
    reader = Reader(0)
    for epoch, price in ((4, 10), (5, 11), (6, 10), (7, 12)):
        reader.read(row(epoch, document(epoch, prices=[price_entry(0, 3, price)])))
    assert reader.prices.told == {(3, 0): (12, 7)}


def test_prices_of_other_domains_are_left_out_and_counted_once() -> None:
    reader = Reader(0)
    for epoch in (4, 5):
        prices = [price_entry(0, 3, 5, domain=1), price_entry(0, 3, 6)]
        reader.read(row(epoch, document(epoch, prices=prices)))
    assert reader.prices.told == {(3, 0): (6, 5)}
    assert reader.prices.foreign == {(1, 0, 3)}
    assert not reader.offenders


def test_operators_of_other_domains_are_left_out_and_counted() -> None:
    entries = [operator_entry(0), operator_entry(1, currentDomainId=1)]
    reader, normal = read(row(5, document(5, operators=entries)))
    assert list(operators(normal)) == ["0"]
    assert reader.operators.foreign == {(1, 1)}


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
    assert reader.prices.told == {(5, 0): (12, 5)}


def nested(levels: int) -> str:
    told = json.dumps(document(5, note="here"))
    return told.replace('"here"', "[" * levels + "]" * levels)


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
    ({"end_block": 1234.5}, "end_block", "is no number"),
    ({"end_block": Decimal("12.5")}, "end_block", "is no number"),
    ({"timestamp": 1756259880862.5}, "timestamp", "is no number"),
    ({"data": json.dumps(document(5, note="a\0b"))}, "data", "zero character"),
    ({"data": json.dumps(document(5, totalStake="a\0b"))}, "data", "zero character"),
    ({"data": json.dumps(document(5, note=1.5)).replace("1.5", "NaN")}, "data", "is broken JSON"),
    ({"data": nested(200)}, "data", "nested more than 100 levels"),
    ({"data": nested(1010)}, "data", "nested more than 100 levels"),
    ({"data": nested(9000)}, "data", "is broken JSON"),
    (
        {"data": json.dumps(document(5)).replace(": 5,", f': 5, "big": {"9" * 5000},', 1)},
        "data",
        "",
    ),
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
    shown = {"end_block": "1234.5", "end_hash": "0x12"}
    if changes.get(path) in {1234.5, "0x12"}:
        assert offender.raw == shown[path]


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
        ({"key": ["1"], "value": operator_entry(1)["value"].replace(": 5,", ": NaN,")}, "broken"),  # type: ignore[attr-defined]
        (
            {
                "key": ["1"],
                "value": f'{str(operator_entry(1)["value"])[:-1]}, "nominationTax": 9}}',
            },
            "names something twice",
        ),
        ({"key": ["1"], "value": operator_value(), "owner": 5}, "is no text"),
        ({"key": ["1"], "value": operator_value(), "after": "x"}, "is no object"),
        ({"key": ["1"], "value": operator_value(), "after": {}}, "is missing"),
        ({"key": ["1"], "value": operator_value(note=json.loads("[" * 300 + "]" * 300))}, "nested"),
        (
            {"key": ["1"], "value": f"0x{'ff' * 32}{keys.u64(1)},{json.dumps(operator_value())}"},
            "no storage key",
        ),
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
        ({"key": ["0"], "value": f"0x{'ee' * 32}{'00' * 16},999"}, "no storage key"),
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
    assert reader.prices.told.pop((3, 1))[0] == 7
    assert all(price is None for price, _ in reader.prices.told.values())
    assert {reason in offender.reason for offender in reader.offenders} == {True}
    assert reader.offenders[0].path.startswith("data.operatorEpochSharePrice.entries[1]")


def test_a_price_that_one_snapshot_spoils_is_taken_from_another() -> None:
    reader = Reader(0)
    reader.read(row(5, document(5, prices=[price_entry(0, 3, 7)])))
    reader.read(row(6, document(6, prices=[price_entry(0, 3, "x")])))
    assert reader.prices.told == {(3, 0): (7, 5)}
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


def test_keys_begin_as_those_of_the_two_maps() -> None:
    assert keys.prefix("Domains", "Operators") == OPERATORS_PREFIX
    assert keys.prefix("Domains", "OperatorEpochSharePrice") == PRICES_PREFIX


def test_what_only_the_exact_reading_could_take_is_refused_by_both() -> None:
    body = operator_entry(1)["value"].replace(": 5,", ': 5, "note": NaN,')  # type: ignore[attr-defined]
    entries = [operator_entry(0), {"key": ["1"], "value": body}]
    for note in ("none", 1.5):
        reader, normal = read(row(5, document(5, operators=entries, note=note)))
        assert list(operators(normal)) == ["0"]
        (offender,) = reader.offenders
        assert offender.reason.startswith("is broken JSON")
        assert (offender.operator_id, offender.storage_key) == (1, body.partition(",")[0])


def test_numbers_of_other_facts_are_kept_to_the_last_digit_and_as_every_reader_takes_them() -> None:
    long, fraction = "9" * 300, "0.10000000000000000001"
    told = json.dumps(document(5, note="long", more={"a": ["fraction"]}, operators=[]))
    told = told.replace('"long"', long).replace('"fraction"', fraction)
    reader, normal = read(row(5, told))
    assert (normal["note"], normal["more"]) == (long, {"a": [fraction]})
    body = json.dumps(operator_value(note="long")).replace('"long"', long)
    key = keys.of_operators("Operators", (3,))[0]
    entries = [{"key": ["0"], "value": f"{key},{body}"}]
    _, normal = read(row(5, document(5, operators=entries)))
    assert operators(normal)["3"]["value"]["note"] == long
    assert not reader.offenders


def test_integral_numbers_of_a_numeric_column_are_integers() -> None:
    told = row(5)._replace(end_block=Decimal("105.00"), timestamp=Decimal(7))
    snapshot = Reader(0).read(told)
    assert snapshot is not None
    assert (snapshot.end_block, snapshot.timestamp) == (105, 7)


def test_a_backslash_before_the_name_of_a_zero_character_is_none() -> None:
    reader, normal = read(row(5, document(5, totalStake="a\\u0000")))
    assert not reader.offenders
    assert normal["epoch"] == 5


def test_a_price_that_was_told_too_early_is_learned_when_its_time_has_come() -> None:
    reader = Reader(0)
    for epoch in (1, 3):
        reader.read(row(epoch, document(epoch, prices=[price_entry(0, 2, 7)])))
    assert reader.prices.told == {(2, 0): (7, 3)}
    assert [offender.epoch for offender in reader.offenders] == [1]


@pytest.mark.parametrize("changes", [{"end_hash": "0x12"}, {"end_block": "x"}, {"timestamp": None}])
def test_prices_of_a_row_whose_document_can_be_read_are_learned(changes: dict[str, Any]) -> None:
    told = row(5, document(5, prices=[price_entry(0, 3, 7), price_entry(0, 4, 0)]))
    one, other = Reader(0), Reader(0)
    assert one.read(told._replace(**changes)) is None
    other.read_prices(told._replace(**changes))
    assert one.prices.told == other.prices.told == {(3, 0): (7, 5), (4, 0): (None, 5)}
    assert [offender.item for offender in one.offenders] == ["OperatorEpochSharePrice", "epochs"]
    assert not other.offenders


def test_prices_of_another_epochs_document_are_not_learned() -> None:
    told = row(5, document(6, prices=[price_entry(0, 3, 7)]))
    one, other = Reader(0), Reader(0)
    one.read(told)
    other.read_prices(told)
    assert one.prices.told == other.prices.told == {}


def test_rows_that_contradict_each_other_are_all_named() -> None:
    reader = Reader(0)
    reader.refuse([row(5), row(5, document(5, prices=[price_entry(0, 3, 7)]))], "differs")
    assert named(reader) == [("epoch", "differs")] * 2
    assert reader.prices.told == {}


@pytest.mark.parametrize(
    "told",
    [
        "text",
        [5],
        [{"item": "Operators"}],
        [{"item": "Operators", "reason": "x", "operatorId": {"a": 1}}],
        [{"item": "OperatorEpochSharePrice", "reason": "x", "operatorId": "one"}],
        [{"item": ["Operators"], "reason": "x"}],
        [{"item": "Operators", "reason": "x", "storageKey": 5}],
    ],
)
def test_what_names_no_earlier_misfits_is_named_itself(told: object) -> None:
    reader, normal = read(row(5, document(5, quarantined=told)))
    (offender,) = reader.offenders
    assert offender.item == "quarantined"
    assert [misfit["item"] for misfit in normal["quarantined"]] == ["quarantined"]


def test_what_the_normal_form_names_keeps_its_reason() -> None:
    summary = document(5)["domainStakingSummary"] | {"currentTotalStake": "a lot"}
    told = document(
        5, domainStakingSummary=summary, operators=[operator_entry(0, nominationTax=7e3)]
    )
    first, normal = read(row(5, told))
    again, same = read(row(5, normal))
    assert same == normal
    assert [offender[1:3] for offender in again.offenders] == [
        offender[1:3] for offender in first.offenders
    ]
    assert {offender.reason for offender in again.offenders} == {
        offender.reason for offender in first.offenders
    }


@pytest.mark.parametrize("told", ["garbage", "-5", -5, 1.5, "1e5", 2**130, {"a": 1}, True])
def test_an_amount_of_the_epoch_that_is_none_is_unknown_and_named(told: object) -> None:
    reader, normal = read(
        row(5, document(5, accumulatedTreasuryFunds=told, domainChainRewards="0x00ff"))
    )
    assert normal["accumulatedTreasuryFunds"] is None
    assert normal["domainChainRewards"] == "255"
    (offender,) = reader.offenders
    assert (offender.item, offender.path) == (
        "AccumulatedTreasuryFunds",
        "data.accumulatedTreasuryFunds",
    )


@pytest.mark.parametrize(
    ("told", "count"),
    [
        ({"count": "1,000"}, 1000),
        ({"entries": []}, None),
        (None, None),
        *(
            (broken, "broken")
            for broken in ({"count": "x"}, {"count": -1}, {"count": 1.5}, [1], "a")
        ),
        ({"count": 10**30}, "broken"),
    ],
)
def test_a_count_is_one_or_is_unknown_and_named(told: object, count: object) -> None:
    reader, normal = read(row(5, document(5, deposits=told)))
    known = (normal["deposits"] or {}).get("count")
    assert known == (None if count == "broken" else count)
    assert [offender.item for offender in reader.offenders] == ["Deposits"] * (count == "broken")
