"""What nominators have: storage that converts lazily and books that convert at once agree."""

import json
from collections import Counter
from dataclasses import replace
from itertools import pairwise
from typing import Any
from urllib.request import Request, urlopen

import pytest
from substrateinterface import SubstrateInterface
from substrateinterface.utils.hasher import xxh128

from operator_prices.devchain.chain import DevChain
from operator_prices.devchain.journal import Act, EpochEnd
from operator_prices.devchain.positions import Holder, Position
from operator_prices.devchain.scenario import Layout, Scenario, Upgrade
from operator_prices.devchain.serving import serving
from operator_prices.devchain.truth import EpochTruth
from operator_prices_tests.support.decoded_chain import ONE, Decoded, Played, played, worth

LIVELY = Scenario(
    epochs=60,
    operators=8,
    seconds_per_block=0,
    seed=11,
    locking_epochs=8,
    careers_over=40,
    forced=(20, 21),
    missed=(25,),
    jumps=(30,),
)
CROWDED = Scenario(
    epochs=40,
    operators=6,
    seconds_per_block=0,
    locking_epochs=5,
    nominators=60,
    acting_per_mille=100,
)
UPGRADED = Scenario(
    epochs=32,
    operators=6,
    seconds_per_block=0,
    locking_epochs=4,
    layout=Layout.PERBILL_REWARDS,
    upgrades=(
        Upgrade(layout=Layout.PERBILL, epoch=9, at="end"),
        Upgrade(layout=Layout.PERQUINTILL, epoch=18, at="transition"),
    ),
)
LEAVING, SLASHED = 2, 3


@pytest.fixture(scope="module")
def lively() -> Played:
    return played(DevChain(LIVELY))


def acts(chain: DevChain, kind: str) -> list[Act]:
    found = chain.domains[0].staking.journal.acts
    return [one for one in found if isinstance(one, Act) and one.kind == kind]


def converted(
    end: Decoded, holder: Holder, truth: EpochTruth, unit: int
) -> tuple[int, int, int, tuple[tuple[int, int], ...], int]:
    """Shares, pending, withdrawing, unlocking and fees, as a reader has them from storage."""
    operator_id, deposit = holder[0], end.deposits[holder]
    shares, fee = deposit["known"]["shares"], deposit["known"]["storage_fee_deposit"]
    pending = withdrawing = 0
    if (entering := deposit["pending"]) is not None:
        fee += entering["storage_fee_deposit"]
        price = end.prices.get((operator_id, entering["effective_domain_epoch"][1]))
        if price is None:
            pending = entering["amount"]
        else:
            shares += entering["amount"] * price * unit // ONE
    withdrawal = end.withdrawals.get(holder) or {"withdrawals": [], "withdrawal_in_shares": None}
    unlocking = [
        (one["unlock_at_confirmed_domain_block_number"], one["amount_to_unlock"])
        for one in withdrawal["withdrawals"]
    ]
    if (leaving := withdrawal["withdrawal_in_shares"]) is not None:
        epoch = leaving["domain_epoch"][1]
        price = end.prices.get((operator_id, epoch))
        if price is not None:
            amount = worth(leaving["shares"], price * unit)
            unlocking.append((leaving["unlock_at_confirmed_domain_block_number"], amount))
        elif epoch < truth.epoch and truth.operators[operator_id].status == "Deregistered":
            shares += leaving["shares"]
        else:
            withdrawing = leaving["shares"]
    return shares, pending, withdrawing, tuple(unlocking), fee


def check_positions(played: Played) -> Counter[str]:
    """Compare every position of every epoch with the storage; count what was seen."""
    seen: Counter[str] = Counter()
    for truth, positions in played.chain.positions():
        end = played.read(truth.end_block)
        runtime = played.chain.runtimes[played.chain.executing_runtime(truth.end_block)]
        unit = 10**18 // runtime.price_unit
        assert set(positions) == {key for key in end.deposits if key[0] in truth.operators}
        assert set(end.withdrawals) <= set(end.deposits)
        for holder, one in positions.items():
            expected = (
                *(one.shares, one.pending, one.withdrawing_shares),
                *(one.unlocking, one.storage_fee_deposit),
            )
            assert converted(end, holder, truth, unit) == expected, (truth.epoch, holder)
            assert one.on_hold == (end.on_hold.get(holder, 0) if runtime.holds else None)
            seen.update(
                positions=1,
                pending=one.pending > 0,
                withdrawing=one.withdrawing_shares > 0,
                unlocking=len(one.unlocking) > 1,
                gone=not (one.shares or one.pending),
                on_hold=one.on_hold is not None,
                unpriced=one.stake is None,
            )
    return seen


def test_every_position_of_every_epoch_is_what_the_storage_is_once_converted(
    lively: Played,
) -> None:
    seen = check_positions(lively)
    assert seen["positions"] == seen["on_hold"] > 900
    assert min(seen["pending"], seen["withdrawing"], seen["unlocking"], seen["gone"]) > 30


@pytest.mark.parametrize("scenario", [CROWDED, UPGRADED], ids=["crowd", "older layouts"])
def test_so_it_is_with_a_crowd_and_with_older_layouts(scenario: Scenario) -> None:
    seen = check_positions(played(DevChain(scenario)))
    assert min(seen["pending"], seen["withdrawing"], seen["unlocking"]) > 5
    assert (seen["on_hold"] < seen["positions"]) == (scenario is UPGRADED)


def test_a_crowd_comes_in_over_ten_epochs_and_then_a_part_of_it_acts_in_each() -> None:
    chain = DevChain(CROWDED)
    players = chain.domains[0].players
    crowd = {players.one_of_the_crowd(number) for number in range(CROWDED.nominators)}
    assert len(crowd) == 60
    present = {
        truth.epoch: {account for _, account in positions} & crowd
        for truth, positions in chain.positions({1, 5, 10, 20})
    }
    assert [len(present[epoch]) >= 6 * epoch for epoch in (1, 5)] == [True, True]
    assert len(present[5]) < len(present[10]) == 60
    assert len(present[20]) > 45  # some have staked on an operator that was slashed since
    starts = [one.transition_block for one in chain.truth()]
    acting = [
        {
            act.account
            for kind in ("deposit", "withdraw", "unlock")
            for act in acts(chain, kind)
            if start < act.block <= end
        }
        & crowd
        for start, end in pairwise(starts[10:])
    ]
    assert max(map(len, acting)) <= 6
    assert sum(map(len, acting)) > 3 * len(acting)


def test_the_books_have_the_pools_that_the_chain_has(lively: Played) -> None:
    """Stake, shares and fees of every operator, though the books know only what was done."""
    books, done = lively.chain.books(), iter(lively.chain.domains[0].staking.journal.acts)
    act = next(done)
    for truth in lively.chain.truth():
        while act.block <= truth.end_block:
            books.apply(act)
            act = next(done)
        found = {
            key: (pool.stake, pool.shares, pool.fees, pool.tax, pool.owner)
            for key, pool in books.pools.items()
        }
        assert found == {
            key: (one.stake, one.shares, one.storage_fee_deposit, one.tax, one.owner)
            for key, one in truth.operators.items()
        }


def test_the_sums_hold_at_every_epoch(lively: Played) -> None:
    conversions = in_time = 0
    registered: set[int] = set()  # in its first epoch a pool counts nothing yet
    for truth, positions in lively.chain.positions():
        for operator_id, operator in truth.operators.items():
            own = [one for key, one in positions.items() if key[0] == operator_id]
            assert sum(one.storage_fee_deposit for one in own) == operator.storage_fee_deposit
            if operator_id not in registered:
                continue
            shares = sum(one.shares + one.withdrawing_shares for one in own)
            assert 0 <= operator.shares - shares <= conversions
            price = operator.published_price
            assert price is not None
            worths = [one.stake for one in own if one.stake is not None]
            assert len(worths) == len(own)
            assert 0 < sum(worths) <= worth(operator.shares, price)
            reward = operator.reward - operator.reward * operator.tax // 100
            if price == operator.shares * ONE // (operator.stake + reward):  # else more came late
                in_time += 1
                assert worth(operator.shares, price) <= operator.stake + reward
        registered |= set(truth.operators)
        conversions += sum(one.pending > 0 for one in positions.values()) + len(truth.operators)
    assert in_time > 200


def test_a_nominator_gets_back_what_was_released_and_minted(lively: Played) -> None:
    """Payouts are the books', and who has left for good has had all that was held, and the gain."""
    chain = lively.chain
    journal, books = chain.domains[0].staking.journal, chain.books()
    for act in journal.acts:
        books.apply(act)
    assert books.payouts == journal.payouts
    assert sum(one.minted > 0 for one in journal.payouts) > 10
    left = {one.account for one in journal.payouts if one.operator_id == LEAVING}
    paid_in: Counter[bytes] = Counter()
    for act in acts(chain, "deposit"):
        if act.operator_id == LEAVING:
            paid_in[act.account] += act.number - act.number // 5
    (owner,) = {one.account for one in acts(chain, "register") if one.operator_id == LEAVING}
    assert left == set(paid_in) > {owner}
    for account in left - {owner}:
        own = [
            one for one in journal.payouts if (one.operator_id, one.account) == (LEAVING, account)
        ]
        assert sum(one.released for one in own) == paid_in[account]
        assert sum(one.minted for one in own) > 0


def test_nothing_is_lost_and_nothing_comes_from_nowhere(lively: Played) -> None:
    """Paid in and earned is paid out, spent, taken by the treasury, or still there."""
    chain = lively.chain
    journal, books = chain.domains[0].staking.journal, chain.books()
    earned = charged = 0
    for act in journal.acts:
        books.apply(act)
        if isinstance(act, EpochEnd):
            earned += sum(act.rewards.values())
            charged += sum(act.charges.values())
    paid_in = sum(act.number for act in acts(chain, "deposit"))
    paid_out = sum(one.released + one.minted + one.refunded for one in journal.payouts)
    there = sum(
        pool.stake
        + pool.entering
        + pool.fund
        + sum(
            account.leaving_refund + sum(amount + fee for _, amount, fee in account.waiting)
            for account in pool.accounts.values()
        )
        for pool in books.pools.values()
    )
    rounded_off = paid_in + earned - (paid_out + charged + books.treasury + there)
    assert abs(rounded_off) < 2 * len(journal.acts)
    ghosts = sum(
        amount
        for truth in chain.truth()
        for operator_id, amount in truth.rewards.items()
        if (one := truth.operators.get(operator_id)) is None or one.status == "PendingSlash"
    )
    assert list(chain.truth())[-1].after.treasury == books.treasury + ghosts > ghosts > 0


def test_the_lives_of_nominators_show_all_that_the_chain_can_do(lively: Played) -> None:
    chain = lively.chain
    born = {act.operator_id: act.block for act in acts(chain, "register")}
    starts = [0, *(one.transition_block for one in chain.truth(0))]
    deposits = acts(chain, "deposit")

    def epoch_of(block: int) -> int:
        return sum(start <= block for start in starts)

    in_one_epoch = Counter((act.operator_id, act.account, epoch_of(act.block)) for act in deposits)
    assert max(in_one_epoch.values()) > 1
    first_epoch = [
        act for act in deposits if epoch_of(act.block) == epoch_of(born[act.operator_id])
    ]
    owners = {act.account for act in acts(chain, "register")}
    second = Counter(act.account for act in first_epoch)
    assert all(second[owner] == 2 for owner in owners)
    assert set(second) > owners
    leaving = [act for act in acts(chain, "leave") if act.operator_id == LEAVING]
    assert len({act.block for act in leaving}) == len(leaving) > 3
    assert leaving[-1].account in owners
    assert [act.operator_id for act in acts(chain, "slash")] == [SLASHED]
    traveller = chain.domains[0].players.traveller
    whole = [
        [one for _, positions in chain.positions() if (one := positions.get((key, traveller)))]
        for key in born
    ]
    assert any(is_a_whole_life(life) for life in whole)
    assert sum(map(bool, whole)) > 4  # one account stakes on several operators


def is_a_whole_life(life: list[Position]) -> bool:
    """More was paid in, then a part withdrawn, then all of it, and unlocked to the last."""
    shares = [one.shares for one in life]
    rises = any(before < after for before, after in pairwise(shares))
    falls = any(before > after > 0 for before, after in pairwise(shares))
    return rises and falls and 0 in shares and any(len(one.unlocking) > 1 for one in life)


def test_the_owners_tax_is_a_deposit_at_each_finalization(lively: Played) -> None:
    before: dict[Holder, Position] = {}
    grown = 0
    for truth, positions in lively.chain.positions():
        for operator_id, operator in truth.operators.items():
            holder = (operator_id, operator.owner)
            if operator.tax and operator.reward and (holder in before):
                on_hold, now = before[holder].on_hold, positions[holder].on_hold
                assert on_hold is not None
                assert now is not None
                grown += now > on_hold
        before = positions
    assert grown > 200


@pytest.fixture
def young() -> DevChain:
    return DevChain(Scenario(epochs=4, operators=2, seconds_per_block=0, locking_epochs=2))


def held(chain: DevChain, account: bytes) -> list[object]:
    items = ("Deposits", "Withdrawals", "DepositOnHold")
    return [chain.ledger.read(item, 0, account) for item in items]


def test_a_deposit_below_the_minimum_is_refused_and_changes_nothing(young: DevChain) -> None:
    staking, account = young.domains[0].staking, b"n" * 32
    operator, journal = staking.operator(0), len(staking.journal.acts)
    assert operator is not None
    least = operator.minimum_nominator_stake
    assert not staking.deposit(0, account, least - 1)
    assert held(young, account) == [None, None, None]
    assert (staking.operator(0), len(staking.journal.acts)) == (operator, journal)
    assert staking.deposit(0, account, least)
    assert staking.deposit(0, account, 1)  # the minimum is for all that is pending
    assert held(young, account)[2] == least - least // 5 + 1


def test_a_withdrawal_that_would_leave_less_than_the_minimum_takes_all(young: DevChain) -> None:
    staking, account = young.domains[0].staking, b"n" * 32
    operator = staking.operator(0)
    assert operator is not None
    assert staking.deposit(0, account, 2 * operator.minimum_nominator_stake)
    assert not staking.withdraw(0, account, 1)  # nothing is known before the epoch is over
    until_next_epoch(young)
    shares = staking.shares_of(0, account)
    assert not staking.withdraw(0, account, shares + 1)
    assert not staking.unlock_funds(0, account)
    assert staking.withdraw(0, account, shares * 3 // 4)
    assert staking.shares_of(0, account) == 0
    for _ in range(2):
        assert not staking.unlock_funds(0, account)
        until_next_epoch(young)
    until_next_epoch(young)
    assert staking.unlock_funds(0, account)
    assert held(young, account) == [None, None, None]


def test_an_owner_cannot_leave_its_own_operator(young: DevChain) -> None:
    staking = young.domains[0].staking
    owner = staking.owner(0)
    shares = staking.shares_of(0, owner)
    assert shares
    assert not staking.withdraw(0, owner, shares)
    assert not staking.withdraw(0, owner, shares - 1)
    assert staking.withdraw(0, owner, shares // 2)


def until_next_epoch(chain: DevChain) -> None:
    epoch = chain.domains[0].epoch
    while chain.domains[0].epoch == epoch:
        chain.produce()


def test_a_reorganization_takes_positions_along() -> None:
    chain = DevChain(LIVELY)
    before = dict(last_positions(chain))
    chain.reorg(chain.head - 3_000, extra=150)
    after = dict(last_positions(chain))
    assert before != after
    check_positions(played(chain))


def test_a_chain_that_is_played_longer_has_the_same_positions_before() -> None:
    shorter = DevChain(replace(CROWDED, epochs=20, careers_over=20))
    longer = DevChain(replace(CROWDED, epochs=26, careers_over=20))
    both = zip(shorter.positions(), longer.positions(), strict=False)
    compared = [before == after for (_, before), (_, after) in both]
    assert compared == [True] * 20


def last_positions(chain: DevChain) -> dict[Holder, Position]:
    *_, (_, positions) = chain.positions()
    return positions


def test_entries_are_listed_page_by_page_of_all_operators_and_of_one(lively: Played) -> None:
    head = lively.read(lively.chain.head)
    with serving(lively.chain) as node:

        def ask(*params: object) -> Any:  # noqa: ANN401 - whatever was answered
            body = {"jsonrpc": "2.0", "id": 1, "method": "state_getKeysPaged", "params": params}
            request = Request(node.http_url, json.dumps(body).encode(), method="POST")  # noqa: S310
            with urlopen(request) as response:  # noqa: S310
                return json.load(response)["result"]

        def listed(prefix: str) -> list[str]:
            page, keys = ask(prefix, 3), []
            while page:
                keys += page
                page = ask(prefix, 3, page[-1])
            return keys

        for item, entries in (
            ("Deposits", set(head.deposits)),
            ("Withdrawals", set(head.withdrawals)),
            ("DepositOnHold", set(head.on_hold)),
        ):
            prefix = "0x" + (xxh128(b"Domains") + xxh128(item.encode())).hex()
            expected = sorted(
                prefix + key.to_bytes(8, "little").hex() + account.hex() for key, account in entries
            )
            assert listed(prefix) == expected
            one = prefix + (4).to_bytes(8, "little").hex()
            assert listed(one) == [key for key in expected if key.startswith(one)] != []


def test_substrate_interface_reads_entries_and_the_locking_period(lively: Played) -> None:
    truth, positions = next(lively.chain.positions({40}))
    with serving(lively.chain) as node, SubstrateInterface(url=node.url) as substrate:
        assert substrate.get_constant("Domains", "StakeWithdrawalLockingPeriod").value == 800
        for (operator_id, account), one in list(positions.items())[:12]:
            key = [operator_id, "0x" + account.hex()]
            on_hold = substrate.query("Domains", "DepositOnHold", [key], truth.end_hash)
            deposit = substrate.query("Domains", "Deposits", key, truth.end_hash).value
            assert on_hold.value == one.on_hold
            pending = deposit["pending"] or {"storage_fee_deposit": 0}
            fees = deposit["known"]["storage_fee_deposit"] + pending["storage_fee_deposit"]
            assert fees == one.storage_fee_deposit
