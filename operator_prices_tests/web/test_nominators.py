"""What nominators have, and what they earned: every answer equals what the chain's rules say."""

import asyncio
import csv
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

import polars as pl
import psycopg
import pytest

from operator_prices.web import account_history
from operator_prices.web.queries.account_history import Account
from operator_prices.web.queries.spans import Served, Span
from operator_prices_tests.support import history, positions
from operator_prices_tests.support.positions import Life, Position
from operator_prices_tests.support.web_server import Served as Api
from operator_prices_tests.support.web_server import database, serving

LAST = 39


@dataclass(frozen=True)
class Told:
    """The lives that were written, and the API that tells of them."""

    api: Api
    lives: dict[tuple[str, int], Life]

    def life(self, nominator: str, operator: int) -> Life:
        return self.lives[nominator, operator]


@pytest.fixture(scope="module")
def told(api: Api) -> Told:
    prices = {
        (epoch, operator): int(price)
        for epoch, operator, price in api.rows(
            "SELECT epoch, operator_id, share_price_perq FROM operator_share_prices"
        )
    }
    lives = positions.lives(prices)
    return Told(api, {(life.nominator, life.operator): life for life in lives})


def at(life: Life, epoch: int) -> Position:
    """The row that holds at an epoch."""
    return [row for row in life.rows if row.epoch <= epoch][-1]


def staked(life: Life, epoch: int) -> int:
    row = at(life, epoch)
    return positions.stake(row.shares, life.price(epoch)) + row.pending + row.fee


def leaving(life: Life, epoch: int) -> int:
    row = at(life, epoch)
    shares, _, refund = row.withdrawing
    going = positions.stake(shares, life.price(row.epoch)) + refund if shares else 0
    return going + sum(amount + refund for _, amount, refund in row.unlocking)


def paid(life: Life, first: int, last: int) -> tuple[int, int]:
    """What was paid in and out from one epoch to another."""
    rows = [row for row in life.rows if first <= row.epoch <= last]
    return (
        sum((row.deposited or 0) + (row.deposited_fee or 0) for row in rows),
        sum((row.released or 0) + (row.released_fee or 0) for row in rows),
    )


def test_an_account_is_found_by_any_of_its_names(told: Told) -> None:
    by_hex = told.api.get(f"/api/nominators/{positions.HOLDER}")
    by_address = told.api.get(f"/api/nominators/{positions.address(positions.HOLDER)}")
    assert by_hex.status == 200
    assert by_hex.json == by_address.json
    assert by_hex.headers["etag"] == by_address.headers["etag"]
    assert by_hex.json["address"] == positions.address(positions.HOLDER)
    tag = by_hex.headers["etag"]
    again = told.api.get(f"/api/nominators/{positions.HOLDER}", if_none_match=tag)
    assert again.status == 304


def test_what_an_account_has_now_is_told_to_the_last_shannon(told: Told) -> None:
    answer = told.api.get(f"/api/nominators/{positions.HOLDER}").json
    assert [one["operatorId"] for one in answer["positions"]] == [1, 4]
    gains = 0
    for one in answer["positions"]:
        life = told.life(positions.HOLDER, one["operatorId"])
        row = at(life, LAST)
        assert one["shares"] == str(row.shares)
        assert one["stake"] == str(positions.stake(row.shares, life.price(LAST)))
        assert one["storageFeeDeposit"] == str(row.fee)
        assert one["onHold"] == str(row.on_hold)
        assert one["leaving"] == str(leaving(life, LAST))
        worth = staked(life, LAST) + leaving(life, LAST)
        paid_in, _ = paid(life, 0, LAST)
        assert (one["worth"], one["paidIn"], one["gain"]) == (
            str(worth),
            str(paid_in),
            str(worth - paid_in),
        )
        gains += worth - paid_in
    assert answer["total"]["gain"] == str(gains)
    assert answer["total"]["worth"] == str(sum(int(one["worth"]) for one in answer["positions"]))


def test_an_unlock_has_its_block_and_a_time_by_the_pace_of_the_chain(told: Told) -> None:
    [first, _] = told.api.get(f"/api/nominators/{positions.HOLDER}").json["positions"]
    [waiting] = first["unlocking"]
    block = positions.head(37) + positions.LOCK
    assert (waiting["block"], waiting["due"]) == (block, False)
    ended = history.BEGUN + LAST * history.EPOCH
    blocks = block - positions.head(LAST)
    assert waiting["estimatedTimestamp"] == ended + blocks * history.EPOCH // 100
    [then] = told.api.get(f"/api/nominators/{positions.WHOLE_LIFE}?to=24").json["positions"]
    assert [one["due"] for one in then["unlocking"]] == [True, False]
    assert then["unlocking"][0]["estimatedTimestamp"] is None


def test_shares_that_leave_are_told_with_the_block_they_will_wait_for(told: Told) -> None:
    [then] = told.api.get(f"/api/nominators/{positions.WHOLE_LIFE}?to=15").json["positions"]
    life = told.life(positions.WHOLE_LIFE, 1)
    shares, block, refund = at(life, 15).withdrawing
    assert then["withdrawing"] == {
        "shares": str(shares),
        "amount": str(positions.stake(shares, life.price(15))),
        "storageFeeRefund": str(refund),
        "block": block,
        "due": False,
        "estimatedTimestamp": history.BEGUN + (15 + 5) * history.EPOCH,
    }


@pytest.mark.parametrize(("first", "last"), [(0, 39), (4, 12), (9, 17), (16, 23), (22, 39)])
def test_the_gain_of_any_span_is_what_was_not_paid_in(told: Told, first: int, last: int) -> None:
    life = told.life(positions.WHOLE_LIFE, 1)
    path = f"/api/nominators/{positions.WHOLE_LIFE}?from={first}&to={last}"
    [one] = told.api.get(path).json["positions"]
    before = staked(life, first - 1) + leaving(life, first - 1) if first else 0
    paid_in, paid_out = paid(life, first, last)
    after = staked(life, last) + leaving(life, last)
    assert (one["paidIn"], one["paidOut"]) == (str(paid_in), str(paid_out))
    assert one["gain"] == str(after + paid_out - before - paid_in)


def test_the_return_is_the_gain_on_what_was_staked_while_it_was(told: Told) -> None:
    life = told.life(positions.WHOLE_LIFE, 1)
    [one] = told.api.get(f"/api/nominators/{positions.WHOLE_LIFE}").json["positions"]
    first, second = leaving(life, 15), 0  # the second withdrawal leaves nothing
    levels = [(5, 100 * positions.AI3), (7, 150 * positions.AI3)]
    levels.append((6, 150 * positions.AI3 - first))
    invested = sum(epochs * amount for epochs, amount in levels) + second
    mean = Fraction(invested, 18)
    digits = str(round(int(one["gain"]) / mean * 10**18)).zfill(19)
    assert one["milliseconds"] == 18 * history.EPOCH
    assert one["return"] == f"{digits[:-18]}.{digits[-18:]}"
    assert one["endedEpoch"] == 30
    assert int(one["gain"]) == int(one["paidOut"]) - int(one["paidIn"])


def test_a_tax_is_earned_and_not_paid_in(told: Told) -> None:
    answer = told.api.get(f"/api/nominators/{positions.OWNER}").json
    [one] = answer["positions"]
    life = told.life(positions.OWNER, 3)
    assert (one["knownSince"], one["paidIn"]) == (0, "0")
    assert one["tax"] == str(sum(row.tax or 0 for row in life.rows))
    assert one["gain"] == str(staked(life, LAST) - staked(life, 0))


def test_a_slashed_stake_is_lost(told: Told) -> None:
    [one] = told.api.get(f"/api/nominators/{positions.SLASHED}").json["positions"]
    assert (one["endedEpoch"], one["gain"], one["worth"]) == (23, str(-20 * positions.AI3), "0")
    assert one["return"].startswith("-1.")
    answer = told.api.get(f"/api/nominators/{positions.SLASHED}?from=30").json
    assert (answer["positions"], answer["total"]["gain"]) == ([], "0")


def test_a_missing_price_makes_a_worth_unknown_and_no_zero(told: Told) -> None:
    answer = told.api.get(f"/api/nominators/{positions.UNPRICED}").json
    assert answer["total"]["worth"] is None
    assert [answer["positions"][0][name] for name in ("stake", "worth", "gain")] == [None] * 3
    assert answer["positions"][0]["shares"] != "0"


def test_the_history_says_of_every_epoch_what_its_row_and_its_price_make_of_it(told: Told) -> None:
    life = told.life(positions.WHOLE_LIFE, 1)
    rows = told.api.get(f"/api/nominators/{positions.WHOLE_LIFE}/history").json
    assert [row["epoch"] for row in rows] == [e for e in range(3, 31) if e != 20]
    for row in rows:
        epoch = row["epoch"]
        paid_in, paid_out = paid(life, epoch, epoch)
        held = at(life, epoch)
        withdrawn = held.withdrawn if held.epoch == epoch else 0
        assert row["worth"] == str(staked(life, epoch) + leaving(life, epoch)), epoch
        assert (row["paidIn"], row["paidOut"]) == (str(paid_in), str(paid_out)), epoch
        assert row["withdrawnShares"] == str(withdrawn), epoch
        totals = tuple(map(str, paid(life, 0, epoch)))
        assert (row["paidInTotal"], row["paidOutTotal"]) == totals, epoch


def test_the_history_has_what_the_view_by_epoch_has_and_besides_the_epochs_of_ends(
    told: Told,
) -> None:
    by_epoch: dict[str, list[list[str | None]]] = {}
    for nominator, *row in told.api.rows(
        "SELECT nominator, epoch::text, operator_id::text, shares_raw, CASE WHEN shares_raw = '0'"
        " THEN '0' ELSE stake_raw END, pending_raw, withdrawing_shares_raw, unlocking_raw,"
        " storage_fee_deposit_raw, on_hold_raw FROM nominator_positions_by_epoch_text AS one"
        " ORDER BY nominator, one.epoch, one.operator_id"
    ):
        by_epoch.setdefault(nominator, []).append(row)
    ends = set(
        told.api.rows(
            "SELECT nominator, epoch::text, operator_id::text FROM nominator_positions WHERE ended"
        )
    )
    names = ("shares", "stake", "pending", "withdrawingShares", "unlocking")
    for nominator, rows in by_epoch.items():
        told_of = [
            [str(row["epoch"]), str(row["operatorId"])]
            + [row[name] for name in (*names, "storageFeeDeposit", "onHold")]
            for row in told.api.get(f"/api/nominators/{nominator}/history").json
        ]
        assert [row for row in told_of if (nominator, *row[:2]) not in ends] == rows
        assert {(nominator, *row[:2]) for row in told_of if row not in rows} <= ends
    assert len(by_epoch) > len(positions.SMALL)


@pytest.mark.parametrize("account", positions.TELLING)
def test_a_span_of_the_history_is_that_part_of_the_whole(told: Told, account: str) -> None:
    path = f"/api/nominators/{account}/history"
    whole = told.api.get(path).json
    for first, last in ((0, LAST), (5, 28), (13, 23), (26, 26), (33, LAST), (LAST, LAST)):
        part = [row for row in whole if first <= row["epoch"] <= last]
        assert told.api.get(f"{path}?from={first}&to={last}").json == part


def test_who_comes_back_has_a_gap_in_the_history_and_totals_over_all_of_it(told: Told) -> None:
    rows = told.api.get(f"/api/nominators/{positions.RETURNER}/history?from=10").json
    gone = set(range(13, 24))
    stored = {epoch for (epoch,) in told.api.rows("SELECT epoch FROM nominator_epochs")}
    assert [row["epoch"] for row in rows] == sorted(stored - gone - set(range(10)))
    assert {row["paidInTotal"] for row in rows} == {str(9 * positions.AI3), str(13 * positions.AI3)}
    assert rows[0]["paidOutTotal"] == "0" != rows[-1]["paidOutTotal"] == rows[2]["paidOut"]


@pytest.mark.parametrize("span", [Span(), Span(first=16, last=33), Span(sample=3)], ids=str)
def test_the_history_of_an_account_of_many_changes_is_the_same_part_by_part(
    told: Told, span: Span, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"{Account.__module__}.PAST", 3)  # so that what was before has parts, too

    async def answers(nominator: str) -> set[tuple[bytes, int]]:
        found = set()
        async with await psycopg.AsyncConnection.connect(told.api.dsn) as connection:
            for size in (1, 2, 1_000):
                served = Served()
                async with connection.cursor() as cursor:
                    account = Account(nominator, span, None)
                    parts = account_history.objects(cursor, account, served, size)
                    found.add((b"".join([part async for part in parts]), served.rows))
        return found

    for nominator in positions.TELLING:
        [(body, rows)] = asyncio.run(answers(nominator))
        assert len(json.loads(body)) == rows > 3


@pytest.mark.parametrize("form", ["csv", "parquet", "arrow"])
@pytest.mark.parametrize(
    "path", [f"/api/nominators/{positions.HOLDER}/history?from=30", "/api/operators/1/flows?from=0"]
)
def test_every_form_of_a_table_says_what_the_json_says(told: Told, path: str, form: str) -> None:
    body = told.api.get(f"{path}&format={form}").body
    if form == "csv":
        rows = list(csv.DictReader(io.StringIO(body.decode())))
    else:
        read = pl.read_parquet if form == "parquet" else pl.read_ipc_stream
        rows = [
            {name: "" if value is None else str(value) for name, value in row.items()}
            for row in read(io.BytesIO(body)).iter_rows(named=True)
        ]
    exact = [
        ["" if value is None else str(value) for value in row.values()]
        for row in told.api.get(path).json
    ]
    assert [list(row.values()) for row in rows] == exact


def test_a_sample_keeps_the_last_epoch_and_all_in_which_something_was_paid(told: Told) -> None:
    path = f"/api/nominators/{positions.WHOLE_LIFE}/history"
    epochs = [row["epoch"] for row in told.api.get(f"{path}?sample=3").json]
    every_ninth, paid_for = [3, 12, 22, 30], [3, 8, 15, 21, 25, 30]
    assert epochs == sorted({*every_ninth, *paid_for})
    only = told.api.get(f"/api/nominators/{positions.HOLDER}/history?operators=4").json
    assert {row["operatorId"] for row in only} == {4}


@pytest.mark.parametrize("sample", ["", "&sample=3"])
def test_of_a_time_that_is_still_to_come_there_is_nothing_to_tell(told: Told, sample: str) -> None:
    path = f"/api/nominators/{positions.HOLDER}/history?from={LAST + 1}{sample}"
    reply = told.api.get(path, seconds=10)
    assert (reply.status, reply.json) == (200, [])


def test_a_sample_goes_on_to_its_end_though_what_goes_on_changes_after_it(told: Told) -> None:
    path = f"/api/nominators/{positions.LEAVER}/history?to=33&sample=3"
    last = told.api.get(path).json[-1]
    assert (last["epoch"], last["operatorId"]) == (33, 4)
    ended = told.api.get(f"{path}&operators=5").json[-1]
    assert (ended["epoch"], ended["operatorId"]) == (28, 5)


def test_what_was_paid_out_is_unknown_from_an_unknown_unlock_on(told: Told) -> None:
    path = f"/api/nominators/{positions.LEAVER}"
    rows = told.api.get(f"{path}/history?operators=5").json
    assert {(row["paidInTotal"], row["paidOutTotal"]) for row in rows[:-1]} == {
        (str(30 * positions.AI3), "0")
    }
    assert rows[-1]["epoch"] == 28
    assert [rows[-1][name] for name in ("worth", "paidIn", "paidOut")] == ["0", "0", None]
    assert (rows[-1]["paidInTotal"], rows[-1]["paidOutTotal"]) == (str(30 * positions.AI3), None)
    gained = {one["operatorId"]: one["gain"] for one in told.api.get(path).json["positions"]}
    assert (gained[5], gained[4] is None) == (None, False)


def test_totals_are_of_the_time_since_where_history_begins_in_the_middle(told: Told) -> None:
    rows = told.api.get(f"/api/nominators/{positions.OWNER}/history").json
    assert (rows[0]["paidIn"], rows[0]["tax"]) == (None, None)
    assert {(row["paidInTotal"], row["paidOutTotal"]) for row in rows} == {("0", "0")}


def test_a_tax_that_nobody_knows_is_unknown_for_all_spans_with_it_and_no_others(
    server: str, migrated: str
) -> None:
    with database(server, migrated) as dsn:
        with psycopg.connect(dsn, autocommit=True) as connection:
            history.write(connection, 0, LAST, 6, raw=False)
            positions.write(connection)
            connection.execute(
                "UPDATE nominator_positions SET (deposited_raw, deposited_storage_fee_raw, tax_raw,"
                " tax_storage_fee_raw, withdrawn_shares_raw, released_raw,"
                " released_storage_fee_raw) = (NULL, NULL, NULL, NULL, NULL, NULL, NULL)"
                " WHERE operator_id = 3 AND epoch = 11"
            )
        with serving(dsn) as api:
            taxes = {}
            for span in ("from=0", "from=1", "from=0&to=10", "from=12", "from=12&to=15"):
                answer = api.get(f"/api/nominators/{positions.OWNER}?{span}").json
                taxes[span] = answer["positions"][0]["tax"]
                assert answer["total"]["tax"] == taxes[span]
            rows = api.get(f"/api/nominators/{positions.OWNER}/history").json
    tax = {epoch: positions.AI3 // 1_000 + epoch for epoch in range(3, 40, 4)}
    assert taxes == {
        "from=0": None,
        "from=1": None,
        "from=0&to=10": str(tax[3] + tax[7]),
        "from=12": str(sum(tax[epoch] for epoch in range(15, 40, 4))),
        "from=12&to=15": str(tax[15]),
    }
    totals = [row["paidInTotal"] for row in rows]
    assert (set(totals[:11]), set(totals[11:])) == ({"0"}, {None})


def test_nominators_come_largest_first_and_page_by_page(told: Told) -> None:
    first = told.api.get("/api/operators/1/nominators?limit=10").json
    assert first["nominatorCount"] == 26
    shares = [told.life(account, 1).now.shares for account in positions.SMALL]
    holder = told.life(positions.HOLDER, 1).now.shares
    assert first["largest"]["1"] == str(max(shares, default=0) if holder < max(shares) else holder)
    assert first["largest"]["100"] == str(sum(shares) + holder)
    found, offset = [], 0
    while offset is not None:
        page = told.api.get(f"/api/operators/1/nominators?limit=10&offset={offset}").json
        found += page["nominators"]
        offset = page["nextOffset"]
    assert [int(one["shares"]) for one in found] == sorted([*shares, holder], reverse=True)
    for one in found:
        exact = Fraction(int(one["shares"]), int(first["shares"]))
        assert 0 <= exact - Fraction(one["shareOfPool"]) < Fraction(1, 10**18)


def test_flows_add_up_what_came_and_what_went(told: Told) -> None:
    flows = {row["epoch"]: row for row in told.api.get("/api/operators/1/flows").json}
    assert flows[10]["deposits"] == len(positions.SMALL)
    assert flows[10]["paidIn"] == str(sum(range(1, 26)) * positions.AI3)
    whole = told.life(positions.WHOLE_LIFE, 1)
    shares = at(whole, 15).withdrawing[0]
    assert flows[15]["withdrawn"] == str(positions.stake(shares, whole.price(15)))
    assert flows[25]["paidOut"] == str(paid(whole, 25, 25)[1])
    assert set(flows) == {2, 3, 8, 10, 15, 21, 25, 30, 37}
    [unknown, *taxed] = told.api.get("/api/operators/3/flows").json
    assert [name for name, value in unknown.items() if value is not None] == ["epoch", "timestamp"]
    assert all(row["paidIn"] == "0" != row["tax"] for row in taxed)


def test_a_payment_of_unknown_amount_leaves_what_else_happened_in_its_epoch_known(
    told: Told,
) -> None:
    flows = {row["epoch"]: row for row in told.api.get("/api/operators/5/flows").json}
    assert (flows[28]["deposits"], flows[28]["paidIn"]) == (1, str(2 * positions.AI3))
    assert (flows[28]["unlocks"], flows[28]["paidOut"]) == (1, None)
    assert (flows[28]["withdrawals"], flows[28]["withdrawn"], flows[28]["tax"]) == (0, "0", "0")


def test_what_is_no_account_or_has_no_position_is_said_in_a_sentence(told: Told) -> None:
    address = positions.address(positions.HOLDER)
    for text, reason in (
        (address[:-1] + ("2" if address[-1] != "2" else "3"), "wrong checksum"),
        ("0x1234", "has 4 hex digits"),
        (address[:9], "bytes, and an address with its prefix has"),
    ):
        reply = told.api.get(f"/api/nominators/{text}/history")
        assert (reply.status, list(reply.json)) == (422, ["detail"])
        assert reason in reply.json["detail"]
    stranger = "0x" + "99" * 32
    for path in (f"/api/nominators/{stranger}", f"/api/nominators/{stranger}/history?format=csv"):
        reply = told.api.get(path)
        assert reply.status == 404
        assert "never had a position: 32 accounts had one in epochs 0 to 39" in reply.json["detail"]
    early = told.api.get(f"/api/nominators/{positions.WHOLE_LIFE}?to=2")
    assert (early.status, "its first is of epoch 3" in early.json["detail"]) == (404, True)
    for path in ("nominators", "flows"):
        assert told.api.get(f"/api/operators/77/{path}").status == 404
    for limit in ("0", "all"):
        refused = told.api.get(f"/api/operators/1/nominators?limit={limit}").json["detail"]
        assert refused == f"limit must be a whole number from 1 to 1000, and is '{limit}'"


@pytest.fixture(scope="module")
def leaving_out(server: str, migrated: str) -> Iterator[Api]:
    with database(server, migrated) as dsn:
        with psycopg.connect(dsn, autocommit=True) as connection:
            history.write(connection, 0, 1, 1)
        with serving(dsn, NOMINATORS="off") as served:
            yield served


def test_nominators_that_are_left_out_are_not_served_and_the_answer_says_so(
    leaving_out: Api,
) -> None:
    for path in (
        f"/api/nominators/{positions.HOLDER}",
        f"/api/nominators/{positions.HOLDER}/history",
        "/api/operators/0/nominators",
        "/api/operators/0/flows",
    ):
        reply = leaving_out.get(path)
        assert (reply.status, "NOMINATORS=off" in reply.json["detail"]) == (404, True)
    assert leaving_out.get("/api/operators/0").status == 200
