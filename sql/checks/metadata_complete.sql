-- Operators with a row in the window of which the list of operators does not say all.
SELECT seen.first AS epoch, operator_id,
       concat_ws(', ',
         CASE WHEN known.operator_id IS NULL THEN 'operator' END,
         CASE WHEN owner IS NULL THEN 'owner' END,
         CASE WHEN signing_key IS NULL THEN 'signing key' END,
         CASE WHEN known.nomination_tax IS NULL THEN 'nomination tax' END,
         CASE WHEN known.status IS NULL THEN 'status' END,
         CASE WHEN first_seen_epoch > seen.first THEN 'first epoch' END,
         CASE WHEN last_seen_epoch < seen.last THEN 'last epoch' END) AS fault
FROM (
  SELECT operator_id, min(epoch) AS first, max(epoch) AS last
  FROM operator_shares
  WHERE epoch BETWEEN %(first)s AND %(last)s AND source = 'chain'
  GROUP BY operator_id
) AS seen
LEFT JOIN operators_metadata AS known USING (operator_id)
WHERE known.operator_id IS NULL
   OR num_nulls(owner, signing_key, known.nomination_tax, known.status) > 0
   OR first_seen_epoch > seen.first OR last_seen_epoch < seen.last
ORDER BY operator_id
