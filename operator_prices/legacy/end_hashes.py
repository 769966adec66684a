"""Are imported epochs of this very chain: their end hashes against a node, once for each."""

from psycopg import Connection

from operator_prices import store
from operator_prices.chain import Chain

NOT_COMPARED = """
SELECT epoch, end_block, end_hash FROM legacy_hashes
  WHERE compared_at IS NULL AND epoch <= %s ORDER BY epoch
"""
KEEP = "UPDATE legacy_hashes SET (chain_hash, compared_at) = ROW (%s, now()) WHERE epoch = %s"

DIFFERING = """
SELECT epoch FROM legacy_hashes WHERE epoch BETWEEN %s AND %s AND compared_at IS NOT NULL
  AND lower(chain_hash) IS DISTINCT FROM lower(end_hash) ORDER BY epoch
"""


def recheck_imported(connection: Connection, chain: Chain, *, until: int) -> tuple[int, int]:
    """Recheck the imported epochs that were not yet; return how many, and how many differ.

    A thousand blocks are asked for in one request. What the chain says is kept in `legacy_hashes`.
    Those before the first block that the node has wait for a node that has them.
    """
    imported = connection.execute(NOT_COMPARED, [until]).fetchall()
    if not imported:
        return 0, 0
    found = chain.block_hashes([block for _, block, _ in imported])
    begin = chain.reach().first_block if None in found else 0
    pairs = [
        (one, told)
        for one, told in zip(imported, found, strict=True)
        if told is not None or one[1] >= begin
    ]
    with store.long_work(connection), connection.cursor() as cursor:
        cursor.executemany(KEEP, [(told, epoch) for (epoch, _, _), told in pairs])
    same = sum(told is not None and told.lower() == end.lower() for (_, _, end), told in pairs)
    return len(pairs), len(pairs) - same


def differing(connection: Connection, first: int, last: int) -> list[int]:
    """The imported epochs of `first..last` that did not end where their snapshot says."""
    return [epoch for (epoch,) in connection.execute(DIFFERING, [first, last])]
