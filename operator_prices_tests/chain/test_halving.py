"""Entries say themselves when an account has acted; what they cannot say is found by halves."""

import pytest

from operator_prices.chain.entries import Entry
from operator_prices.chain.substrate.halving import Ends, Halving
from operator_prices.chain.substrate.histories import Histories

PAIR = (3, "0x" + "5a" * 32)
EPOCHS = range(100, 108)
LAST = len(EPOCHS) - 1

BEFORE = Entry(
    shares=100, storage_fee_deposit=25, pending_epoch=90, pending=40, pending_storage_fee=10,
    on_hold=140,
)  # fmt: skip
DEPOSITED = Entry(
    shares=138, storage_fee_deposit=35, pending_epoch=103, pending=80, pending_storage_fee=20,
    on_hold=220,
)  # fmt: skip
TWICE = DEPOSITED._replace(shares=158, storage_fee_deposit=40, on_hold=240)
WITHDRAWN = Entry(
    shares=69, storage_fee_deposit=18, withdrawing_epoch=103, withdrawing_block=900,
    withdrawing_shares=69, withdrawing_storage_fee=17, unlocking=(), on_hold=140,
)  # fmt: skip


def known(entry: Entry) -> Histories:
    """What is there at the last epoch, and was before the first."""
    histories = Histories(EPOCHS, {PAIR: BEFORE}, EPOCHS[0] - 1)
    histories.note(LAST, PAIR, entry)
    return histories


def halving(
    histories: Histories, versions: tuple[int, ...] = (7,) * len(EPOCHS), before: int | None = 7
) -> Halving:
    ends = Ends(range(len(EPOCHS)), versions, before)
    found = Halving(histories, range(len(EPOCHS)), ends=ends)
    found.look_at([PAIR])
    return found


@pytest.mark.parametrize("entry", [DEPOSITED, WITHDRAWN], ids=["a deposit", "a withdrawal"])
def test_one_action_is_where_the_entry_says_and_nothing_is_read(entry: Entry) -> None:
    histories = known(entry)
    assert not halving(histories).wanted()
    assert list(histories.changes()) == [(3, PAIR, entry)]


def test_of_two_actions_the_fees_tell_and_halves_are_read() -> None:
    assert halving(known(TWICE)).wanted() == {3: [PAIR]}


def test_what_another_runtime_left_dates_nothing() -> None:
    assert halving(known(DEPOSITED), (7, 7, 7, 7, 7, 8, 8, 8)).wanted() == {3: [PAIR]}


@pytest.mark.parametrize("before", [6, None])
def test_nor_does_what_another_runtime_has_made_of_what_there_was_before(
    before: int | None,
) -> None:
    assert halving(known(DEPOSITED), before=before).wanted() == {3: [PAIR]}


def test_what_was_done_at_the_close_of_an_epoch_shows_at_the_next() -> None:
    histories = known(DEPOSITED)
    halving(histories)
    assert histories.doubtful({3: [3, 4]}) == {3: [PAIR]}
    histories.note(3, PAIR, BEFORE)
    assert not halving(histories).wanted()
    assert list(histories.changes()) == [(4, PAIR, DEPOSITED)]


def test_nothing_is_believed_where_an_entry_is_not_understood() -> None:
    histories = known(DEPOSITED)
    halving(histories)
    histories.note(3, PAIR, None)
    assert list(histories.changes()) == [(LAST, PAIR, DEPOSITED)]
    assert not histories.doubtful({3: [3]})
