"""The states of the development chain obey the rules of staking, as decoded from its SCALE."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operator_prices.devchain.chain import DevChain
from operator_prices.devchain.encoding import Codec
from operator_prices.devchain.metadata import own_metadata
from operator_prices.devchain.records import DeregisteredInfo, Operator, Status, Summary
from operator_prices.devchain.scenario import Layout, Scenario, Upgrade
from operator_prices.devchain.state import State
from operator_prices_tests.support.decoded_chain import (
    ONE,
    Holder,
    Played,
    number,
    played,
    worth,
)

SCENARIO = Scenario(
    epochs=70,
    operators=9,
    seconds_per_block=0,
    seed=3,
    locking_epochs=10,
    late_reward_every=0,
    forced=(20, 21),
    missed=(25,),
    jumps=(30,),
)
LEAVING, SLASHED, INVALID, DEACTIVATED = 2, 3, 4, 5


@pytest.fixture(scope="module", name="played")
def played_scenario() -> Played:
    return played(DevChain(SCENARIO))


def test_epochs_end_where_the_rules_and_their_exceptions_say(played: Played) -> None:
    domain = played.chain.domains[0]
    truth = {one.epoch: one for one in played.chain.truth()}
    assert list(truth) == [epoch for epoch in range(70) if epoch != 31]
    heads = {
        epoch: played.chain.head_domain_number(domain, one.transition_block)
        for epoch, one in truth.items()
    }
    assert [heads[epoch] for epoch in (0, 1, 19)] == [100, 200, 2000]
    assert 2000 < heads[20] < heads[21] < 2100 == heads[22]
    assert (heads[24], heads[25]) == (2300, 2500)
    assert (heads[30], heads[32]) == (3000, 3100)
    for epoch, one in truth.items():
        assert one.transition_block == one.end_block + 1
        if epoch not in {20, 21}:
            assert played.chain.blocks.carries_bundle(one.transition_block)
        step = 2 if epoch == 30 else 1
        assert played.read(one.end_block).summary["current_epoch_index"] == epoch
        assert played.read(one.transition_block).summary["current_epoch_index"] == epoch + step


def test_a_price_is_stored_at_the_transition_block_for_who_had_deposits_or_withdrawals(
    played: Played,
) -> None:
    quiet = 0
    for truth, end, transition in played.ends():
        rewards = dict(end.summary["current_epoch_rewards"])
        for operator_id, operator in end.operators.items():
            tax = rewards.get(operator_id, 0) * operator["nomination_tax"] // 100
            moved = tax or operator["deposits_in_epoch"] or operator["withdrawals_in_epoch"]
            key = (operator_id, truth.epoch)
            if not moved or operator_id not in end.summary["next_operators"]:
                quiet += 1
                assert key not in transition.prices
                continue
            shares = operator["current_total_shares"]
            stake = operator["current_total_stake"] + rewards.get(operator_id, 0) - tax
            assert transition.prices[key] == (shares * ONE // stake if shares else ONE)
            if shares:
                assert key not in end.prices
    assert quiet > 50


def test_finalization_adds_rewards_then_lets_shares_leave_then_deposits_enter(
    played: Played,
) -> None:
    for truth, end, transition in played.ends():
        rewards = dict(end.summary["current_epoch_rewards"])
        for operator_id, operator in end.operators.items():
            after = transition.operators.get(operator_id)
            if operator["partial_status"] != "Registered" or after is None:
                continue
            reward = rewards.get(operator_id, 0)
            tax = reward * operator["nomination_tax"] // 100
            fee = tax // 5
            shares, stake = operator["current_total_shares"], operator["current_total_stake"]
            stake += reward - tax
            price = transition.prices.get((operator_id, truth.epoch))
            if price is not None:
                leaving = operator["withdrawals_in_epoch"]
                entering = operator["deposits_in_epoch"] + tax - fee
                stake += entering - worth(leaving, price)
                shares += entering * price // ONE - leaving
            fees = operator["total_storage_fee_deposit"] + fee
            assert after["current_total_stake"] == stake
            assert after["current_total_shares"] == shares
            assert after["total_storage_fee_deposit"] == fees
            assert (after["deposits_in_epoch"], after["withdrawals_in_epoch"]) == (0, 0)


def of(operator_id: int, entries: dict[Holder, dict[str, Any]]) -> list[dict[str, Any]]:
    return [value for key, value in entries.items() if key[0] == operator_id]


def test_accounts_hold_the_shares_of_their_operator_but_for_rounding(played: Played) -> None:
    pending_seen = withdrawals_seen = 0
    registered: set[int] = set()  # in their first epoch the pool counts nothing yet
    for truth, end, _ in played.ends():
        for operator_id, operator in end.operators.items():
            held = fees = waiting = 0
            for deposit in of(operator_id, end.deposits):
                held += deposit["known"]["shares"]
                fees += deposit["known"]["storage_fee_deposit"]
                pending = deposit["pending"]
                if pending is None:
                    continue
                pending_seen += 1
                fees += pending["storage_fee_deposit"]
                epoch = pending["effective_domain_epoch"][1]
                price = end.prices.get((operator_id, epoch))
                if epoch == truth.epoch or price is None:
                    waiting += pending["amount"]
                else:
                    held += pending["amount"] * price // ONE
            withdrawals_seen += len(of(operator_id, end.withdrawals))
            total = operator["current_total_shares"] - operator["withdrawals_in_epoch"]
            assert fees == operator["total_storage_fee_deposit"]
            if operator_id not in registered:
                assert held + waiting == operator["deposits_in_epoch"]
                assert total == 0
                continue
            assert waiting == operator["deposits_in_epoch"]
            assert 0 <= total - held < 1000
        registered |= set(end.operators)
    assert pending_seen > 100
    assert withdrawals_seen > 10


def test_the_summary_is_the_sum_of_its_operators(played: Played) -> None:
    for _, end, transition in played.ends():
        for state in (end, transition):
            active = dict(state.summary["current_operators"])
            assert state.summary["current_total_stake"] == sum(active.values())
        assert transition.summary["current_epoch_rewards"] == []
        assert set(dict(transition.summary["current_operators"])) == set(
            transition.summary["next_operators"]
        )


def test_an_operator_begins_with_a_price_of_one_and_no_shares(played: Played) -> None:
    seen: set[int] = set()
    for truth, end, transition in played.ends():
        for operator_id in set(end.operators) - seen:
            operator = end.operators[operator_id]
            assert (operator["current_total_shares"], operator["current_total_stake"]) == (0, 0)
            assert end.prices[operator_id, truth.epoch] == ONE
            assert transition.prices[operator_id, truth.epoch] == ONE
            assert operator_id not in dict(end.summary["current_operators"])
            assert operator_id in dict(transition.summary["current_operators"])
        seen |= set(end.operators)
    assert seen == set(range(9))


def test_amounts_exceed_64_bits(played: Played) -> None:
    last = list(played.chain.truth())[-1]
    assert min(one.stake for one in last.operators.values()) > 2**64
    assert max(one.stake for one in last.operators.values()) > 2**84


def status(operator: dict[str, Any] | None) -> str | None:
    if operator is None:
        return None
    found = operator["partial_status"]
    return found if isinstance(found, str) else str(next(iter(found)))


def course(played: Played, operator_id: int) -> list[str | None]:
    """What the operator's status was at the end blocks, each once."""
    found: list[str | None] = []
    for _, end, _ in played.ends():
        now = status(end.operators.get(operator_id))
        if not found or found[-1] != now:
            found.append(now)
    return found


def test_statuses_take_their_course(played: Played) -> None:
    assert course(played, LEAVING) == ["Registered", "Deregistered", None]
    assert course(played, SLASHED) == ["Registered", "PendingSlash", None]
    assert course(played, INVALID) == ["Registered", "InvalidBundle", "Registered"]
    assert course(played, DEACTIVATED)[-3:] == ["Registered", "Deactivated", "Registered"]


def test_an_unlocked_operator_takes_its_prices_along_and_a_slashed_one_leaves_them(
    played: Played,
) -> None:
    head = played.read(played.chain.head)
    priced = {operator_id for operator_id, _ in head.prices}
    assert not {LEAVING, SLASHED} & set(head.operators)
    assert LEAVING not in priced
    assert SLASHED in priced
    assert not {LEAVING, SLASHED} & {key[0] for key in (*head.deposits, *head.withdrawals)}
    last = max(one.epoch for one in played.chain.truth() if LEAVING in one.operators)
    end, transition = next((end, after) for one, end, after in played.ends() if one.epoch == last)
    assert LEAVING in {operator_id for operator_id, _ in end.prices}
    assert LEAVING in end.operators
    assert LEAVING not in transition.operators  # gone between an end block and its transition


def test_a_reward_may_come_for_an_operator_that_is_gone(played: Played) -> None:
    ghosts = {
        operator_id
        for truth, end, _ in played.ends()
        for operator_id in dict(end.summary["current_epoch_rewards"])
        if operator_id not in end.operators
    }
    assert ghosts == {LEAVING, SLASHED}
    assert [one.treasury for one in played.chain.truth()][-1] > 0


def test_the_transition_block_may_add_to_the_rewards_it_finalizes() -> None:
    chain = DevChain(Scenario(epochs=8, operators=2, seconds_per_block=0, late_reward_every=4))
    truth = list(chain.truth())[6]
    read = played(chain).read
    end, transition = read(truth.end_block), read(truth.transition_block)
    operator, late = end.operators[0], transition.operators[0]
    reward = dict(end.summary["current_epoch_rewards"])[0]
    stake = operator["current_total_stake"]
    stake += reward - reward * operator["nomination_tax"] // 100
    derived = operator["current_total_shares"] * ONE // stake
    price = transition.prices[0, 6]
    assert price < derived
    moved = operator["deposits_in_epoch"] - worth(operator["withdrawals_in_epoch"], price)
    assert late["current_total_stake"] > stake + moved


def test_operators_of_another_domain_share_the_maps_but_not_the_truth() -> None:
    scenario = Scenario(epochs=20, operators=4, seconds_per_block=0, other_domain_operators=2)
    chain = DevChain(scenario)
    head = reader_of_two(chain)
    others = {operator_id for operator_id, domain in head.items() if domain == 1}
    assert len(others) == 2
    assert not any(others & set(one.operators) for one in chain.truth())
    ours = {operator_id for one in chain.truth() for operator_id in one.operators}
    assert len(ours) == 4
    assert max(ours) > min(others)


def reader_of_two(chain: DevChain) -> dict[int, int]:
    """The domain of each operator at the head."""
    state, entries = State(chain), chain.runtimes[0].entries
    prefix = next(prefix for prefix, (item, _) in entries.items() if item == "Operators")
    keys = state.keys(prefix, 1000, b"", chain.head)
    values = state.values(keys, chain.head)
    return {
        number(key[32:]): number(value[32:36])
        for key, value in zip(keys, values, strict=True)
        if value is not None
    }


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"operators": 0}, "at least one operator"),
        ({"created": 1}, "block 2 or later"),
        ({"nominators": -1}, "crowd of 0 or more"),
        ({"acting_per_mille": 1001}, "of a thousand"),
        ({"upgrades": (Upgrade(layout=Layout.PERBILL, epoch=60, at="end"),)}, "beforehand"),
    ],
)
def test_a_scenario_that_cannot_be_played_says_why(wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Scenario(**wrong)


def test_an_upgrade_is_carried_by_a_block_or_by_an_epoch() -> None:
    with pytest.raises(ValueError, match="name one"):
        Upgrade(layout=Layout.PERBILL)


u128 = st.integers(0, 2**128 - 1)
h256 = st.binary(min_size=32, max_size=32)
statuses = st.one_of(
    st.sampled_from([Status("Registered"), Status("Slashed"), Status("PendingSlash")]),
    st.builds(lambda receipt: Status("InvalidBundle", receipt), h256),
    st.builds(
        lambda epoch, at: Status("Deregistered", DeregisteredInfo((0, epoch), at)),
        st.integers(0, 2**32 - 1),
        st.integers(0, 2**32 - 1),
    ),
)
operators = st.builds(
    Operator,
    h256,
    st.integers(0, 2**32 - 1),
    st.integers(0, 2**32 - 1),
    u128,
    st.integers(0, 100),
    u128,
    u128,
    u128,
    statuses,
    u128,
    u128,
    u128,
)
CODECS = {
    layout: Codec(own_metadata(layout, 1)) for layout in (Layout.PERBILL, Layout.PERBILL_REWARDS)
}


def plain(value: object) -> object:
    """A record as `scalecodec` takes it."""
    if isinstance(value, bytes):
        return "0x" + value.hex()
    if isinstance(value, Status):
        return value.name if value.detail is None else {value.name: plain(value.detail)}
    if isinstance(value, (Operator, DeregisteredInfo, Summary)):
        return {name: plain(part) for name, part in value._asdict().items()}
    if isinstance(value, dict):
        return sorted(value.items())
    return sorted(value) if isinstance(value, frozenset) else value


@pytest.mark.parametrize("layout", CODECS)
@given(operator=operators)
def test_an_operator_is_encoded_as_scalecodec_does(layout: Layout, operator: Operator) -> None:
    codec = CODECS[layout]
    if layout is Layout.PERBILL_REWARDS and operator.partial_status.name == "InvalidBundle":
        operator = operator._replace(partial_status=Status("Registered"))
    type_id = codec.value_type("Domains", "Operators")
    assert codec.encoder(type_id)(operator) == codec.scale(type_id, plain(operator))


@given(
    st.builds(
        Summary,
        st.integers(0, 2**32 - 1),
        u128,
        st.dictionaries(st.integers(0, 2**64 - 1), u128),
        st.frozensets(st.integers(0, 2**64 - 1)),
        st.dictionaries(st.integers(0, 2**64 - 1), u128),
    )
)
def test_what_a_summary_encodes_to_scalecodec_decodes(summary: Summary) -> None:
    codec = CODECS[Layout.PERBILL]
    type_id = codec.value_type("Domains", "DomainStakingSummary")
    assert codec.decode(type_id, codec.encoder(type_id)(summary)) == plain(summary)
