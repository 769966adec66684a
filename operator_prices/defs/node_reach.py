"""How far back the node goes, for those who would ask for what it never had."""

from collections.abc import Collection, Iterable
from logging import Logger
from time import time

import dagster as dg
from pydantic import BaseModel, ValidationError

from operator_prices.chain import Chain, ChainError, Reach
from operator_prices.chain.rpc.endpoints import Endpoint
from operator_prices.epochs.windows import EpochWindow

GOOD_FOR = 3600
"""Seconds for which a sensor remembers it: to find it out takes up to some thirty requests."""

UNKNOWN = Reach(0, 0)


class Remembered(BaseModel):
    """What a sensor's cursor holds of it."""

    endpoints: str
    asked_at: float
    """In seconds of Unix time."""
    first_block: int
    first_epoch: int


def to_be_had(epochs: Iterable[int], reach: Reach, read: Collection[int] = ()) -> list[int]:
    """Those of `epochs` in whose windows none lies before the reach: a window is read as a whole.

    Those that were `read` and lack something else need no node for it.

    >>> to_be_had([3, 97, 103, 104], Reach(first_block=9_000, first_epoch=97))
    [103, 104]
    >>> to_be_had([3, 97, 103, 104], Reach(first_block=9_000, first_epoch=97), read={3})
    [3, 97, 103, 104]
    """
    every = list(epochs)
    before = [epoch for epoch in every if epoch < reach.first_epoch and epoch not in read]
    lost = {EpochWindow.containing(epoch) for epoch in before}
    return [epoch for epoch in every if EpochWindow.containing(epoch) not in lost]


def remembered_reach(context: dg.SensorEvaluationContext, chain: Chain, urls: str) -> Reach:
    """How far back the node at `urls` goes, asked at most once an hour and kept in the cursor."""
    endpoints = ", ".join(map(str, Endpoint.parse_all(urls)))
    known = _remembered(context.cursor)
    if known and known.endpoints == endpoints and 0 <= time() - known.asked_at < GOOD_FOR:
        return Reach(known.first_block, known.first_epoch)
    reach = asked_reach(chain, context.log)
    kept = Remembered(
        endpoints=endpoints,
        asked_at=time(),
        first_block=reach.first_block,
        first_epoch=reach.first_epoch,
    )
    context.update_cursor(kept.model_dump_json())
    return reach


def asked_reach(chain: Chain, log: Logger) -> Reach:
    """How far back the node goes, as it says; if it does not, whatever is lacking is asked for."""
    try:
        reach = chain.reach()
    except ChainError as error:
        log.warning("How far back the node goes was not found out: %s", error)
        return UNKNOWN
    if reach.first_epoch:
        log.warning(
            "The node has nothing before block %s: windows with lacking epochs before %s are left"
            " out until an archive node has them.",
            reach.first_block,
            reach.first_epoch,
        )
    return reach


def _remembered(cursor: str | None) -> Remembered | None:
    """None for a cursor of an earlier version, or of somebody's hand."""
    try:
        return Remembered.model_validate_json(cursor or "")
    except ValidationError:
        return None
