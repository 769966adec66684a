"""The state of a block as a node keeps it: storage keys to SCALE values."""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator
from hashlib import blake2b
from itertools import islice

from operator_prices.devchain.chain import DevChain
from operator_prices.devchain.encoding import Entry
from operator_prices.devchain.ledger import Key
from operator_prices.devchain.records import RuntimeVersion

BLOCK_HASHES = 250
"""How many parents `System.BlockHash` remembers, genesis apart."""
CONSENSUS_HASHES = 14_400
"""How many domain blocks `ConsensusBlockHash` remembers."""
_PREFIX = 32


class State:
    """Reads the state of any block, in the layout of the runtime that executed the block."""

    def __init__(self, chain: DevChain) -> None:
        self._chain = chain
        self._domains = {domain.number: domain for domain in chain.domains}
        self._computed: dict[
            str, tuple[Callable[[int, Key], object], Callable[[int], Iterable[Key]]]
        ] = {
            "Number": (lambda block, _: block, _plain),
            "ParentHash": (self._parent_hash, _plain),
            "BlockHash": (self._block_hash, self._block_hash_keys),
            "LastRuntimeUpgrade": (self._last_upgrade, _plain),
            "Now": (lambda block, _: chain.blocks.timestamp(block) or None, _plain),
            "HeadDomainNumber": (self._head_domain_number, self._domain_keys),
            "ConsensusBlockHash": (self._consensus_hash, self._consensus_hash_keys),
            "SuccessfulBundles": (self._bundles, self._domain_keys),
        }
        """What follows from the blocks alone is not stored: its value, and the keys it may have."""
        self._sorted: dict[tuple[int, bytes], list[bytes]] = {}
        self._four_byte = frozenset(
            (operator_id, 0, epoch) for operator_id, epoch in chain.scenario.four_byte_prices
        )

    def values(self, keys: Iterable[bytes], block: int) -> Iterator[bytes | None]:
        """The value of each key after the block was executed."""
        runtime = self._chain.runtimes[self._chain.executing_runtime(block)]
        entries = runtime.entries
        for key in keys:
            found = entries.get(key[:_PREFIX])
            parts = found[1].parts(key) if found else None
            yield None if found is None or parts is None else self._value(*found, parts, block)

    def _value(self, item: str, entry: Entry, parts: Key, block: int) -> bytes | None:
        computed = self._computed.get(item)
        value = computed[0](block, parts) if computed else self._stored(item, parts, block)
        if value is None:
            return None
        if item == "OperatorEpochSharePrice":
            return self._price(entry, parts, value)
        return entry.encode(value)

    def _stored(self, item: str, parts: Key, block: int) -> object:
        return self._chain.ledger.at(block, item, parts)

    def _price(self, entry: Entry, parts: Key, value: object) -> bytes:
        """A price in the unit of the layout; the odd one was never migrated from four bytes."""
        if not isinstance(value, int):
            raise TypeError(f"a price is a number, not {value!r}")
        if parts in self._four_byte:
            return (value // 10**9).to_bytes(4, "little")
        return entry.encode(value // 10**9 if entry.value_path.endswith("Perbill") else value)

    # --- what follows from the blocks ---

    def _parent_hash(self, block: int, _: Key) -> bytes:
        return self._chain.blocks.hash(block - 1) if block else b"E" * 32

    def _block_hash(self, block: int, key: Key) -> bytes | None:
        (number,) = key
        if not isinstance(number, int) or number not in self._remembered(block):
            return None
        return self._chain.blocks.hash(number) if block else b"E" * 32

    def _remembered(self, block: int) -> range | list[int]:
        if block <= BLOCK_HASHES:
            return range(max(block, 1))
        return [0, *range(block - BLOCK_HASHES, block)]

    def _block_hash_keys(self, block: int) -> Iterator[Key]:
        return ((number,) for number in self._remembered(block))

    def _last_upgrade(self, block: int, _: Key) -> RuntimeVersion:
        runtime = self._chain.runtimes[self._chain.executing_runtime(block)]
        return RuntimeVersion(runtime.spec_version, runtime.spec_name)

    def _domain_keys(self, _: int) -> Iterator[Key]:
        return ((number,) for number in self._domains)

    def _head_domain_number(self, block: int, key: Key) -> int | None:
        domain = self._domains.get(_number(key[0]))
        if domain is None or block < domain.created:
            return None
        return self._chain.head_domain_number(domain, block)

    def _consensus_hash(self, block: int, key: Key) -> bytes | None:
        """Block n's entry is written by block n+1, if n carried a bundle."""
        domain, number = self._domains.get(_number(key[0])), _number(key[1])
        blocks = self._chain.blocks
        if domain is None or not domain.created < number < block:
            return None
        if not blocks.carries_bundle(number):
            return None
        newest = self._chain.head_domain_number(domain, block - 1)
        if self._chain.head_domain_number(domain, number) <= newest - CONSENSUS_HASHES:
            return None
        return blocks.hash(number)

    def _consensus_hash_keys(self, block: int) -> Iterator[Key]:
        for domain in self._domains.values():
            if block > domain.created:
                newest = self._chain.head_domain_number(domain, block - 1)
                for number in range(max(1, newest - CONSENSUS_HASHES + 1), newest + 1):
                    yield domain.number, self._chain.consensus_block(domain, number)

    def _bundles(self, block: int, key: Key) -> list[bytes] | None:
        domain = self._domains.get(_number(key[0]))
        if domain is None or block <= domain.created:
            return None
        if not self._chain.blocks.carries_bundle(block):
            return None
        return [blake2b(b"bundle" + self._chain.blocks.hash(block), digest_size=32).digest()]

    # --- listing ---

    def keys(self, prefix: bytes, count: int, start: bytes, block: int) -> list[bytes]:
        """The next keys after `start` that begin with `prefix`, in the order of their bytes."""
        runtime = self._chain.executing_runtime(block)
        entries = self._chain.runtimes[runtime].entries
        found: list[bytes] = []
        for item_prefix in sorted(entries):
            if item_prefix.startswith(prefix[:_PREFIX]) or prefix.startswith(item_prefix):
                keys = self._item_keys(runtime, item_prefix, block)
                following = self._following(keys, prefix, start, item_prefix, block)
                found += islice(following, count - len(found))
        return found

    def _following(
        self, keys: list[bytes], prefix: bytes, start: bytes, item_prefix: bytes, block: int
    ) -> Iterator[bytes]:
        runtime = self._chain.runtimes[self._chain.executing_runtime(block)]
        item, entry = runtime.entries[item_prefix]
        first = bisect_right(keys, start) if start else bisect_left(keys, prefix)
        for key in islice(keys, first, None):
            if not key.startswith(prefix):
                if key > prefix:
                    return
                continue
            parts = entry.parts(key)
            if parts is not None and self._value(item, entry, parts, block) is not None:
                yield key

    def _item_keys(self, runtime: int, item_prefix: bytes, block: int) -> list[bytes]:
        """The keys an item may have at a block, sorted; stored items are sorted once."""
        item, entry = self._chain.runtimes[runtime].entries[item_prefix]
        if item in self._computed:
            return sorted(entry.key(*parts) for parts in self._computed[item][1](block))
        known = self._sorted.get((runtime, item_prefix))
        if known is None or len(known) != self._chain.ledger.count(item):
            known = sorted(entry.key(*parts) for parts in self._chain.ledger.keys(item))
            self._sorted[runtime, item_prefix] = known
        return known

    def forget(self) -> None:
        """Drop what is remembered of keys, after blocks were replaced."""
        self._sorted.clear()


def _plain(_: int) -> tuple[Key, ...]:
    return ((),)


def _number(part: int | bytes) -> int:
    if not isinstance(part, int):
        raise TypeError(f"a number is expected in this key, not {part!r}")
    return part
