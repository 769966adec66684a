"""Nominators are followed at little cost, and what cannot be true of them is kept apart."""

import asyncio
import re
from collections.abc import Callable
from pathlib import Path
from time import monotonic

import polars as pl
import psycopg
import pytest

from operator_prices import store
from operator_prices.chain import Listing
from operator_prices.chain.substrate import following, keys
from operator_prices.devchain import tampering
from operator_prices.devchain.chain import DevChain
from operator_prices.devchain.scenario import Layout, Scenario, Upgrade
from operator_prices.devchain.server import Call
from operator_prices.devchain.serving import serving
from operator_prices.epochs.windows import EpochWindow
from operator_prices.ingest import ingest
from operator_prices.settings import PROJECT
from operator_prices_tests.support.filling import fill
from operator_prices_tests.support.followed import offending, stored_positions, true_positions
from operator_prices_tests.support.samples import Spoiler, reading, truth_of

PLAYED = DevChain(Scenario(seconds_per_block=0, epochs=40, operators=3, forced=()))
AT = 20
"""The epoch at whose end the node lies."""

DEPOSITS = keys.prefix("Domains", "Deposits")
WINDOW = EpochWindow(0)
NOMINATOR_TABLES = (
    *("nominator_epochs", "raw_nominators", "nominator_positions", "nominator_accounts"),
)


def cut(value: str) -> str:
    return value[:-2]


def of_tomorrow(value: str) -> str:
    """A pending deposit of the epoch after."""
    return value[: 2 + 64] + "01" + "00000000" + (AT + 1).to_bytes(4, "little").hex() + "00" * 32


def too_many(value: str) -> str:
    return "0x" + (2**100).to_bytes(16, "little").hex() + value[34:]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (cut, "bytes are no Deposits of spec version"),
        (of_tomorrow, f"a deposit is pending of epoch {AT + 1} at the end of epoch {AT}"),
        (too_many, f"{2**100} shares are more than the operator has in all"),
    ],
)
def test_an_entry_that_cannot_be_true_is_named_and_the_rest_goes_on(
    change: Callable[[str], str], reason: str, database: psycopg.Connection, tmp_path: Path
) -> None:
    spoiler = Spoiler(DEPOSITS, change, at=truth_of(PLAYED)[AT].end_hash)
    with serving(PLAYED, tamper=spoiler) as node, reading(node.url, tmp_path) as chain:
        done = fill(chain, database, nominators=True)
        assert done.epochs_read == len(truth_of(PLAYED))
        assert done.quarantined == 0
        found = database.execute(
            "SELECT epoch, raw, reason FROM quarantine WHERE item = 'Deposits'"
        ).fetchall()
        assert len(found) == done.quarantined_nominators > 0
        assert all((epoch, bool(raw)) == (AT, True) for epoch, raw, _ in found)
        assert all(reason in why for _, _, why in found)
        assert database.execute("SELECT count(*) FROM epochs WHERE NOT complete").fetchone() == (0,)
        incomplete = database.execute("SELECT epoch FROM nominator_epochs WHERE NOT complete")
        assert incomplete.fetchall() == [(AT,)]
        spoiler.active = False
        assert fill(chain, database, nominators=True).epochs_read == 1
    assert stored_positions(database) == true_positions(PLAYED)


class Listings(Spoiler):
    """A node of which nobody may list keys as often as one does who does not come to an end."""

    at_most = 200

    async def __call__(self, call: Call) -> object:
        if call.request["method"] == "state_getKeysPaged":
            self.at_most -= 1
            if self.at_most < 0:
                return tampering.error(call, -32000, "Keys have been listed for too long")
        return await super().__call__(call)


def newcomer() -> tuple[int, int, str]:
    """The first epoch after `AT` at which somebody is there that was not before, and who."""
    before: set[tuple[int, str]] = set()
    for epoch, positions in true_positions(PLAYED).items():
        new = sorted(positions.keys() - before)
        if epoch > AT and new:
            return epoch, *new[0]
        before |= positions.keys()
    raise AssertionError


@pytest.mark.parametrize("alone", [False, True], ids=["from its epoch on", "its epoch alone"])
def test_a_new_account_whose_entry_is_not_understood_is_left_out_and_the_rest_goes_on(
    *, alone: bool, database: psycopg.Connection, tmp_path: Path
) -> None:
    """Nobody knows it before, so it stays unknown however often its operator's keys are listed."""
    epoch, operator, account = newcomer()
    spoilt = frozenset(told.end_hash for told in truth_of(PLAYED) if told.epoch >= epoch)
    key = DEPOSITS + keys.u64(operator) + account[2:]
    tamper = Listings(key, cut, at=spoilt)
    tamper.active = not alone
    with serving(PLAYED, tamper=tamper) as node, reading(node.url, tmp_path) as chain:
        fill(chain, database, nominators=True)
        if alone:
            tamper.active = True
            database.execute("DELETE FROM nominator_epochs WHERE epoch >= %s", [epoch])
            for table in ("raw_nominators", "nominator_positions"):
                query = f"DELETE FROM {table} WHERE epoch >= {epoch}"  # noqa: S608
                database.execute(query.encode())
            before = store.nominators_before(database, epoch)
            assert before is not None
            states = chain.read([epoch], before)
            assert states.nominators_quarantined["epoch"].to_list() == [epoch]
            return
    true = true_positions(PLAYED)
    for at, positions in stored_positions(database).items():
        left_out = {(operator, account)} if at >= epoch else set()
        assert positions == {pair: has for pair, has in true[at].items() if pair not in left_out}
    found = database.execute("SELECT min(epoch), bool_and(storage_key = %s) FROM quarantine", [key])
    assert found.fetchone() == (epoch, True)
    assert offending(database).keys() == {"nominators_understood"}
    read_again = "UPDATE quarantine SET epoch = %s"
    database.execute(read_again, [max(true)])
    assert "storage_fees_add_up" in offending(database)


def test_without_nominators_nothing_of_them_is_asked_or_stored(
    database: psycopg.Connection, tmp_path: Path
) -> None:
    with serving(PLAYED) as node, reading(node.url, tmp_path) as chain:
        fill(chain, database)
        plain = chain.requests
        for table in NOMINATOR_TABLES:
            assert database.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,)  # noqa: S608
        assert ingest(chain, database, WINDOW, nominators=True).changed_nominators > 0
        assert ingest(chain, database, WINDOW, nominators=True).epochs_read == 0
    assert plain <= 2.5 * len(truth_of(PLAYED))


def test_what_was_stored_is_gone_by_what_the_documents_say_and_read_again_when_wanted(
    database: psycopg.Connection, tmp_path: Path
) -> None:
    told = (PROJECT / "docs" / "nominators.md").read_text()
    statements = re.findall(r"^    ((?:TRUNCATE|DELETE) .*;)$", told, re.MULTILINE)
    spoiler = Spoiler(DEPOSITS, cut, at=truth_of(PLAYED)[AT].end_hash)
    with serving(PLAYED, tamper=spoiler) as node, reading(node.url, tmp_path) as chain:
        fill(chain, database, nominators=True)
        spoiler.active = False
        for statement in statements:
            database.execute(statement.encode())
        assert fill(chain, database).epochs_read == 0
        for table in (*NOMINATOR_TABLES, "nominator_positions_by_epoch", "quarantine"):
            assert database.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,)  # noqa: S608
        fill(chain, database, nominators=True)
    assert stored_positions(database) == true_positions(PLAYED)


class Counted:
    """Counts the keys of deposits that a node is asked for."""

    keys = 0

    async def __call__(self, call: Call) -> object:
        if call.request["method"] == "state_queryStorageAt":
            self.keys += sum(key.startswith(DEPOSITS) for key in call.request["params"][0])
        return call.answer()


def test_who_has_acted_once_is_not_looked_for_by_halves(tmp_path: Path) -> None:
    """Entries date what they leave: that costs one reading, and halves of 90 epochs cost seven."""
    many = Scenario(seconds_per_block=0, epochs=100, operators=3, nominators=300, forced=())
    tamper = Counted()
    with (
        serving(DevChain(many), tamper=tamper) as node,
        reading(node.url, tmp_path) as chain,
    ):
        changes = chain.read(range(90), Listing()).nominators.height
    assert 300 < changes < tamper.keys < 2 * changes


@pytest.mark.e2e
def test_a_quiet_epoch_costs_no_request_more_and_another_at_most_two(
    database: psycopg.Connection, tmp_path: Path
) -> None:
    """Each epoch by itself, as who follows the head reads it."""
    costs: dict[bool, list[int]] = {True: [], False: []}
    with serving(PLAYED) as node, reading(node.url, tmp_path) as chain:
        fill(chain, database, nominators=True)
        for epoch in range(1, len(truth_of(PLAYED))):
            before = store.nominators_before(database, epoch)
            sent = []
            for known in (None, before):
                begun = chain.requests
                chain.read([epoch], known)
                sent.append(chain.requests - begun)
            costs[acted(database, epoch)].append(sent[1] - sent[0])
    assert set(costs[False]) == {0}
    assert 0 < max(costs[True]) <= 2
    assert sum(map(len, costs.values())) == len(truth_of(PLAYED)) - 1


def acted(database: psycopg.Connection, epoch: int) -> bool:
    """Whether somebody has paid in or taken out in an epoch; an unlock or a tax is no action."""
    row = database.execute(
        "SELECT coalesce(bool_or(deposited_raw > 0 OR withdrawn_shares_raw > 0), false)"
        " FROM nominator_positions WHERE epoch = %s",
        [epoch],
    ).fetchone()
    return bool(row and row[0])


def overlook(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is seen to act."""
    monkeypatch.setattr(following._Following, "_acting", lambda _: {})  # noqa: SLF001


def test_a_listing_that_has_something_else_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every tenth epoch instead of every thousandth, with an account that was overlooked."""
    monkeypatch.setattr(following, "LISTED_EVERY", 10)
    with serving(PLAYED) as node, reading(node.url, tmp_path) as chain:
        honest = chain.read(range(30), Listing())
        assert honest.nominators_quarantined.is_empty()
        assert honest.nominator_epochs.filter("listed")["epoch"].to_list() == [0, 10, 20]
        overlook(monkeypatch)
        states = chain.read(range(30), Listing())
    told = states.nominators_quarantined
    assert set(told["item"]) == {"NominatorListing"}
    assert set(told["epoch"]) <= {10, 20}
    assert "followed it is nothing, the listing has shares" in " ".join(told["reason"])


def test_what_a_listing_has_disproved_is_read_again(
    database: psycopg.Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody was seen to act; the next run reads all epochs since the listing before."""
    monkeypatch.setattr(following, "LISTED_EVERY", 13)
    with serving(PLAYED) as node, reading(node.url, tmp_path) as chain:
        with monkeypatch.context() as overlooking:
            overlook(overlooking)
            fill(chain, database, nominators=True)
        assert "nominators_as_listed" in offending(database)
        again = fill(chain, database, nominators=True)
        assert again.epochs_read == len(truth_of(PLAYED)) - 1
        assert stored_positions(database) == true_positions(PLAYED)
        assert offending(database) == {}
        assert fill(chain, database, nominators=True).epochs_read == 0


def test_what_is_not_found_by_reading_again_is_read_again_once_and_what_is_listed_holds(
    database: psycopg.Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "LISTED_EVERY", 13)
    overlook(monkeypatch)
    with serving(PLAYED) as node, reading(node.url, tmp_path) as chain:
        fill(chain, database, nominators=True)
        assert fill(chain, database, nominators=True).epochs_read == len(truth_of(PLAYED)) - 1
        assert fill(chain, database, nominators=True).epochs_read == 0
        assert "nominators_as_listed" in offending(database)
        database.execute("DELETE FROM quarantine WHERE item = 'NominatorListing'")
        assert fill(chain, database, nominators=True).epochs_read == 0
    assert "nominators_as_listed" not in offending(database)
    known = database.execute("SELECT bool_and(complete) FROM nominator_epochs").fetchone()
    assert known == (True,)
    stored, true = stored_positions(database), true_positions(PLAYED)
    assert [epoch for epoch in (0, 13, 26) if stored[epoch] != true[epoch]] == []


def test_a_listing_that_is_read_again_first_is_read_again_when_what_it_has_shown_is_found(
    database: psycopg.Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "LISTED_EVERY", 13)
    with serving(PLAYED) as node, reading(node.url, tmp_path) as chain:
        with monkeypatch.context() as overlooking:
            overlook(overlooking)
            fill(chain, database, nominators=True)
        store.keep_nominators(database, chain.read([26], store.nominators_before(database, 26)))
        fill(chain, database, nominators=True)
        assert "nominators_as_listed" in offending(database)
        assert fill(chain, database, nominators=True).epochs_read == 1
        assert offending(database) == {}
    assert stored_positions(database) == true_positions(PLAYED)


def test_what_there_is_before_pieces_that_follow_upon_each_other_is_asked_once(
    tmp_path: Path,
) -> None:
    asked = []

    def before(epoch: int) -> Listing:
        asked.append(epoch)
        return Listing()

    with serving(PLAYED) as node, reading(node.url, tmp_path) as chain:
        pieces = list(chain.read_each([range(10), range(10, 20), range(20, 30)], before))
        whole = chain.read(range(30), Listing())
    assert asked == [0, 10, 20]
    key = ("epoch", "operator_id", "nominator")
    found = pl.concat([one.nominators for one in pieces])
    assert found.sort(key).equals(whole.nominators.sort(key))


UPGRADED_AT = 11
UPGRADED = Scenario(
    seconds_per_block=0,
    epochs=29,
    operators=3,
    seed=8,
    locking_epochs=4,
    forced=(),
    acting_per_mille=20,
    layout=Layout.PERBILL_REWARDS,
    upgrades=(Upgrade(layout=Layout.PERQUINTILL, epoch=UPGRADED_AT),),
)
"""Item `DepositOnHold` comes with a runtime in an epoch in which hardly anybody acts."""


def test_what_another_runtime_makes_of_entries_shows_in_its_epoch_though_nobody_has_acted(
    database: psycopg.Connection, tmp_path: Path
) -> None:
    """Read at once, piece by piece, and its epoch alone."""
    played = DevChain(UPGRADED)
    key = ("epoch", "operator_id", "nominator")
    with serving(played) as node, reading(node.url, tmp_path) as chain:
        fill(chain, database, nominators=True)
        assert stored_positions(database) == true_positions(played)
        whole = chain.read(range(28), Listing()).nominators
        pieces = chain.read_each([range(UPGRADED_AT), range(UPGRADED_AT, 28)], lambda _: Listing())
        assert pl.concat([one.nominators for one in pieces]).sort(key).equals(whole.sort(key))
        before = store.nominators_before(database, UPGRADED_AT)
        alone = chain.read([UPGRADED_AT], before).nominators
    of_epoch = whole.filter(epoch=UPGRADED_AT)
    assert alone.sort(key).equals(of_epoch.sort(key))
    assert alone.filter(pl.col("on_hold").is_not_null()).height > 5


class Slow(Spoiler):
    """A node that takes its time."""

    async def __call__(self, call: Call) -> object:
        await asyncio.sleep(0.03)
        return await super().__call__(call)


def test_time_that_was_waited_is_counted_once(tmp_path: Path) -> None:
    slow = Slow("0x", cut, at=frozenset())
    with serving(PLAYED, tamper=slow) as node, reading(node.url, tmp_path) as chain:
        begun = monotonic()
        list(chain.read_each([range(10)], lambda _: Listing()))
        assert 0.2 < chain.waited <= monotonic() - begun
