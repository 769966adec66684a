-- Prices that a Perbill's rounding does not explain. What the chain stored is held against the state after
-- the epoch was closed, whose rewards it is made from: deposits and withdrawals come and go at that price.
-- Where that state is not known, what the end block implies must not be far above the price, and that
-- of an imported one not below it: the transition block may add rewards.
SELECT price.epoch, price.operator_id, share_price_perq::text AS stored, expected::text
FROM operator_share_prices AS price
JOIN operator_shares AS state USING (epoch, operator_id)
CROSS JOIN LATERAL (
  SELECT price.source = 'chain' AND stake_after_raw > 0 AND shares_after_raw > 0 AS closed
) AS known
CROSS JOIN LATERAL (
  SELECT CASE WHEN closed THEN div(shares_after_raw * 1000000000000000000, stake_after_raw)
    ELSE div(shares_raw * 1000000000000000000,
             nullif(stake_raw + reward_raw - div(reward_raw * nomination_tax, 100), 0)) END AS expected
) AS recomputed
WHERE epoch BETWEEN %(first)s AND %(last)s AND shares_raw > 0
  AND state.epoch BETWEEN %(first)s AND %(last)s  -- said twice, both are hashed
  AND CASE WHEN closed THEN abs(expected - share_price_perq) >= 1000000000
    ELSE expected - share_price_perq >= 1000000000
      OR price.source = 'epochs_json' AND share_price_perq > expected END
ORDER BY epoch, operator_id
