"""What an entry amounts to at each epoch, by what is known of its operator."""

from operator_prices.amounts import ONE
from operator_prices.chain import Entry
from operator_prices.epochs.positions import Told, positions

OPERATOR, ACCOUNT = 3, "0x" + "ab" * 32
PRICE = ONE // 2
FIRST = 5
"""The first epoch at whose end the operator is there."""
DEPOSIT = Entry(shares=0, storage_fee_deposit=0, pending_epoch=FIRST, pending=800)


def told_of(entry: Entry, *, registered: bool) -> dict[int, tuple[int, int]]:
    """Shares and pending of the account, from the epochs on at which they change."""
    told = Told(
        epochs=dict.fromkeys(range(FIRST, FIRST + 3), "chain"),
        previous=FIRST - 1,
        unconnected=frozenset(),
        prices={(OPERATOR, FIRST): ONE if registered else PRICE},
        first_epochs={OPERATOR: FIRST},
        registered={(OPERATOR, FIRST)} if registered else set(),
        deregistered={},
        taxed_owners=frozenset(),
    )
    found = positions({(OPERATOR, ACCOUNT): [(FIRST, entry)]}, told)
    rows = found.select("epoch", "shares_raw", "pending_raw").rows()
    return {epoch: (int(shares), int(pending)) for epoch, shares, pending in rows}


def test_what_is_paid_in_in_the_epoch_of_registration_is_shares_at_once() -> None:
    assert told_of(DEPOSIT, registered=True) == {FIRST: (800, 0)}


def test_an_epoch_after_a_registration_at_the_close_of_one_ends_with_its_own_price() -> None:
    """The owner's stake is in the pool by then; what is paid in now waits as ever."""
    assert told_of(DEPOSIT, registered=False) == {FIRST: (0, 800), FIRST + 1: (400, 0)}
    owners = DEPOSIT._replace(pending_epoch=FIRST - 1)
    assert told_of(owners, registered=False) == {FIRST: (800, 0)}
