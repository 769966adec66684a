-- Deposits that are pending still, of an epoch that is over and whose operator was registered at its
-- end: the chain must have had a price for it.
WITH pending AS MATERIALIZED (
  SELECT operator_id, nominator, epoch, pending_raw
  FROM nominator_positions
  WHERE epoch BETWEEN %(first)s AND %(last)s AND pending_raw > 0
), waiting AS MATERIALIZED (
  SELECT pending.*, entry.pending_epoch
  FROM pending
  CROSS JOIN LATERAL (
    SELECT pending_epoch FROM raw_nominators AS raw
    WHERE raw.operator_id = pending.operator_id AND raw.nominator = pending.nominator
      AND raw.epoch <= pending.epoch
    ORDER BY raw.epoch DESC LIMIT 1) AS entry
  WHERE entry.pending_epoch < pending.epoch
)
SELECT waiting.epoch, waiting.operator_id,
       format('%%s has %%s pending of epoch %%s', nominator, pending_raw, pending_epoch) AS fault
FROM waiting
JOIN operator_shares AS share
  ON share.epoch = pending_epoch AND share.operator_id = waiting.operator_id
JOIN epochs ON epochs.epoch = pending_epoch
WHERE share.status = 'Registered' AND epochs.complete
ORDER BY epoch, operator_id
