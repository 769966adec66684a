"""What an entry amounts to at each epoch, by what is known of its operator."""

from operator_prices.amounts import ONE
from operator_prices.chain import Entry
from operator_prices.epochs.positions import Told, positions

OPERATOR, ACCOUNT = 3, "0x" + "ab" * 32
PRICE = ONE // 2
FIRST = 5
"""The first epoch at whose end the operator is there."""
DEPOSIT = Entry(shares=0, storage_fee_deposit=0, pending_epoch=FIRST, pending=800)


def told(*, registered: bool = True, taxed: bool = False) -> Told:
    return Told(
        epochs=dict.fromkeys(range(FIRST, FIRST + 3), "chain"),
        previous=FIRST - 1,
        unconnected=frozenset(),
        prices={(OPERATOR, FIRST): ONE if registered else PRICE},
        first_epochs={OPERATOR: FIRST},
        registered={(OPERATOR, FIRST)} if registered else set(),
        deregistered={},
        taxed_owners=frozenset({(OPERATOR, ACCOUNT)} if taxed else ()),
    )


def told_of(entry: Entry, *, registered: bool) -> dict[int, tuple[int, int]]:
    """Shares and pending of the account, from the epochs on at which they change."""
    found = positions({(OPERATOR, ACCOUNT): [(FIRST, entry)]}, told(registered=registered))
    rows = found.select("epoch", "shares_raw", "pending_raw").rows()
    return {epoch: (int(shares), int(pending)) for epoch, shares, pending in rows}


def test_what_is_paid_in_in_the_epoch_of_registration_is_shares_at_once() -> None:
    assert told_of(DEPOSIT, registered=True) == {FIRST: (800, 0)}


def test_an_epoch_after_a_registration_at_the_close_of_one_ends_with_its_own_price() -> None:
    """The owner's stake is in the pool by then; what is paid in now waits as ever."""
    assert told_of(DEPOSIT, registered=False) == {FIRST: (0, 800), FIRST + 1: (400, 0)}
    owners = DEPOSIT._replace(pending_epoch=FIRST - 1)
    assert told_of(owners, registered=False) == {FIRST: (800, 0)}


def test_what_an_owner_pays_in_twice_at_the_registration_is_no_tax() -> None:
    """The first deposit is shares by then, as tax is; but nothing was earned before."""
    entry = DEPOSIT._replace(shares=4_000, storage_fee_deposit=1_000, pending_storage_fee=200)
    found = positions({(OPERATOR, ACCOUNT): [(FIRST, entry)]}, told(taxed=True))
    paid = found.select("deposited_raw", "deposited_storage_fee_raw", "tax_raw").row(0)
    assert tuple(map(int, paid)) == (4_800, 1_200, 0)
