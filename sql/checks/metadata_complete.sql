-- Operators with a row in the window of which the list of operators does not say all.
SELECT min(seen.epoch) AS epoch, operator_id,
       concat_ws(', ',
         CASE WHEN known.operator_id IS NULL THEN 'operator' END,
         CASE WHEN owner IS NULL THEN 'owner' END,
         CASE WHEN signing_key IS NULL THEN 'signing key' END,
         CASE WHEN known.nomination_tax IS NULL THEN 'nomination tax' END,
         CASE WHEN known.status IS NULL THEN 'status' END,
         CASE WHEN first_seen_epoch > min(seen.epoch) THEN 'first epoch' END,
         CASE WHEN last_seen_epoch < max(seen.epoch) THEN 'last epoch' END) AS fault
FROM operator_shares AS seen
LEFT JOIN operators_metadata AS known USING (operator_id)
WHERE seen.epoch BETWEEN %(first)s AND %(last)s AND seen.source = 'chain'
GROUP BY operator_id, known.operator_id
HAVING known.operator_id IS NULL
    OR num_nulls(owner, signing_key, known.nomination_tax, known.status) > 0
    OR first_seen_epoch > min(seen.epoch) OR last_seen_epoch < max(seen.epoch)
ORDER BY operator_id
