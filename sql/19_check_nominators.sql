-- What the checks of nominators ask: the deposits that were pending for longer than an epoch, and what
-- all positions of an operator come to at each epoch.
-- depends: 18_serve_nominators

-- Nearly all become shares in the next one.
CREATE INDEX nominator_positions_long_pending ON nominator_positions (epoch)
  WHERE pending_raw > 0 AND (until_epoch IS NULL OR until_epoch > epoch + 1);

-- An operator is left out while somebody's entry with it could not be understood: from that epoch on
-- what the account had before is believed, until its entry is another one or all are listed again.
CREATE FUNCTION nominator_sums(first_epoch INTEGER, last_epoch INTEGER)
RETURNS TABLE (epoch INTEGER, operator_id INTEGER, shares_raw NUMERIC,
               withdrawing_shares_raw NUMERIC, storage_fee_deposit_raw NUMERIC)
LANGUAGE plpgsql STABLE AS $$
#variable_conflict use_column
BEGIN
  RETURN QUERY
  WITH start AS (  -- the first of these epochs that is known
    SELECT min(epoch) AS epoch FROM nominator_epochs WHERE epoch BETWEEN first_epoch AND last_epoch
  ), misread AS MATERIALIZED (
    SELECT DISTINCT operator_id, epoch AS since, '0x' || right(storage_key, 64) AS nominator
    FROM quarantine
    WHERE epoch <= last_epoch AND source = 'chain' AND operator_id IS NOT NULL
      AND item IN ('Deposits', 'Withdrawals', 'DepositOnHold')
  ), believed AS MATERIALIZED (
    SELECT misread.operator_id, since, least(
      (SELECT min(epoch) FROM nominator_epochs WHERE listed AND epoch > since),
      (SELECT min(raw.epoch) FROM raw_nominators AS raw
       WHERE raw.operator_id = misread.operator_id AND raw.nominator = misread.nominator
         AND raw.epoch > since)) AS until
    FROM misread
  ), share AS (
    SELECT share.epoch, share.operator_id FROM operator_shares AS share
    JOIN nominator_epochs AS known ON known.epoch = share.epoch AND known.complete
    WHERE share.epoch BETWEEN first_epoch AND last_epoch AND NOT EXISTS (
      SELECT FROM believed WHERE believed.operator_id = share.operator_id AND since <= share.epoch
        AND (until IS NULL OR until > share.epoch))
  ), moved AS (  -- what there is at first, and by how much that changes
    SELECT start.epoch, operator_id, position.shares_raw, position.withdrawing_shares_raw,
           position.storage_fee_deposit_raw
    FROM nominator_positions AS position, start
    WHERE position.epoch <= start.epoch AND (until_epoch IS NULL OR until_epoch > start.epoch)
    UNION ALL
    SELECT position.epoch, operator_id, position.shares_raw - coalesce(before.shares_raw, 0),
           position.withdrawing_shares_raw - coalesce(before.withdrawing_shares_raw, 0),
           position.storage_fee_deposit_raw - coalesce(before.storage_fee_deposit_raw, 0)
    FROM start, nominator_positions AS position
    LEFT JOIN LATERAL (
      SELECT * FROM nominator_positions AS earlier
      WHERE earlier.operator_id = position.operator_id AND earlier.nominator = position.nominator
        AND earlier.epoch < position.epoch
      ORDER BY earlier.epoch DESC LIMIT 1) AS before USING (operator_id, nominator)
    WHERE position.epoch > start.epoch AND position.epoch <= last_epoch
    UNION ALL
    SELECT epoch, operator_id, 0, 0, 0 FROM share
  ), together AS (
    SELECT moved.epoch, moved.operator_id,
           sum(sum(moved.shares_raw)) OVER so_far AS shares_raw,
           sum(sum(moved.withdrawing_shares_raw)) OVER so_far AS withdrawing_shares_raw,
           sum(sum(moved.storage_fee_deposit_raw)) OVER so_far AS storage_fee_deposit_raw
    FROM moved GROUP BY moved.epoch, moved.operator_id
    WINDOW so_far AS (PARTITION BY moved.operator_id ORDER BY moved.epoch)
  )
  SELECT epoch, operator_id, together.shares_raw, together.withdrawing_shares_raw,
         together.storage_fee_deposit_raw
  FROM share JOIN together USING (epoch, operator_id);
END
$$;
DO $$
BEGIN
  EXECUTE format('ALTER FUNCTION nominator_sums(INTEGER, INTEGER) SET search_path = %I, pg_temp',
                 current_schema());
END
$$;
