"""The pallet's arithmetic: what a share costs, what it is worth, which part of a fee goes along."""

PERQUINTILL = 10**18
PERBILL = 10**9


def share_price(shares: int, stake: int, unit: int) -> int:
    """Shares per stake in parts of `unit`, rounded down; one where there are none."""
    if shares > stake:
        raise AssertionError(f"{shares} shares on a stake of {stake}: a share costs less than one")
    return shares * unit // stake if shares else unit


def stake_to_shares(amount: int, price: int) -> int:
    return amount * price // PERQUINTILL


def shares_to_stake(shares: int, price: int) -> int:
    """What shares are worth: the price goes up by one part first, so never too much is paid."""
    return shares if price == PERQUINTILL else shares * PERQUINTILL // (price + 1)


def part_of_fee(fee: int, shares: int, of: int) -> int:
    """The part of a storage fee that goes along with `shares` `of` all: whole billionths."""
    return fee * (shares * PERBILL // of) // PERBILL
