-- Epochs whose active operators' stakes do not add up to the total stake.
SELECT epoch, sum(amount::numeric)::text AS stored,
       data -> 'domainStakingSummary' ->> 'currentTotalStake' AS expected
FROM epochs
LEFT JOIN LATERAL jsonb_each_text(data -> 'domainStakingSummary' -> 'currentOperators')
  AS active (operator_id, amount) ON true
WHERE epoch BETWEEN %(first)s AND %(last)s AND source = 'chain'
  AND jsonb_typeof(data -> 'domainStakingSummary') = 'object'
GROUP BY epoch, data
HAVING coalesce(sum(amount::numeric), 0)
  <> (data -> 'domainStakingSummary' ->> 'currentTotalStake')::numeric
ORDER BY epoch
