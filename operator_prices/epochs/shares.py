"""Shares and stake, converted as the chain converts them; products exceed 128 bits."""

from operator_prices.amounts import ONE


def stake_to_shares(amount: int, share_price_perq: int) -> int:
    """Shares that an amount in Shannons becomes: `floor(amount * P / 10^18)`.

    >>> stake_to_shares(1000, 999_999_999_999_999_999)
    999
    """
    return amount * share_price_perq // ONE


def shares_to_stake(shares: int, share_price_perq: int) -> int:
    """What shares are worth in Shannons: `floor(shares * 10^18 / (P + 1))`, at 1 as many.

    The chain rounds the price up by one part before it takes the reciprocal.

    >>> shares_to_stake(1000, ONE), shares_to_stake(1000, ONE // 2)
    (1000, 1999)
    """
    return shares if share_price_perq >= ONE else shares * ONE // (share_price_perq + 1)


def least_stake_for(shares: int, share_price_perq: int) -> int:
    """The least amount that becomes so many shares."""
    return -(-shares * ONE // share_price_perq)
