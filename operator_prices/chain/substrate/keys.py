"""Storage keys, built and not listed: every map that is read hashes its keys by `Identity`."""

from collections.abc import Iterable, Sequence
from functools import cache, lru_cache
from struct import pack

import xxhash


@cache
def prefix(pallet: str, item: str) -> str:
    """The key of a plain storage item, and what every key of a map begins with.

    >>> prefix("System", "Number")
    '0x26aa394eea5630e07c48ae0c9558cef702a5c1b19ab7a04f536c519aca4983ac'
    """
    return "0x" + (_twox128(pallet) + _twox128(item)).hex()


def _twox128(name: str) -> bytes:
    data = name.encode()
    return b"".join(
        xxhash.xxh64_intdigest(data, seed=seed).to_bytes(8, "little") for seed in (0, 1)
    )


def u32(number: int) -> str:
    """The SCALE form of a `u32` in hex.

    >>> u32(258)
    '02010000'
    """
    return number.to_bytes(4, "little").hex()


@cache
def u64(number: int) -> str:
    """The SCALE form of a `u64` in hex."""
    return number.to_bytes(8, "little").hex()


@lru_cache(16)
def of_operators(item: str, operators: Iterable[int]) -> Sequence[str]:
    """The keys of `Domains.<item>(operator)`, the same objects for the same operators."""
    start = prefix("Domains", item)
    return [start + u64(operator) for operator in operators]


def of_domain(item: str, domain: int) -> str:
    """The key of `Domains.<item>(domain)`."""
    return prefix("Domains", item) + u32(domain)


def of_share_prices(operators: Iterable[int], domain: int, epoch: int) -> list[str]:
    """The keys of `Domains.OperatorEpochSharePrice(operator, (domain, epoch))`."""
    start = prefix("Domains", "OperatorEpochSharePrice")
    end = u32(domain) + u32(epoch)
    return [start + u64(operator) + end for operator in operators]


def of_consensus_block_hashes(domain: int, blocks: Iterable[int]) -> list[str]:
    """The keys of `Domains.ConsensusBlockHash(domain, block)`."""
    start = of_domain("ConsensusBlockHash", domain)
    numbers = list(blocks)
    digits = pack(f"<{len(numbers)}I", *numbers).hex()
    return [start + digits[at : at + 8] for at in range(0, len(digits), 8)]
