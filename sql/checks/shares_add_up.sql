-- Operators whose shares are not those of all positions. A conversion of a deposit rounds down, that of
-- their sum by the pool once: of each that has been, at most one share of 10^-18 is missing. In the
-- epoch of its registration an operator has none yet, though its deposits are shares already.
WITH start AS (  -- the first epoch of the window that is known
  SELECT min(epoch) AS epoch FROM nominator_epochs WHERE epoch BETWEEN %(first)s AND %(last)s
), share AS (
  SELECT share.* FROM operator_shares AS share
  JOIN nominator_epochs AS known ON known.epoch = share.epoch AND known.complete
  WHERE share.epoch BETWEEN %(first)s AND %(last)s
), moved AS (  -- what there is at first, and by how much that changes
  SELECT start.epoch, operator_id, position.shares_raw, position.withdrawing_shares_raw
  FROM nominator_positions AS position, start
  WHERE position.epoch <= start.epoch AND (until_epoch IS NULL OR until_epoch > start.epoch)
  UNION ALL
  SELECT position.epoch, operator_id, position.shares_raw - coalesce(before.shares_raw, 0),
         position.withdrawing_shares_raw - coalesce(before.withdrawing_shares_raw, 0)
  FROM start, nominator_positions AS position
  LEFT JOIN LATERAL (
    SELECT * FROM nominator_positions AS earlier
    WHERE earlier.operator_id = position.operator_id AND earlier.nominator = position.nominator
      AND earlier.epoch < position.epoch
    ORDER BY earlier.epoch DESC LIMIT 1) AS before USING (operator_id, nominator)
  WHERE position.epoch > start.epoch AND position.epoch <= %(last)s
  UNION ALL
  SELECT epoch, operator_id, 0, 0 FROM share
), together AS (
  SELECT epoch, operator_id, sum(sum(shares_raw)) OVER (PARTITION BY operator_id ORDER BY epoch) AS shares,
         sum(sum(withdrawing_shares_raw)) OVER (PARTITION BY operator_id ORDER BY epoch) AS withdrawing_shares
  FROM moved GROUP BY epoch, operator_id
), rounding AS (
  SELECT operator_id, 1000 + 2 * count(*) AS at_most
  FROM nominator_positions WHERE epoch <= %(last)s GROUP BY operator_id
)
SELECT epoch, operator_id, (shares + withdrawing_shares)::text AS stored,
       share.shares_raw::text AS expected
FROM share JOIN together USING (epoch, operator_id) LEFT JOIN rounding USING (operator_id)
WHERE NOT (share.shares_raw = 0 AND share.stake_raw = 0)
  AND NOT share.shares_raw - shares - withdrawing_shares BETWEEN 0 AND coalesce(at_most, 0)
ORDER BY epoch, operator_id
