-- Operators whose stake per share fell by 10^9 or more, which is what a price stored as Perbill may
-- round away, without having been slashed.
SELECT epoch, operator_id, stake_per_share::text AS stored, 'at least ' || before AS expected
FROM (
  SELECT epoch, operator_id, status, stake_per_share,
         lag(stake_per_share) OVER (PARTITION BY operator_id ORDER BY epoch) AS before,
         lag(epoch) OVER (PARTITION BY operator_id ORDER BY epoch) AS epoch_before
  FROM (
    SELECT epoch, operator_id, status,
           div((stake_raw + reward_raw - div(reward_raw * nomination_tax, 100))
                 * 1000000000000000000, shares_raw) AS stake_per_share
    FROM operator_shares
    WHERE epoch BETWEEN %(first)s - 1 AND %(last)s AND shares_raw > 0
    OFFSET 0  -- or it is computed anew for each comparison
  ) AS worth
) AS pair
WHERE epoch >= %(first)s AND epoch = epoch_before + 1 AND before - stake_per_share >= 1000000000
  AND status NOT IN ('Slashed', 'PendingSlash')
ORDER BY epoch, operator_id
