-- Operators with more shares than stake.
SELECT epoch, operator_id, shares_raw::text AS stored, 'at most ' || stake_raw AS expected
FROM operator_shares
WHERE epoch BETWEEN %(first)s AND %(last)s AND shares_raw > stake_raw
ORDER BY epoch, operator_id
