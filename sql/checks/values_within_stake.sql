-- Operators whose positions are worth more than its stake at the close of the epoch: that of the end
-- block with the reward, or that of the price, which knows of rewards that came later.
WITH start AS (  -- the first epoch of the window that is known
  SELECT min(epoch) AS epoch FROM nominator_epochs WHERE epoch BETWEEN %(first)s AND %(last)s
), share AS (
  SELECT share.* FROM operator_shares AS share
  JOIN nominator_epochs AS known ON known.epoch = share.epoch AND known.complete
  WHERE share.epoch BETWEEN %(first)s AND %(last)s
), moved AS (  -- what there is at first, and by how much that changes
  SELECT start.epoch, operator_id, position.shares_raw
  FROM nominator_positions AS position, start
  WHERE position.epoch <= start.epoch AND (until_epoch IS NULL OR until_epoch > start.epoch)
  UNION ALL
  SELECT position.epoch, operator_id, position.shares_raw - coalesce(before.shares_raw, 0)
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
  SELECT epoch, operator_id, sum(sum(shares_raw)) OVER (PARTITION BY operator_id ORDER BY epoch) AS shares
  FROM moved GROUP BY epoch, operator_id
)
SELECT epoch, operator_id, worth::text AS stored, at_most::text AS expected
FROM share
JOIN together USING (epoch, operator_id)
JOIN operator_share_prices AS price USING (epoch, operator_id)
CROSS JOIN LATERAL (
  SELECT shares_to_stake(shares, share_price_perq) AS worth,
         greatest(stake_raw + reward_raw - div(reward_raw * nomination_tax, 100),
                  div(shares_raw * 1000000000000000000, nullif(share_price_perq, 0))) AS at_most
) AS compared
WHERE shares_raw > 0 AND worth > at_most
ORDER BY epoch, operator_id
