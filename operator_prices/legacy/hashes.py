"""Are imported epochs of this very chain: their end hashes against a node, once for each."""

from psycopg import Connection

from operator_prices.chain import Chain

NOT_COMPARED = """
SELECT epoch, end_block, end_hash FROM raw_epochs
  WHERE source = 'legacy' AND epoch <= %s AND NOT EXISTS (
    SELECT FROM legacy_hashes AS known
    WHERE known.epoch = raw_epochs.epoch AND known.end_block = raw_epochs.end_block
      AND known.end_hash = raw_epochs.end_hash)
  ORDER BY epoch
"""
KEEP = """
INSERT INTO legacy_hashes AS old (epoch, end_block, end_hash, chain_hash) VALUES (%s, %s, %s, %s)
  ON CONFLICT (epoch) DO UPDATE SET (end_block, end_hash, chain_hash, compared_at)
    = ROW (excluded.end_block, excluded.end_hash, excluded.chain_hash, now())
"""


def compare_imported(connection: Connection, chain: Chain, *, until: int) -> tuple[int, int]:
    """Compare the imported epochs that were not compared yet; return how many, and how many differ.

    A thousand blocks are asked for in one request. What the chain says is kept in `legacy_hashes`.
    """
    imported = connection.execute(NOT_COMPARED, [until]).fetchall()
    if not imported:
        return 0, 0
    found = chain.block_hashes([block for _, block, _ in imported])
    with connection.transaction(), connection.cursor() as cursor:
        cursor.executemany(KEEP, [(*row, told) for row, told in zip(imported, found, strict=True)])
    differing = sum(row[2] != told for row, told in zip(imported, found, strict=True))
    return len(imported), differing
