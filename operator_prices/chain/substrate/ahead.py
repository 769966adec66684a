"""Reading ahead: the next spans are read in threads of their own while earlier ones are used."""

import gc
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Generic, TypeVar

from operator_prices.chain.substrate.node import Node

AT_ONCE = 6
"""Spans in the making: most of a span's time goes by in waiting, one question for another."""

USUAL = gc.get_threshold()
"""New objects after which the garbage collector looks at them, and how seldom at older ones."""

SELDOM = 100_000
"""The same of new ones while answers come: those of some dozens of answers."""

Read = TypeVar("Read")
Piece = TypeVar("Piece")
Made = TypeVar("Made")


@dataclass(slots=True)
class Branch(Generic[Read]):
    """A piece that is read in another thread, from a node that knows what ours knew then."""

    node: Node
    read: Future[Read]

    @property
    def failed(self) -> bool:
        """Whether it has ended without a result by now."""
        return self.read.done() and (self.read.cancelled() or self.read.exception() is not None)

    def call_off(self) -> None:
        self.node.rpc.call_off()
        self.read.cancel()


class Alone:
    """Does one work at a time, for whoever asks, in a thread of its own.

    Polars keeps some ten megabytes for each thread that it has worked for.
    """

    def __init__(self, thread: ThreadPoolExecutor) -> None:
        self._thread = thread

    def __call__(self, work: Callable[[], Made]) -> Made:
        return self._thread.submit(work).result()


class Ahead(Generic[Piece, Read]):
    """Reads pieces in their order, `AT_ONCE` of them at the same time."""

    def __init__(self, read: Callable[[Node, Piece], Read], threads: ThreadPoolExecutor) -> None:
        self._read = read
        self._threads = threads
        self._branches: deque[tuple[Piece, Branch[Read]]] = deque()

    def each(
        self, pieces: Iterable[Piece], node: Callable[[], Node]
    ) -> Iterator[tuple[Piece, Branch[Read]]]:
        """Every piece in its turn, with its reading, which has begun; the next ones begin, too."""
        coming = iter(pieces)
        while True:
            for piece in islice(coming, AT_ONCE - len(self._branches)):
                beside = node()
                read = self._threads.submit(self._read, beside, piece)
                self._branches.append((piece, Branch(beside, read)))
            if not self._branches:
                return
            yield self._branches.popleft()

    def call_off(self) -> None:
        """Have all readings that have begun end without a result, at once."""
        for _, branch in self._branches:
            branch.call_off()


@contextmanager
def reading(read: Callable[[Node, Piece, Alone], Read]) -> Iterator[Ahead[Piece, Read]]:
    """Threads to read ahead in; whatever they still read at the end is called off."""
    with (
        ThreadPoolExecutor(1, "made alone") as thread,
        ThreadPoolExecutor(AT_ONCE, "reading ahead") as threads,
        _collecting_seldom(),
    ):
        alone = Alone(thread)
        ahead: Ahead[Piece, Read] = Ahead(lambda node, piece: read(node, piece, alone), threads)
        try:
            yield ahead
        finally:
            ahead.call_off()


@contextmanager
def _collecting_seldom() -> Iterator[None]:
    """Have the garbage collector leave what is there already alone, and look at the rest seldom.

    Answers are thousands of lists without a circle, most of which are gone soon: to go through them
    each time that some hundreds are there takes as long as all else that is done with an answer.
    """
    gc.freeze()
    gc.set_threshold(SELDOM, *USUAL[1:])
    try:
        yield
    finally:
        gc.set_threshold(*USUAL)
        gc.unfreeze()
