"""Why a run failed is told from its events."""

import dagster as dg
import pytest

from operator_prices.chain import (
    ArchiveNeededError,
    DomainMissingError,
    NodeBehindError,
    NodeHangsError,
    NodeUnreachableError,
    NotASubstrateNodeError,
    RateLimitedError,
    RefusedError,
    WrongChainError,
)
from operator_prices.defs.failures import failed_for_the_node


@pytest.mark.parametrize(
    ("cause", "of_the_node"),
    [
        (NodeUnreachableError("no answer"), True),
        (NodeBehindError("no such block yet"), True),
        (RateLimitedError("too often"), True),
        (NodeHangsError("connected, no answer"), True),
        (NotASubstrateNodeError("unreadable metadata"), False),
        (WrongChainError("another genesis"), True),
        (DomainMissingError("no such domain"), True),
        (ArchiveNeededError("no such state any more"), False),
        (RefusedError("too much at once"), False),
        (ValueError("no sense"), False),
    ],
)
@pytest.mark.parametrize("again", [False, True], ids=["given up", "tried again"])
def test_what_a_node_is_to_blame_for_is_told_from_what_it_is_not(
    cause: Exception, *, of_the_node: bool, again: bool
) -> None:
    @dg.op
    def asking() -> None:
        if again:
            raise dg.RetryRequested(max_retries=0) from cause
        raise dg.Failure(str(cause), allow_retries=False) from cause

    @dg.job(executor_def=dg.in_process_executor)
    def asks() -> None:
        asking()

    result = asks.execute_in_process(raise_on_error=False)
    assert failed_for_the_node(result.all_events) == of_the_node
