-- Prices that are not above zero and at most 1.
SELECT epoch, operator_id, share_price_perq::text AS stored, '1 to 10^18' AS expected
FROM operator_share_prices
WHERE epoch BETWEEN %(first)s AND %(last)s
  AND NOT share_price_perq BETWEEN 1 AND 1000000000000000000
ORDER BY epoch, operator_id
