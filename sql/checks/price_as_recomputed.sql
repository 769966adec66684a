-- Prices so far below the one that the end block implies that a Perbill does not explain it, and
-- imported ones above it.
SELECT price.epoch, price.operator_id, share_price_perq::text AS stored, implied::text AS expected
FROM operator_share_prices AS price
JOIN operator_shares AS state USING (epoch, operator_id)
CROSS JOIN LATERAL (
  SELECT div(shares_raw * 1000000000000000000,
             nullif(stake_raw + reward_raw - div(reward_raw * nomination_tax, 100), 0)) AS implied
) AS recomputed
WHERE epoch BETWEEN %(first)s AND %(last)s AND shares_raw > 0
  AND (implied - share_price_perq >= 1000000000
       OR share_price_perq > implied AND price.source = 'epochs_json')
ORDER BY epoch, operator_id
