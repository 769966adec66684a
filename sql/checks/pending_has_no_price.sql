-- Deposits that are pending still, of an epoch that is over and whose operator was registered at its
-- end: the chain must have had a price for it.
SELECT position.epoch, position.operator_id,
       format('%%s has %%s pending of epoch %%s', position.nominator, position.pending_raw,
              entry.pending_epoch) AS fault
FROM nominator_positions AS position
CROSS JOIN LATERAL (
  SELECT pending_epoch FROM raw_nominators AS raw
  WHERE raw.operator_id = position.operator_id AND raw.nominator = position.nominator
    AND raw.epoch <= position.epoch
  ORDER BY raw.epoch DESC LIMIT 1) AS entry
JOIN operator_shares AS share
  ON share.epoch = entry.pending_epoch AND share.operator_id = position.operator_id
WHERE position.epoch BETWEEN %(first)s AND %(last)s AND position.pending_raw > 0
  AND entry.pending_epoch < position.epoch AND share.status = 'Registered'
  AND EXISTS (SELECT FROM epochs WHERE epochs.epoch = entry.pending_epoch AND complete)
ORDER BY epoch, operator_id
