"""Frames: what a raw epoch says, what the tables take from it, and prices to the last digit."""

import json
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from operator_prices.amounts import ONE
from operator_prices.chain import AMOUNT, EpochStates
from operator_prices.devchain.scenario import Scenario
from operator_prices.devchain.serving import serving
from operator_prices.epochs import documents, normalized
from operator_prices.epochs.tables import EPOCHS, OPERATOR_SHARE_PRICES, OPERATOR_SHARES
from operator_prices_tests.support.samples import reading, truth_of

STATE = pl.Schema(
    {
        "epoch": pl.UInt32(),
        "operator_id": pl.UInt64(),
        "shares_raw": AMOUNT,
        "stake_raw": AMOUNT,
        "reward_raw": AMOUNT,
        "nomination_tax": pl.UInt8(),
    }
)


def derived(*rows: tuple[int | None, ...]) -> list[tuple[int, ...]]:
    states = [(0, number, *row) for number, row in enumerate(rows)]
    frame = pl.DataFrame(states, schema=STATE, orient="row")
    return normalized.derived_prices(frame).sort("operator_id").rows()


@given(
    st.lists(
        st.tuples(
            st.integers(0, 2**128 - 1) | st.integers(0, 10**28),
            st.integers(0, 2**127) | st.integers(0, 10**28),
            st.integers(0, 2**120) | st.integers(0, 10**24),
            st.integers(0, 100),
        ),
        max_size=20,
    )
)
def test_a_derived_price_is_exact_whatever_the_amounts(
    rows: list[tuple[int, int, int, int]],
) -> None:
    expected = []
    for number, (shares, stake, reward, tax) in enumerate(rows):
        worth = stake + reward - reward * tax // 100
        price = shares * ONE // worth if shares and worth else 0
        if 0 < price <= ONE:
            expected.append((0, number, price))
    assert derived(*rows) == expected


def test_nothing_is_derived_from_what_is_unknown_or_zero() -> None:
    assert derived((5, 10, None, 3), (0, 10, 1, 3), (5, 0, 0, 3)) == []


@pytest.fixture(scope="module")
def states(tmp_path_factory: pytest.TempPathFactory) -> EpochStates:
    """A few epochs of a small chain, three operators each."""
    with (
        serving(Scenario(seconds_per_block=0, epochs=12, operators=3, forced=())) as node,
        reading(node.url, tmp_path_factory.mktemp("runtimes")) as reader,
    ):
        assert len(truth_of(node.chain)) == 12
        return reader.read(range(5, 9))


def test_a_raw_epoch_keeps_the_old_names_with_true_keys_and_decimal_text(
    states: EpochStates,
) -> None:
    raw = documents.raw_epochs(states, 0)
    assert raw.schema == EPOCHS.columns
    for row in raw.iter_rows(named=True):
        document = json.loads(row["data"])
        summary = document["domainStakingSummary"]
        assert (document["epoch"], document["endHash"]) == (row["epoch"], row["end_hash"])
        assert summary["currentEpochIndex"] == str(row["epoch"])
        active = sum(int(stake) for stake in summary["currentOperators"].values())
        assert active == int(summary["currentTotalStake"])
        for entry in document["operators"]["entries"]:
            (operator,) = entry["key"]
            assert entry["activeStake"] == summary["currentOperators"].get(operator, "0")
            assert entry["reward"] == summary["currentEpochRewards"].get(operator, "0")
        for entry in document["operatorEpochSharePrice"]["entries"]:
            assert entry["key"][1] == f"[0,{row['epoch']}]"
        assert document["deposits"]["count"] is None


def test_tables_have_the_columns_that_are_declared(states: EpochStates) -> None:
    told = normalized.decoded(documents.raw_epochs(states, 0))
    assert normalized.operator_share_prices(told).schema == OPERATOR_SHARE_PRICES.columns
    assert normalized.operator_shares(told).schema == OPERATOR_SHARES.columns


def test_no_epochs_yield_no_rows() -> None:
    raw = documents.raw_epochs(EpochStates.empty(), 0)
    assert raw.is_empty()
    told = normalized.decoded(raw)
    assert normalized.operator_share_prices(told).is_empty()
    assert normalized.operator_shares(told).is_empty()
    assert normalized.operators_metadata(told).is_empty()


def test_operators_are_told_as_their_last_epoch_shows_them(states: EpochStates) -> None:
    told = normalized.decoded(documents.raw_epochs(states, 0))
    shown = normalized.operators_metadata(told)
    assert set(shown["first_seen_epoch"]) <= {5, 6, 7, 8}
    assert shown["last_seen_epoch"].max() == 8
    assert shown["operator_id"].is_unique().all()
    assert shown["owner"].str.len_chars().min() == 49  # SS58 with a prefix of two bytes, or
    assert shown["signing_key"].str.starts_with("0x").all()


@pytest.mark.parametrize(
    "crafted",
    ['{"operators":', '"a","b"', '{}},{"i":1,"r":{}', "[1,2"],
)
def test_a_row_that_is_no_document_is_named_and_shifts_no_neighbour(
    crafted: str, states: EpochStates
) -> None:
    raw = documents.raw_epochs(states, 0)
    spoiled = raw.with_columns(
        data=pl.when(pl.col("epoch") == 6).then(pl.lit(crafted)).otherwise("data")
    )
    with pytest.raises(normalized.UnreadableRawEpochError, match=r"5\.\.8"):
        normalized.decoded(spoiled)


def test_many_epochs_are_decoded_in_slices_that_keep_their_order(states: EpochStates) -> None:
    raw = documents.raw_epochs(states, 0)
    one = raw.filter(pl.col("epoch") == 6)
    epochs = pl.Series("epoch", range(60), dtype=raw.schema["epoch"])
    many = pl.concat([one] * 60).with_columns(epochs)
    shares = normalized.operator_shares(normalized.decoded(many))
    assert shares["epoch"].is_sorted()
    alone = normalized.operator_shares(normalized.decoded(one)).drop("epoch")
    assert shares.drop("epoch").equals(pl.concat([alone] * 60))
    spoiled = many.with_columns(
        data=pl.when(pl.col("epoch").is_in([30, 55])).then(pl.lit("[")).otherwise("data")
    )
    with pytest.raises(normalized.UnreadableRawEpochError, match=r"24\.\.35"):
        normalized.decoded(spoiled)


def test_a_quarantined_operator_withholds_its_row_and_keeps_the_others(
    states: EpochStates, tmp_path: Path
) -> None:
    del tmp_path
    document = documents.raw_epochs(states, 0).row(0, named=True)
    data = json.loads(document["data"])
    first = data["operatorEpochSharePrice"]["entries"].pop(0)
    operator = first["key"][0]
    data["quarantined"] = [{"item": "OperatorEpochSharePrice", "operatorId": operator}]
    raw = pl.DataFrame([{**document, "data": json.dumps(data)}], schema=EPOCHS.columns)
    told = normalized.decoded(raw)
    assert int(operator) not in normalized.operator_share_prices(told)["operator_id"].to_list()
    assert int(operator) in normalized.operator_shares(told)["operator_id"].to_list()
