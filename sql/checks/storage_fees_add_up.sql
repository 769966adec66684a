-- Operators whose storage fee deposit is not that of all positions.
SELECT epoch, operator_id, sums.storage_fee_deposit_raw::text AS stored,
       share.storage_fee_deposit_raw::text AS expected
FROM nominator_sums(%(first)s, %(last)s) AS sums
JOIN operator_shares AS share USING (epoch, operator_id)
WHERE sums.storage_fee_deposit_raw <> share.storage_fee_deposit_raw
ORDER BY epoch, operator_id
