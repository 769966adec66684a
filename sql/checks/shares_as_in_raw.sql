-- Operators whose row is not what the raw JSON says, or that only one of them knows.
WITH told AS (
  SELECT epoch, (entry -> 'key' ->> 0)::bigint AS operator_id,
         concat_ws(' ', entry -> 'value' ->> 'currentTotalShares',
                   entry -> 'value' ->> 'currentTotalStake',
                   coalesce(entry ->> 'activeStake', '-'), coalesce(entry ->> 'reward', '-'),
                   coalesce(entry -> 'value' ->> 'totalStorageFeeDeposit', '-'),
                   entry -> 'value' ->> 'nominationTax',
                   entry -> 'value' ->> 'partialStatus') AS state
  FROM epochs
  CROSS JOIN LATERAL jsonb_array_elements(data -> 'operators' -> 'entries') AS entry
  WHERE epoch BETWEEN %(first)s AND %(last)s AND source = 'chain'
), kept AS (
  SELECT epoch, operator_id,
         concat_ws(' ', shares_raw, stake_raw, coalesce(active_stake_raw::text, '-'),
                   coalesce(reward_raw::text, '-'), coalesce(storage_fee_deposit_raw::text, '-'),
                   nomination_tax, status) AS state
  FROM operator_shares
  WHERE epoch BETWEEN %(first)s AND %(last)s AND source = 'chain'
)
SELECT epoch, operator_id, kept.state AS stored, told.state AS expected,
       CASE WHEN kept.epoch NOT IN (SELECT epoch FROM epochs)
            THEN 'whose raw epoch is not stored: materialize raw_epochs of the window, which reads'
              || ' it again' END AS fault
FROM told FULL JOIN kept USING (epoch, operator_id)
WHERE kept.state IS DISTINCT FROM told.state
ORDER BY epoch, operator_id
