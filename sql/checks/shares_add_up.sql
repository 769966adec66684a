-- Operators whose shares are not those of all positions. A conversion of a deposit rounds down, that of
-- their sum by the pool once: of each that has been, at most one share of 10^-18 is missing. In the
-- epoch of its registration an operator has none yet, though its deposits are shares already.
WITH rounding AS (
  SELECT operator_id, 1000 + 2 * count(*) AS at_most
  FROM nominator_positions WHERE epoch <= %(last)s GROUP BY operator_id
)
SELECT epoch, operator_id, (sums.shares_raw + withdrawing_shares_raw)::text AS stored,
       share.shares_raw::text AS expected
FROM nominator_sums(%(first)s, %(last)s) AS sums
JOIN operator_shares AS share USING (epoch, operator_id)
LEFT JOIN rounding USING (operator_id)
WHERE NOT (share.shares_raw = 0 AND share.stake_raw = 0)
  AND NOT share.shares_raw - sums.shares_raw - withdrawing_shares_raw
    BETWEEN 0 AND coalesce(at_most, 0)
ORDER BY epoch, operator_id
