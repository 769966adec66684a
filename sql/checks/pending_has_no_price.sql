-- Deposits that are pending still, of an epoch that is over and whose operator was registered at its
-- end: the chain must have had a price for it, unless the operator left before the epoch was closed.
-- A row is judged by the last epoch of the window at which it holds, wherever it begins, and named with
-- the first one at which it should have had one.
WITH pending AS MATERIALIZED (
  SELECT operator_id, nominator, epoch, until_epoch, pending_raw
  FROM nominator_positions
  WHERE epoch BETWEEN %(first)s AND %(last)s AND pending_raw > 0
  UNION ALL
  SELECT operator_id, nominator, epoch, until_epoch, pending_raw
  FROM nominator_positions
  WHERE epoch < %(first)s AND pending_raw > 0
    AND (until_epoch IS NULL OR until_epoch > epoch + 1)
    AND (until_epoch IS NULL OR until_epoch > %(first)s)
), waiting AS MATERIALIZED (
  SELECT pending.operator_id, pending.nominator, pending.pending_raw, entry.pending_epoch, (
    SELECT min(known.epoch) FROM nominator_epochs AS known
    WHERE known.epoch >= greatest(%(first)s, pending.epoch, pending_epoch + 1)) AS epoch
  FROM pending
  CROSS JOIN LATERAL (
    SELECT epoch FROM nominator_epochs AS known
    WHERE known.epoch <= least(%(last)s, pending.until_epoch - 1)
    ORDER BY epoch DESC LIMIT 1) AS held
  CROSS JOIN LATERAL (
    SELECT pending_epoch FROM raw_nominators AS raw
    WHERE raw.operator_id = pending.operator_id AND raw.nominator = pending.nominator
      AND raw.epoch <= held.epoch
    ORDER BY raw.epoch DESC LIMIT 1) AS entry
  WHERE held.epoch BETWEEN %(first)s AND %(last)s AND entry.pending_epoch < held.epoch
)
SELECT waiting.epoch, waiting.operator_id,
       format('%%s has %%s pending of epoch %%s', nominator, pending_raw, pending_epoch) AS fault
FROM waiting
JOIN operator_shares AS share
  ON share.epoch = pending_epoch AND share.operator_id = waiting.operator_id
JOIN epochs ON epochs.epoch = pending_epoch
LEFT JOIN LATERAL (
  SELECT status FROM operator_shares AS later
  WHERE later.operator_id = waiting.operator_id AND later.epoch > pending_epoch
  ORDER BY later.epoch LIMIT 1) AS later ON true
WHERE share.status = 'Registered' AND epochs.complete
  AND (later.status = 'Registered' OR EXISTS (
    SELECT FROM operator_share_prices AS price
    WHERE price.epoch = pending_epoch AND price.operator_id = waiting.operator_id
      AND price.source <> 'derived'))
ORDER BY epoch, operator_id
