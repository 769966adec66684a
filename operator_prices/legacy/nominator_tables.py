"""Nominators of imported snapshots, put into the tables of those that are read from a chain."""

from dataclasses import dataclass, replace

import polars as pl
from psycopg import Connection

from operator_prices import store
from operator_prices.chain import NOTHING, Entry, EpochStates, Pair, address_of, nominators_frame
from operator_prices.chain.port import ADDRESSES, NOMINATOR_EPOCHS, QUARANTINED
from operator_prices.epochs.windows import EpochWindow
from operator_prices.legacy.nominators import SECTIONS, Listed, listed
from operator_prices.legacy.numbers import InexactError, NotANumberError, amount

SS58_PREFIX = 6094
"""Of the chain that the old system followed."""

SNAPSHOTS = """
SELECT snapshot.epoch, coalesce(snapshot.end_hash, ''), data -> 'deposits', data -> 'withdrawals',
       data -> 'depositOnHold', data ->> 'headDomainNumber',
       ARRAY (SELECT ARRAY[entry -> 'key' ->> 0, entry -> 'value' ->> 'totalStorageFeeDeposit']
              FROM jsonb_array_elements(data -> 'operators' -> 'entries') AS entry)
FROM raw_epochs AS snapshot LEFT JOIN nominator_epochs AS known USING (epoch)
WHERE snapshot.epoch BETWEEN %s AND %s AND snapshot.source = 'legacy'
  AND known.source IS DISTINCT FROM 'chain' AND (known.epoch IS NULL OR %s)
ORDER BY snapshot.epoch
"""

OPERATORS = """
SELECT operator_id FROM operators_metadata UNION SELECT DISTINCT operator_id FROM raw_nominators
"""
"""Operators of the domain, even where a snapshot's own entry of them is not understood."""

Run = list[tuple[int, str, Listed, int | None, dict[Pair, Entry]]]
"""Snapshots that follow upon each other: epoch, end hash, listing, newest domain block, changes."""


@dataclass(slots=True)
class Kept:
    """What the snapshots of a window came to."""

    changed_nominators: int = 0
    listings: int = 0
    doubted_listings: int = 0
    first_doubt: str | None = None


def keep_listed(connection: Connection, window: EpochWindow, *, again: bool) -> Kept:
    """Keep what the window's snapshots list of nominators.

    With `again` those that were kept before, too. Each snapshot is a listing of its own, so an
    account is followed from one to the next; where one is missing, all there is is new. One that is
    doubted is left out, and nobody knows nominators at its epoch.
    """
    rows = connection.execute(SNAPSHOTS, [window.first, window.last, again]).fetchall()
    own = {operator for (operator,) in connection.execute(OPERATORS)}
    own |= {int(operator) for *_, operators in rows for operator, _ in operators}
    kept, run = Kept(), Run()
    known: dict[Pair, Entry] = {}
    for epoch, end_hash, deposits, withdrawals, held, head, operators in rows:
        found = listed(epoch, dict(zip(SECTIONS, (deposits, withdrawals, held), strict=True)))
        if found is None:
            continue
        fees = {int(one): int(fee) for one, fee in operators if fee is not None}
        if (doubt := found.doubt(fees)) is not None:
            kept.doubted_listings += 1
            kept.first_doubt = kept.first_doubt or f"epoch {epoch}: {doubt}"
            continue
        if run and run[-1][0] != epoch - 1:
            kept.changed_nominators += _keep(connection, run)
            run, known = Run(), {}
        before = known if run or not found.offenders else store.entries_at(connection, epoch - 1)
        entries = {pair: one for pair, one in found.all_there_is(before).items() if pair[0] in own}
        gone = dict.fromkeys(known.keys() - entries.keys(), NOTHING)
        moved = {
            pair: entry for pair, entry in (entries | gone).items() if known.get(pair) != entry
        }
        run.append((epoch, end_hash, found, _head(head), moved))
        kept.listings += 1
        known = entries
    kept.changed_nominators += _keep(connection, run)
    return kept


def _keep(connection: Connection, run: Run) -> int:
    if not run:
        return 0
    changes = [
        (epoch, pair, entry) for epoch, _, _, _, moved in run for pair, entry in moved.items()
    ]
    epochs = [
        (epoch, end_hash, True, not found.offenders, head, nth == 0)
        for nth, (epoch, end_hash, found, head, _) in enumerate(run)
    ]
    accounts = {nominator for _, (_, nominator), _ in changes}
    offenders = [
        (one.epoch, None, one.item, one.path, one.operator_id, None, one.raw, one.reason)
        for _, _, found, _, _ in run
        for one in found.offenders
    ]
    read = replace(
        EpochStates.empty(),
        nominators=nominators_frame(changes, {}),
        nominator_epochs=pl.DataFrame(epochs, schema=NOMINATOR_EPOCHS, orient="row"),
        addresses=pl.DataFrame(
            [(account, address_of(account, SS58_PREFIX)) for account in sorted(accounts)],
            schema=ADDRESSES,
            orient="row",
        ),
        nominators_quarantined=pl.DataFrame(offenders, schema=QUARANTINED, orient="row"),
    )
    return store.keep_nominators(connection, read, source="legacy")


def _head(told: object) -> int | None:
    try:
        return amount(told)
    except (NotANumberError, InexactError):
        return None
