"""The search for epoch boundaries on made-up chains."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operator_prices.chain.substrate.boundaries import (
    BEFORE_THE_DOMAIN,
    Candidate,
    IndexMap,
    Indices,
    candidates,
    corrected,
    first_block_at,
    likely,
    shifts,
)


def indices_of(starts: Sequence[int], asked: list[int] | None = None) -> Indices:
    """Epoch i begins at block `starts[i]`; before the first there is no domain."""

    def indices(blocks: Sequence[int]) -> list[int]:
        if asked is not None:
            asked.extend(blocks)
        return [BEFORE_THE_DOMAIN + sum(start <= block for start in starts) for block in blocks]

    return indices


@given(
    lengths=st.lists(st.integers(0, 400), min_size=1, max_size=30),
    created=st.integers(1, 50),
    wanted=st.data(),
)
def test_the_first_block_of_an_index_is_found(
    lengths: list[int], created: int, wanted: st.DataObject
) -> None:
    starts = [created]
    for length in lengths:
        starts.append(starts[-1] + length)
    index = wanted.draw(st.integers(0, len(starts) - 1))
    known = IndexMap()
    head = starts[-1] + 10
    known.learn(head, len(starts) - 1)
    assert first_block_at(index, known, indices_of(starts)) == starts[index]


def test_a_search_looks_at_few_blocks() -> None:
    asked: list[int] = []
    known = IndexMap()
    known.learn(1_000_000, 9_000)
    first_block_at(4_321, known, indices_of(range(40, 1_000_000, 111), asked))
    assert len(asked) <= 40


def test_an_index_that_no_block_has_reached_is_an_error() -> None:
    with pytest.raises(ValueError, match="no block is known"):
        first_block_at(3, IndexMap(), indices_of([1]))


def test_the_ledger_names_multiples_of_the_epoch_duration() -> None:
    bundles = [block for block in range(1, 400) if block % 5]
    ledger = {block: f"0x{block:x}" for block in bundles}
    told = candidates(ledger, head_domain_number=len(bundles), epoch_index=3, duration=100)
    assert [(c.block, c.expected_index) for c in told] == [
        (bundles[99], 1),
        (bundles[199], 2),
        (bundles[299], 3),
    ]


def test_a_pruned_ledger_tells_what_it_still_has() -> None:
    ledger = {block: f"0x{block:x}" for block in range(250, 350)}
    told = candidates(ledger, head_domain_number=349, epoch_index=3, duration=100)
    assert [(c.block, c.expected_index) for c in told] == [(300, 3)]


@given(
    offsets=st.lists(st.sampled_from([0, 0, 0, 0, 0, 1, -1]), min_size=3, max_size=60),
)
def test_shifts_between_agreeing_ends_are_constant_and_ends_are_true(offsets: list[int]) -> None:
    # Older candidates carry the sum of all later exceptions.
    true = [sum(offsets[i:]) for i in range(len(offsets))]
    told = [Candidate(100 * i, "0x", i) for i in range(len(offsets))]
    found = shifts(told, lambda blocks: [b // 100 + true[b // 100] for b in blocks])
    assert (found[0], found[-1]) == (true[0], true[-1])


def test_one_exception_is_located() -> None:
    told = [Candidate(100 * i, "0x", i) for i in range(80)]
    asked: list[int] = []

    def indices(blocks: Sequence[int]) -> list[int]:
        asked.extend(blocks)
        return [block // 100 + (1 if block < 3_700 else 0) for block in blocks]

    assert shifts(told, indices) == [1] * 37 + [0] * 43
    assert len(asked) <= 9


def test_a_regular_span_costs_two_looks() -> None:
    told = [Candidate(100 * i, "0x", i) for i in range(100)]
    asked: list[int] = []

    def indices(blocks: Sequence[int]) -> list[int]:
        asked.extend(blocks)
        return [block // 100 for block in blocks]

    assert shifts(told, indices) == [0] * 100
    assert len(asked) == 2


def tries(shown: Sequence[int], wanted: int) -> list[int]:
    """The positions that are tried for an index until its first block, or none, is left to try.

    The candidates show the indices `shown`, and expect one less from each to the next older one.
    """
    told = [
        Candidate(100 * i + 100, "0x", shown[-1] - len(shown) + 1 + i) for i in range(len(shown))
    ]
    known, tried = IndexMap(), set[Candidate]()
    positions: list[int] = []
    while guess := likely(told, wanted, known, tried):
        assert guess.expected_index == wanted
        positions.append(guess.block // 100 - 1)
        known.learn(guess.block, shown[positions[-1]])
        tried.add(guess)
        if wanted in shown and shown.index(wanted) == positions[-1]:
            break
    return positions


@given(
    steps=st.lists(st.sampled_from([0, 1, 1, 1, 2, 3]), max_size=60),
    wanted=st.integers(-2, 130),
)
def test_no_candidate_is_tried_twice_for_an_epoch(steps: list[int], wanted: int) -> None:
    positions = tries([1 + sum(steps[:i]) for i in range(len(steps) + 1)], wanted)
    assert len(set(positions)) == len(positions)


@given(
    at=st.integers(1, 59), step=st.sampled_from([0, 2]), wanted=st.integers(1, 60), extra=st.data()
)
def test_one_exception_costs_few_tries(
    at: int, step: int, wanted: int, extra: st.DataObject
) -> None:
    shown = [1 + i + (step - 1 if i >= at else 0) for i in range(60)]
    index = extra.draw(st.sampled_from(sorted(set(shown)))) if wanted not in shown else wanted
    positions = tries(shown, index)
    assert positions[-1] == shown.index(index)
    assert len(positions) <= 3


def test_without_a_ledger_no_candidate_is_likely() -> None:
    assert likely([], 3, IndexMap(), set()) is None


def test_what_is_older_or_newer_is_corrected_like_its_neighbours() -> None:
    told = [Candidate(100 * i, "0x", i) for i in range(20)]

    def indices(blocks: Sequence[int]) -> list[int]:
        return [block // 100 - (block < 800) for block in blocks]

    found = corrected(told, range(5, 15), indices)
    assert [one.expected_index for one in found] == [*range(-1, 7), *range(8, 20)]
    assert corrected(told, range(0), indices) == told
    assert corrected([], range(0), indices) == []
