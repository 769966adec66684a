"""Operators: what epochs tell of them, and what people say."""

import polars as pl
from psycopg import Connection

from operator_prices.store.database import long_work

INCOMING = """
WITH incoming AS (
  SELECT * FROM unnest(%(operator_id)s::integer[], %(first_seen_epoch)s::integer[],
    %(last_seen_epoch)s::integer[], %(owner)s::text[], %(signing_key)s::text[],
    %(nomination_tax)s::smallint[], %(minimum_nominator_stake)s::numeric[], %(status)s::text[])
  AS told (operator_id, first_seen_epoch, last_seen_epoch, owner, signing_key, nomination_tax,
    minimum_nominator_stake, status))
"""
"""They are few: to make a table for them takes longer than all else that is done with them."""

MERGE_OPERATORS = """
INSERT INTO operators_metadata AS old (operator_id, first_seen_epoch, last_seen_epoch, owner,
    signing_key, nomination_tax, minimum_nominator_stake, status)
  SELECT operator_id, first_seen_epoch, last_seen_epoch, owner, signing_key, nomination_tax,
    minimum_nominator_stake, status FROM incoming
  ON CONFLICT (operator_id) DO UPDATE SET
    (first_seen_epoch, last_seen_epoch, owner, signing_key, nomination_tax,
      minimum_nominator_stake, status, updated_at) = ROW (
      least(old.first_seen_epoch, excluded.first_seen_epoch),
      greatest(old.last_seen_epoch, excluded.last_seen_epoch),
      coalesce(excluded.owner, old.owner), coalesce(excluded.signing_key, old.signing_key),
      coalesce(excluded.nomination_tax, old.nomination_tax),
      coalesce(excluded.minimum_nominator_stake, old.minimum_nominator_stake),
      coalesce(excluded.status, old.status), now())
  WHERE coalesce(old.last_seen_epoch, -1) <= excluded.last_seen_epoch AND
    (old.first_seen_epoch, old.last_seen_epoch, old.owner, old.signing_key, old.nomination_tax,
      old.minimum_nominator_stake, old.status) IS DISTINCT FROM
    (least(old.first_seen_epoch, excluded.first_seen_epoch), excluded.last_seen_epoch,
      coalesce(excluded.owner, old.owner), coalesce(excluded.signing_key, old.signing_key),
      coalesce(excluded.nomination_tax, old.nomination_tax),
      coalesce(excluded.minimum_nominator_stake, old.minimum_nominator_stake),
      coalesce(excluded.status, old.status))
"""
"""The latest epoch that knows has the word: no legacy snapshot names an owner, and the first
generation of them no terms either."""

EARLIER_OPERATORS = """
UPDATE operators_metadata AS old SET (first_seen_epoch, owner, signing_key, nomination_tax,
      minimum_nominator_stake, status, updated_at)
    = ROW (least(old.first_seen_epoch, new.first_seen_epoch), coalesce(old.owner, new.owner),
      coalesce(old.signing_key, new.signing_key), coalesce(old.nomination_tax, new.nomination_tax),
      coalesce(old.minimum_nominator_stake, new.minimum_nominator_stake),
      coalesce(old.status, new.status), now())
  FROM incoming AS new
  WHERE new.operator_id = old.operator_id
    AND (new.first_seen_epoch < old.first_seen_epoch
      OR old.owner IS NULL AND new.owner IS NOT NULL
      OR old.signing_key IS NULL AND new.signing_key IS NOT NULL)
"""

ACTIVE_OPERATORS = """
UPDATE operators_metadata SET is_active = fact.active
  FROM (SELECT operator_id, status = 'Registered' AND last_seen_epoch = (SELECT max(epoch)
          FROM epochs) AS active FROM operators_metadata) AS fact
  WHERE operators_metadata.operator_id = fact.operator_id AND is_active IS DISTINCT FROM fact.active
"""


def merge_operators(connection: Connection, frame: pl.DataFrame) -> int:
    """Learn of operators from some epochs; return how many rows of operators that changed.

    The latest epoch that shows an operator has the word; what people set is left alone.
    """
    with long_work(connection), connection.cursor() as cursor:
        cursor.execute("LOCK TABLE operators_metadata IN SHARE ROW EXCLUSIVE MODE")
        incoming = frame.to_dict(as_series=False)
        changes = (INCOMING + MERGE_OPERATORS, INCOMING + EARLIER_OPERATORS, ACTIVE_OPERATORS)
        return sum(cursor.execute(change, incoming).rowcount for change in changes)


def name_operator(
    connection: Connection, operator_id: int, name: str | None, color: str | None
) -> bool:
    """Set what people may set of an operator, None leaves it; false if there is no such."""
    changed = connection.execute(
        "UPDATE operators_metadata SET name = coalesce(%s, name), color = coalesce(%s, color),"
        " updated_at = now() WHERE operator_id = %s",
        [name, color, operator_id],
    )
    return changed.rowcount == 1
