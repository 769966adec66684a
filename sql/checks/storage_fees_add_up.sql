-- Operators whose storage fee deposit is not that of all positions.
WITH start AS (  -- the first epoch of the window that is known
  SELECT min(epoch) AS epoch FROM nominator_epochs WHERE epoch BETWEEN %(first)s AND %(last)s
), share AS (
  SELECT share.* FROM operator_shares AS share
  JOIN nominator_epochs AS known ON known.epoch = share.epoch AND known.complete
  WHERE share.epoch BETWEEN %(first)s AND %(last)s
), moved AS (  -- what there is at first, and by how much that changes
  SELECT start.epoch, operator_id, position.storage_fee_deposit_raw
  FROM nominator_positions AS position, start
  WHERE position.epoch <= start.epoch AND (until_epoch IS NULL OR until_epoch > start.epoch)
  UNION ALL
  SELECT position.epoch, operator_id, position.storage_fee_deposit_raw - coalesce(before.storage_fee_deposit_raw, 0)
  FROM start, nominator_positions AS position
  LEFT JOIN LATERAL (
    SELECT * FROM nominator_positions AS earlier
    WHERE earlier.operator_id = position.operator_id AND earlier.nominator = position.nominator
      AND earlier.epoch < position.epoch
    ORDER BY earlier.epoch DESC LIMIT 1) AS before USING (operator_id, nominator)
  WHERE position.epoch > start.epoch AND position.epoch <= %(last)s
  UNION ALL
  SELECT epoch, operator_id, 0 FROM share
), together AS (
  SELECT epoch, operator_id, sum(sum(storage_fee_deposit_raw)) OVER (PARTITION BY operator_id ORDER BY epoch) AS storage_fee_deposit
  FROM moved GROUP BY epoch, operator_id
)
SELECT epoch, operator_id, storage_fee_deposit::text AS stored,
       share.storage_fee_deposit_raw::text AS expected
FROM share JOIN together USING (epoch, operator_id)
WHERE storage_fee_deposit <> share.storage_fee_deposit_raw
ORDER BY epoch, operator_id
