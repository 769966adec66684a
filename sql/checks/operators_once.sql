-- Operators that a raw epoch lists twice, or prices twice.
SELECT epoch, operator_id::bigint, section AS fault, count(*) AS stored, 1 AS expected
FROM epochs
CROSS JOIN LATERAL (VALUES ('operators'), ('operatorEpochSharePrice')) AS told (section)
CROSS JOIN LATERAL jsonb_array_elements(data -> section -> 'entries') AS entry
CROSS JOIN LATERAL (SELECT entry -> 'key' ->> 0 AS operator_id) AS key
WHERE epoch BETWEEN %(first)s AND %(last)s AND source = 'chain'
GROUP BY epoch, operator_id, section HAVING count(*) > 1
ORDER BY epoch, operator_id
