-- Prices, imported ones aside, above the one that the state at the end of their epoch implies: rewards that
-- the transition block adds can only lower a price.
SELECT price.epoch, price.operator_id, share_price_perq::text AS stored, implied::text AS expected
FROM operator_share_prices AS price
JOIN operator_shares AS state USING (epoch, operator_id)
CROSS JOIN LATERAL (
  SELECT div(shares_raw * 1000000000000000000,
             nullif(stake_raw + reward_raw - div(reward_raw * nomination_tax, 100), 0)) AS implied
) AS recomputed
WHERE epoch BETWEEN %(first)s AND %(last)s AND shares_raw > 0
  AND state.epoch BETWEEN %(first)s AND %(last)s  -- said twice, both are hashed
  AND share_price_perq > implied AND price.source <> 'epochs_json'
ORDER BY epoch, operator_id
