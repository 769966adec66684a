"""Accounts that nobody knows yet are found in as few messages as may be."""

from pathlib import Path

import polars as pl
import psycopg
import pytest

from operator_prices import store
from operator_prices.chain import Listing
from operator_prices.chain.entries import Pair
from operator_prices.chain.substrate import histories, keys, listing, paging
from operator_prices.chain.substrate.listing import LAST, spans
from operator_prices.chain.substrate.paging import Span
from operator_prices.devchain.chain import DevChain
from operator_prices.devchain.scenario import Scenario
from operator_prices.devchain.serving import serving
from operator_prices_tests.support.filling import fill
from operator_prices_tests.support.followed import stored_positions, true_positions
from operator_prices_tests.support.samples import reading, truth_of

CROWD = Scenario(
    seconds_per_block=0, epochs=14, operators=12, nominators=150, acting_per_mille=100, forced=()
)
PLAYED = DevChain(CROWD)
EPOCHS = range(len(truth_of(PLAYED)))
DEPOSITS = keys.prefix("Domains", "Deposits")

NEW = """
SELECT count(DISTINCT operator_id) FROM (
  SELECT operator_id, nominator, min(epoch) AS first FROM raw_nominators GROUP BY 1, 2) AS pair
WHERE first = %s
"""


def test_an_epoch_costs_two_messages_more_at_most_however_many_operators_have_new_accounts(
    database: psycopg.Connection, tmp_path: Path
) -> None:
    costs = {}
    with serving(PLAYED) as node, reading(node.url, tmp_path) as chain:
        fill(chain, database, nominators=True)
        for epoch in EPOCHS[1:]:
            sent = []
            for known in (None, store.nominators_before(database, epoch)):
                before = chain.requests
                chain.read([epoch], known)
                sent.append(chain.requests - before)
            new = database.execute(NEW, [epoch]).fetchone() or (0,)
            costs[epoch] = (new[0], sent[1] - sent[0])
    assert max(new for new, _ in costs.values()) > 5
    assert {cost for new, cost in costs.values() if new} == {2}
    assert max(cost for _, cost in costs.values()) == 2
    assert stored_positions(database) == true_positions(PLAYED)


@pytest.mark.e2e
@pytest.mark.parametrize("page", [1000, 7])
@pytest.mark.parametrize("batch_limit", [None, 3, 0])
def test_pages_of_any_size_and_any_node_show_the_same(
    page: int, batch_limit: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(limit: int | None = None) -> pl.DataFrame:
        pieces = (EPOCHS[:6], EPOCHS[6:7], EPOCHS[7:])
        with (
            serving(PLAYED, batch_limit=limit) as node,
            reading(node.url, tmp_path) as chain,
        ):
            read = list(chain.read_each(pieces, lambda _: Listing()))
        found = pl.concat([one.nominators for one in read])
        return found.sort("epoch", "operator_id", "nominator")

    right = read()
    monkeypatch.setattr(paging, "PAGE", page)
    monkeypatch.setattr(listing, "EXPECTED", page * 4 // 5)
    monkeypatch.setattr(histories, "PAIRS_OF_MANY", 4 * page)
    assert read(batch_limit).equals(right)


def account(number: int) -> str:
    return f"0x{number:064x}"


def pairs_of(sizes: dict[int, int]) -> dict[int, list[Pair]]:
    """So many accounts of each operator."""
    return {
        operator: [(operator, account(number)) for number in range(size)]
        for operator, size in sizes.items()
    }


def test_what_lies_near_to_each_other_comes_in_one_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "EXPECTED", 10)
    sizes = {1: 4, 2: 3, 3: 2, 4: 9, 5: 25, 6: 4}
    known = pairs_of(sizes)

    def end(operator: int) -> str:
        return of(operator) + LAST

    def of(operator: int, at: int | None = None) -> str:
        return DEPOSITS + keys.u64(operator) + ("" if at is None else account(at)[2:])

    assert spans("0x01", [1, 3, 5, 6, 7], known) == [
        Span(DEPOSITS, "0x01", of(1), end(3)),
        Span(of(5), "0x01", of(5), of(5, 10)),
        Span(of(5), "0x01", of(5, 10), of(5, 20)),
        Span(DEPOSITS, "0x01", of(5, 20), end(7)),
    ]
    assert spans("0x01", [4], known) == [Span(of(4), "0x01", of(4), end(4))]
    assert spans("0x01", [], known) == []
    full = pairs_of({1: 20, 2: 4, 8: 0})
    assert spans("0x01", [1, 2], full)[1:] == [
        Span(of(1), "0x01", of(1, 10), end(1)),
        Span(of(2), "0x01", of(2), end(2)),
    ]
    assert spans("0x01", [8, 9], full) == [Span(DEPOSITS, "0x01", of(8), end(9))]
