"""Two ways to read what `/api/epochs` publishes: from the tables, or from the stored JSON.

The rows have the shape of the old API: big integers are decimal text, unknown is None.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any, Literal

import orjson
from psycopg import Connection
from psycopg.rows import dict_row

from operator_prices.amounts import ONE
from operator_prices.epochs.windows import between
from operator_prices.legacy.reader import Reader
from operator_prices.legacy.snapshots import Row, Snapshot

Path = Literal["tables", "json"]

ALWAYS = ("0", "1", "2", "3")
"""The operators that the old API always had a key for."""

FROM_TABLES = """
SELECT epoch, coalesce(domain_id, 0) AS domain_id, end_block, timestamp,
       total_stake_raw::text AS total_stake, storage_fee_fund_raw::text AS storage_fees,
       operator_stakes_json AS stakes, operator_rewards_json AS rewards,
       operator_share_prices_json AS prices, operator_count AS operators
FROM epoch_analytics WHERE epoch BETWEEN %s AND %s ORDER BY epoch
"""

STORED = """
SELECT epoch, end_block, end_hash, timestamp, data::text, source,
       coalesce(domain_id, (SELECT domain_id FROM chain_identity), 0),
       (SELECT jsonb_object_agg(operator_id, share_price_perq::text) FROM legacy_prices AS price
        WHERE price.epoch = epochs.epoch AND NOT EXISTS (
          SELECT FROM legacy_hashes AS told
          WHERE told.epoch = epochs.epoch AND source = 'chain'
            AND (told.end_block, lower(told.end_hash))
              IS DISTINCT FROM (epochs.end_block, lower(epochs.end_hash))))
FROM epochs WHERE epoch BETWEEN %s AND %s ORDER BY epoch
"""
"""What `parsed` takes of a window.

With the prices that snapshots told, since a row read from a node takes the place of its snapshot;
but for those of an epoch that ended in another block.
"""

FOLLOWING = """
SELECT epoch, end_block, end_hash, timestamp, data::text
FROM epochs WHERE epoch > %s AND source IS DISTINCT FROM 'chain' ORDER BY epoch LIMIT 1
"""
"""The first snapshot behind a window, which tells the prices of the window's last epoch."""


UNREAD = """
SELECT epoch FROM quarantine
WHERE source = 'legacy' AND item = 'epochs' AND epoch BETWEEN %s AND %s
"""


def read_epochs(
    connection: Connection, first: int, last: int, *, path: Path = "tables"
) -> Iterator[dict[str, Any]]:
    """One row per epoch of `first..last`, in ascending order.

    `tables` reads what the pipeline wrote. `json` is the old way, done right: it parses the JSON of
    each epoch, whichever shape it has, takes the prices of an epoch from the snapshots after it,
    and derives those that no snapshot tells.
    """
    return (
        _from_tables(connection, first, last)
        if path == "tables"
        else _from_json(connection, first, last)
    )


@dataclass(frozen=True, slots=True)
class Difference:
    """A value of an epoch that the two ways do not agree on."""

    epoch: int
    name: str
    tables: object
    json: object


def compare(connection: Connection, first: int, last: int) -> Iterator[Difference]:
    """Everything that the two ways say differently of the epochs `first..last`.

    A row that is in quarantine as a whole has no JSON to be read, and is no difference.
    """
    for window in between(first, last):
        start, end = max(first, window.first), min(last, window.last)
        one = {row["epoch"]: row for row in _from_tables(connection, start, end)}
        two = {row["epoch"]: row for row in _from_json(connection, start, end)}
        unread = {epoch for (epoch,) in connection.execute(UNREAD, [start, end])}
        for epoch in sorted(one.keys() | two.keys()):
            if epoch not in two and epoch in unread:
                continue
            if epoch not in one or epoch not in two:
                yield Difference(epoch, "epoch", epoch in one, epoch in two)
            else:
                yield from _differences(epoch, "", one[epoch], two[epoch])


def _differences(epoch: int, name: str, one: object, two: object) -> Iterator[Difference]:
    if isinstance(one, dict) and isinstance(two, dict):
        for key in sorted(one.keys() | two.keys()):
            inner = f"{name}.{key}" if name else key
            yield from _differences(epoch, inner, one.get(key), two.get(key))
    elif isinstance(one, list) and isinstance(two, list):
        if one != two:
            pairs = zip_longest(one, two)
            wrong = [pair for pair in pairs if pair[0] != pair[1]]
            yield Difference(epoch, name, [pair[0] for pair in wrong], [pair[1] for pair in wrong])
    elif one != two:
        yield Difference(epoch, name, one, two)


def _from_tables(connection: Connection, first: int, last: int) -> Iterator[dict[str, Any]]:
    with connection.cursor(row_factory=dict_row) as cursor:
        for row in cursor.execute(FROM_TABLES, [first, last]):
            yield _row(**row)


def _from_json(connection: Connection, first: int, last: int) -> Iterator[dict[str, Any]]:
    for window in between(first, last):
        stored = connection.execute(STORED, [max(first, window.first), window.last]).fetchall()
        following = connection.execute(FOLLOWING, [window.last]).fetchone()
        yield from parsed(stored, following, last)


def parsed(
    stored: Iterable[tuple[Any, ...]], following: tuple[Any, ...] | None, last: int
) -> Iterator[dict[str, Any]]:
    """The epochs up to `last` from what `STORED` and `FOLLOWING` tell of one window.

    All snapshots of the window are read for their prices, those behind `last` too.
    """
    readers: dict[int, Reader] = {}
    snapshots: list[tuple[Snapshot, int]] = []
    own: dict[int, dict[int, int | None]] = {}
    told: dict[int, dict[int, int | None]] = {}
    domain = 0
    for *columns, source, domain, remembered in stored:
        row = Row._make(columns)
        reader = Reader(domain) if source == "chain" else readers.setdefault(domain, Reader(domain))
        snapshot = reader.read(row)
        told[row.epoch] = {
            int(operator): None if price is None else int(price)
            for operator, price in (remembered or {}).items()
            if price is not None or source != "chain"
        }
        if source == "chain":
            own[row.epoch] = reader.prices.of(row.epoch)
        if snapshot is not None and row.epoch <= last:
            snapshots.append((snapshot, domain))
    if following is not None:
        readers.setdefault(domain, Reader(domain)).read_prices(Row._make(following))
    for snapshot, of_domain in snapshots:
        prices = told[snapshot.epoch]
        if (chain := own.get(snapshot.epoch)) is not None:
            prices |= chain
        elif of_domain in readers:
            prices |= readers[of_domain].prices.of(snapshot.epoch)
        yield _read_document(snapshot, prices, of_domain)


def restricted(row: dict[str, Any], operators: Collection[int]) -> dict[str, Any]:
    """The row with these operators alone in its objects."""
    wanted = {str(operator) for operator in operators}
    kept = {
        name: {operator: value for operator, value in row[name].items() if operator in wanted}
        for name in ("operatorStakes", "rewards", "operatorSharePrices")
    }
    defaulted = [one for one in row["meta"]["sharePricesDefaulted"] if one in wanted]
    return {**row, **kept, "meta": {**row["meta"], "sharePricesDefaulted": defaulted}}


def _read_document(
    snapshot: Snapshot, prices: Mapping[int, int | None], domain_id: int
) -> dict[str, Any]:
    text, complete = snapshot.document(prices, domain_id)
    document = orjson.loads(text)
    entries = document["operators"]["entries"]
    found = {str(entry["key"][0]) for entry in entries}
    misfits = document["quarantined"]
    every = not any(
        misfit["item"] == "Operators" and misfit.get("operatorId") not in found
        for misfit in misfits
    )
    known = complete or bool(entries)
    withheld = {
        misfit.get("operatorId")
        for misfit in misfits
        if misfit["item"] == "OperatorEpochSharePrice"
    }
    priced = {str(operator): str(price) for operator, price in prices.items() if price is not None}
    for entry in entries:
        operator = str(entry["key"][0])
        if operator not in priced and operator not in withheld:
            price = _derived(entry)
            if price is not None:
                priced[operator] = str(price)
    summary = document["domainStakingSummary"] or {}
    departed = {  # rewarded, but gone before the epoch was over
        operator: reward
        for operator, reward in (summary.get("currentEpochRewards") or {}).items()
        if operator not in found and str(reward).isdecimal()
    }
    whole = every and known
    fees = [int(entry["value"]["totalStorageFeeDeposit"]) for entry in entries if whole]
    return _row(
        epoch=snapshot.epoch,
        domain_id=domain_id,
        end_block=snapshot.end_block,
        timestamp=snapshot.timestamp,
        total_stake=summary.get("currentTotalStake"),
        storage_fees=str(sum(fees)) if whole else None,
        stakes=_known(entries, "activeStake"),
        rewards=departed | _known(entries, "reward"),
        prices=priced,
        operators=len(entries) if whole else None,
    )


def _known(entries: list[dict[str, Any]], name: str) -> dict[str, str]:
    return {str(entry["key"][0]): entry[name] for entry in entries if entry[name] is not None}


def _derived(entry: dict[str, Any]) -> int | None:
    """`floor(shares * 10^18 / (stake + reward - floor(reward * tax / 100)))`, if it is a price."""
    value, reward = entry["value"], entry["reward"]
    if not value:
        return None
    shares = int(value["currentTotalShares"])
    if reward is None or shares == 0:
        return None
    earned = int(reward)
    worth = int(value["currentTotalStake"]) + earned - earned * value["nominationTax"] // 100
    price = shares * ONE // worth if worth else 0
    return price if 1 <= price <= ONE else None


def _row(
    *,
    epoch: int,
    domain_id: int,
    end_block: int,
    timestamp: int | None,
    total_stake: str | None,
    storage_fees: str | None,
    stakes: Mapping[str, str] | None,
    rewards: Mapping[str, str] | None,
    prices: Mapping[str, str] | None,
    operators: int | None,
) -> dict[str, Any]:
    """A row as the old API had it: keys 0 to 3 are always there, and defaults are named."""
    stakes, rewards, prices = stakes or {}, rewards or {}, prices or {}
    return {
        "domainId": domain_id,
        "epoch": epoch,
        "endBlock": end_block,
        "timestamp": timestamp,
        "totalStake": total_stake,
        "storageFees": storage_fees,
        "operatorStakes": _by_operator(stakes),
        "rewards": _by_operator({**dict.fromkeys(ALWAYS, "0"), **rewards}),
        "operatorSharePrices": _by_operator({**dict.fromkeys(ALWAYS, str(ONE)), **prices}),
        "operators": operators,
        "meta": {
            "rewardsHasAny": any(reward != "0" for reward in rewards.values()),
            "sharePricesHasAny": bool(prices),
            "sampleApplied": False,
            "sharePricesDefaulted": [operator for operator in ALWAYS if operator not in prices],
        },
    }


def _by_operator(amounts: Mapping[str, str]) -> dict[str, str]:
    return dict(sorted(amounts.items(), key=lambda pair: int(pair[0])))
