-- Prices read from the chain that are not what the raw JSON says, or that only one of them knows.
WITH told AS (
  SELECT epoch, (entry -> 'key' ->> 0)::bigint AS operator_id, entry ->> 'value' AS price
  FROM epochs
  CROSS JOIN LATERAL jsonb_array_elements(data -> 'operatorEpochSharePrice' -> 'entries') AS entry
  WHERE epoch BETWEEN %(first)s AND %(last)s AND source = 'chain'
), kept AS (
  SELECT epoch, operator_id, share_price_perq
  FROM operator_share_prices
  WHERE epoch BETWEEN %(first)s AND %(last)s AND source = 'chain'
)
SELECT epoch, operator_id, share_price_perq::text AS stored, price AS expected,
       CASE WHEN kept.epoch NOT IN (SELECT epoch FROM epochs)
            THEN 'whose raw epoch is not stored: materialize raw_epochs of the window, which reads'
              || ' it again' END AS fault
FROM told FULL JOIN kept USING (epoch, operator_id)
WHERE share_price_perq IS DISTINCT FROM price::numeric
ORDER BY epoch, operator_id
