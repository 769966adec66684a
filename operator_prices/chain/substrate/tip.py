"""How far a chain is: its best block, and how old it is in words."""

from dataclasses import dataclass, field
from time import monotonic

from operator_prices.chain.substrate.runtimes import Runtime


@dataclass(frozen=True, slots=True)
class Tip:
    """The best block with what was read of it, and the last block that lies deep enough below."""

    block: int
    gate: int
    index: int
    runtime: Runtime
    next_operator_id: int
    time: int
    """The best block's own time, in Unix milliseconds."""
    has_first_blocks: bool
    """False for a node that was synced from a later block, or has deleted old ones."""
    looked_at: float = field(default_factory=monotonic, compare=False)


def rounded(seconds: float) -> str:
    """A span of time in the largest unit of which it has two.

    >>> rounded(119), rounded(120), rounded(7_200), rounded(172_800)
    ('119 seconds', '2 minutes', '2 hours', '2 days')
    """
    for size, unit in ((86_400, "days"), (3_600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} seconds"
