"""Chains of which only both ends are asked, and epochs that are stored as if they had been read."""

from collections.abc import Generator, Iterable, Mapping, Sequence

import psycopg

from operator_prices.chain import EpochStates, Head, NodeUnreachableError, Reach


class HeadOnly:
    """A chain of which only the head is ever asked, and how far back the node goes."""

    genesis_hash, domain_id, requests, calls = "0x00", 0, 0, 0

    def __init__(self, last: int | None, first_epoch: int = 0) -> None:
        self._last, self._first_epoch = last, first_epoch
        self.reaches = 0
        """How often it was asked how far back it goes."""

    def head(self) -> Head:
        return Head(9_000, 8_900, self._last)

    def reach(self) -> Reach:
        self.reaches += 1
        return Reach(1 + 100 * self._first_epoch, self._first_epoch)

    def read_each(
        self, pieces: Iterable[Iterable[int]], nominators: object = None
    ) -> Generator[EpochStates, None, None]:
        for piece in pieces:
            raise AssertionError(piece, nominators)
        yield EpochStates.empty()

    def count(self, block_hash: str, maps: Mapping[str, str]) -> dict[str, int]:
        raise AssertionError(block_hash, maps)

    def block_hashes(self, blocks: Sequence[int]) -> list[str | None]:
        raise AssertionError(blocks)


class Unreachable(HeadOnly):
    def head(self) -> Head:
        raise NodeUnreachableError("nobody answers")


def served(database: psycopg.Connection, epochs: range) -> None:
    for epoch in epochs:
        database.execute(
            "INSERT INTO epochs (epoch, end_block, end_hash, timestamp, data, source, complete)"
            " VALUES (%s, %s, '0x', 1, '{}', 'chain', true)",
            [epoch, epoch],
        )
        database.execute(
            "INSERT INTO nominator_epochs VALUES (%s, '0x', false, true, 'chain')", [epoch]
        )
        database.execute(
            "INSERT INTO epoch_analytics (epoch, end_block, timestamp) VALUES (%s, %s, 1)",
            [epoch, epoch],
        )
