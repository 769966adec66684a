"""Headers and their hashes: what a block is, before anything is known of staking."""

import math
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b

GENESIS_MILLISECONDS = 1_748_736_000_000  # 2025-06-01
NO_HASH = bytes(32)
_ENGINE = b"SUB_"
_BUNDLE_ODDS = 223  # of 256: 87 of 100 blocks carry a bundle
_SLOTS = tuple(1 + int(math.log(1 - i / 256) / math.log(5 / 6)) for i in range(256))
"""Quantiles of the slots between two blocks: one slot in six has a block."""


def compact(number: int) -> bytes:
    """The SCALE compact encoding of a number below 2^30."""
    if number < 1 << 6:
        return bytes([number << 2])
    if number < 1 << 14:
        return (number << 2 | 1).to_bytes(2, "little")
    return (number << 2 | 2).to_bytes(4, "little")


@dataclass(frozen=True, slots=True)
class Header:
    parent_hash: bytes
    number: int
    state_root: bytes
    extrinsics_root: bytes
    logs: tuple[bytes, ...]

    def hash(self) -> bytes:
        encoded = b"".join(
            [
                self.parent_hash,
                compact(self.number),
                self.state_root,
                self.extrinsics_root,
                compact(len(self.logs)),
                *self.logs,
            ]
        )
        return blake2b(encoded, digest_size=32).digest()

    def to_json(self) -> dict[str, object]:
        return {
            "parentHash": "0x" + self.parent_hash.hex(),
            "number": hex(self.number),
            "stateRoot": "0x" + self.state_root.hex(),
            "extrinsicsRoot": "0x" + self.extrinsics_root.hex(),
            "digest": {"logs": ["0x" + log.hex() for log in self.logs]},
        }


def interval(parent_hash: bytes) -> int:
    """Milliseconds from a block to its child: six seconds on average, rarely ten minutes more."""
    slots = _SLOTS[parent_hash[1]]
    outlier = 600 if parent_hash[2] == 0 and parent_hash[3] < 32 else 0  # noqa: PLR2004
    return (slots + outlier) * 1000 + parent_hash[4]


def draws_bundle(parent_hash: bytes) -> bool:
    return parent_hash[0] < _BUNDLE_ODDS


class Blocks:
    """The best chain. A header is rebuilt when asked for; only hashes, times and marks are kept."""

    def __init__(self, seed: int) -> None:
        self._seed = seed.to_bytes(16, "little", signed=True)
        self._forks = array("H")
        self._times = array("Q")
        self._bundles = array("I")
        self._hashes: list[bytes] = []
        self._numbers: dict[bytes, int] = {}
        self.upgrades: list[int] = []
        """Numbers of the blocks that carry a runtime upgrade."""
        self.fork = 0
        self.append(timestamp=0, bundle=False, upgrade=False)

    @property
    def head(self) -> int:
        return len(self._hashes) - 1

    def hash(self, number: int) -> bytes:
        return self._hashes[number]

    def number(self, block_hash: bytes) -> int | None:
        return self._numbers.get(block_hash)

    def timestamp(self, number: int) -> int:
        """`Timestamp.Now` of the block, Unix milliseconds; 0 at genesis, which has none."""
        return self._times[number]

    def bundles(self, number: int) -> int:
        """How many blocks up to this one carried a bundle."""
        return self._bundles[number]

    @property
    def bundle_counts(self) -> Sequence[int]:
        return self._bundles

    def carries_bundle(self, number: int) -> bool:
        return number > 0 and self._bundles[number] != self._bundles[number - 1]

    def append(self, *, timestamp: int, bundle: bool, upgrade: bool) -> None:
        number = len(self._hashes)
        self._forks.append(self.fork)
        self._times.append(timestamp)
        self._bundles.append((self._bundles[-1] if number else 0) + bundle)
        if upgrade:
            self.upgrades.append(number)
        block_hash = self.header(number).hash()
        self._hashes.append(block_hash)
        self._numbers[block_hash] = number

    def header(self, number: int) -> Header:
        parent = self._hashes[number - 1] if number else NO_HASH
        fork = self._forks[number].to_bytes(2, "little")
        drawn = blake2b(self._seed + fork + parent + number.to_bytes(4, "little")).digest()
        logs: tuple[bytes, ...] = ()
        if number:
            slot = (self._times[number] // 1000).to_bytes(8, "little")
            logs = (_log(6, slot + drawn[16:48]), _log(5, drawn))
            if number in self.upgrades:
                logs = (logs[0], b"\x08", logs[1])
        return Header(parent, number, drawn[:32], drawn[32:], logs)

    def cut(self, number: int) -> None:
        """Forget the blocks from `number` on, and their hashes."""
        for block_hash in self._hashes[number:]:
            del self._numbers[block_hash]
        del self._hashes[number:], self._forks[number:], self._times[number:]
        del self._bundles[number:]
        self.upgrades = [block for block in self.upgrades if block < number]


def _log(kind: int, data: bytes) -> bytes:
    """A digest item of the consensus engine: 6 is the pre-runtime digest, 5 the seal."""
    return bytes([kind]) + _ENGINE + compact(len(data)) + data
