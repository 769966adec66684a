"""Postgres: the schema, and whatever is asked of it or written to it."""

from operator_prices.store.database import (
    LONG_WORK,
    connect,
    doing,
    long_work,
    pinned_chain,
    refuse_hidden,
    refuse_other_chain,
    revive,
)
from operator_prices.store.epochs import blocks, doubt, keep_counts, keep_epochs, uncounted
from operator_prices.store.nominators import (
    all_lacking_nominators,
    entries_at,
    keep_nominators,
    lacking_nominators,
    nominators_before,
)
from operator_prices.store.offenders import offenders
from operator_prices.store.operators import merge_operators, name_operator
from operator_prices.store.positions import refresh_positions
from operator_prices.store.progress import (
    Summary,
    all_lacking,
    from_chain,
    incomplete,
    lacking,
    last_epoch,
    newest_ends,
    note_head,
    read_in_part,
    summary,
    unserved,
    windows_behind,
)
from operator_prices.store.rows import count, read, refresh_analytics, write

__all__ = [
    "LONG_WORK",
    "Summary",
    "all_lacking",
    "all_lacking_nominators",
    "blocks",
    "connect",
    "count",
    "doing",
    "doubt",
    "entries_at",
    "from_chain",
    "incomplete",
    "keep_counts",
    "keep_epochs",
    "keep_nominators",
    "lacking",
    "lacking_nominators",
    "last_epoch",
    "long_work",
    "merge_operators",
    "name_operator",
    "newest_ends",
    "nominators_before",
    "note_head",
    "offenders",
    "pinned_chain",
    "read",
    "read_in_part",
    "refresh_analytics",
    "refresh_positions",
    "refuse_hidden",
    "refuse_other_chain",
    "revive",
    "summary",
    "uncounted",
    "unserved",
    "windows_behind",
    "write",
]
