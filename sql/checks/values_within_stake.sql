-- Operators whose positions are worth more than its stake at the close of the epoch: that of the end
-- block with the reward, or that of the price, which knows of rewards that came later.
SELECT epoch, operator_id, worth::text AS stored, at_most::text AS expected
FROM nominator_sums(%(first)s, %(last)s) AS sums
JOIN operator_shares AS share USING (epoch, operator_id)
JOIN operator_share_prices AS price USING (epoch, operator_id)
CROSS JOIN LATERAL (
  SELECT shares_to_stake(sums.shares_raw, share_price_perq) AS worth,
         greatest(stake_raw + reward_raw - div(reward_raw * nomination_tax, 100),
                  div(share.shares_raw * 1000000000000000000, nullif(share_price_perq, 0)))
           AS at_most
) AS compared
WHERE share.shares_raw > 0 AND worth > at_most
ORDER BY epoch, operator_id
