CREATE OR REPLACE FUNCTION operator_events(
  first_epoch BIGINT, last_epoch BIGINT, wanted INTEGER, still BIGINT)
RETURNS TABLE (epoch BIGINT, operator_id INTEGER, kind TEXT, before TEXT, after TEXT, what TEXT,
               happened_at BIGINT, from_chain BOOLEAN)
LANGUAGE sql STABLE AS $$
WITH chosen AS (
  SELECT operators_metadata.operator_id FROM operators_metadata
  WHERE wanted IS NULL OR operators_metadata.operator_id = wanted
), seen AS MATERIALIZED (
  SELECT chosen.operator_id, bounds.first, bounds.last
  FROM chosen CROSS JOIN LATERAL (
    SELECT min(share.epoch) AS first, max(share.epoch) AS last FROM operator_shares AS share
    WHERE share.operator_id = chosen.operator_id) AS bounds
), known AS MATERIALIZED (  -- these epochs, and before them as far back as it takes to compare
  SELECT share.operator_id, share.epoch, share.status, share.nomination_tax, share.owned_by
  FROM chosen CROSS JOIN LATERAL (
    SELECT coalesce(least(
      (SELECT max(share.epoch) FROM operator_shares AS share
       WHERE share.operator_id = chosen.operator_id AND share.epoch < first_epoch
         AND share.status IS NOT NULL),
      (SELECT max(share.epoch) FROM operator_shares AS share
       WHERE share.operator_id = chosen.operator_id AND share.epoch < first_epoch
         AND share.nomination_tax IS NOT NULL),
      (SELECT max(share.epoch) FROM operator_shares AS share
       WHERE share.operator_id = chosen.operator_id AND share.epoch < first_epoch
         AND share.owned_by IS NOT NULL)), -1) AS epoch) AS since
  JOIN operator_shares AS share ON share.operator_id = chosen.operator_id
    AND share.epoch BETWEEN since.epoch AND last_epoch
), statuses AS (
  SELECT known.epoch, known.operator_id, known.status AS after,
         lag(known.status) OVER (PARTITION BY known.operator_id ORDER BY known.epoch) AS before
  FROM known WHERE known.status IS NOT NULL
), taxes AS (
  SELECT known.epoch, known.operator_id, known.nomination_tax AS after,
         lag(known.nomination_tax) OVER (PARTITION BY known.operator_id ORDER BY known.epoch) AS before
  FROM known WHERE known.nomination_tax IS NOT NULL
), owners AS (
  SELECT known.epoch, known.operator_id, known.owned_by AS after,
         lag(known.owned_by) OVER (PARTITION BY known.operator_id ORDER BY known.epoch) AS before
  FROM known WHERE known.owned_by IS NOT NULL
), prices AS (  -- these epochs, and before them as long as the price stood still
  SELECT price.operator_id, price.epoch, price.share_price_perq AS value
  FROM chosen
  LEFT JOIN LATERAL (
    SELECT price.epoch, price.share_price_perq AS value FROM operator_share_prices AS price
    WHERE price.operator_id = chosen.operator_id AND price.epoch < first_epoch
    ORDER BY price.epoch DESC LIMIT 1) AS latest ON true
  CROSS JOIN LATERAL (
    SELECT coalesce((
      SELECT price.epoch FROM operator_share_prices AS price
      WHERE price.operator_id = chosen.operator_id AND price.epoch < latest.epoch
        AND price.share_price_perq <> latest.value
      ORDER BY price.epoch DESC LIMIT 1), -1) AS epoch) AS moved
  JOIN operator_share_prices AS price ON price.operator_id = chosen.operator_id
    AND price.epoch > moved.epoch AND price.epoch <= last_epoch
  WHERE still > 0
), moves AS (
  SELECT prices.*, value IS DISTINCT FROM lag(value) OVER each AS moved
  FROM prices WINDOW each AS (PARTITION BY prices.operator_id ORDER BY prices.epoch)
), stretches AS (
  SELECT moves.*, count(*) FILTER (WHERE moved) OVER each AS stretch
  FROM moves WINDOW each AS (PARTITION BY moves.operator_id ORDER BY moves.epoch)
), standing AS (
  SELECT stretches.*, first_value(stretches.epoch) OVER each AS since,
         lag(stretches.epoch) OVER each AS earlier
  FROM stretches
  WINDOW each AS (PARTITION BY stretches.operator_id, stretch ORDER BY stretches.epoch)
), happened (epoch, operator_id, kind, before, after) AS (
  SELECT seen.first::bigint, seen.operator_id,
         CASE WHEN seen.first > (SELECT min(document.epoch) FROM epoch_documents AS document)
              THEN 'registered' ELSE 'known' END,
         NULL::text, share.status
  FROM seen JOIN operator_shares AS share
    ON share.operator_id = seen.operator_id AND share.epoch = seen.first
  UNION ALL
  SELECT statuses.epoch, statuses.operator_id,
         CASE WHEN after IN ('Slashed', 'PendingSlash') AND before NOT IN ('Slashed', 'PendingSlash')
              THEN 'slashed' ELSE 'status' END,
         before, after
  FROM statuses WHERE before <> after
  UNION ALL
  SELECT taxes.epoch, taxes.operator_id,
         CASE WHEN after > before THEN 'taxRaised' ELSE 'taxLowered' END, before::text, after::text
  FROM taxes WHERE before <> after
  UNION ALL
  SELECT owners.epoch, owners.operator_id, 'ownerChanged', before, after
  FROM owners WHERE before <> after
  UNION ALL
  SELECT standing.epoch, standing.operator_id, 'priceStill', since::text, value::text
  FROM standing LEFT JOIN operator_shares AS share
    ON share.operator_id = standing.operator_id AND share.epoch = standing.epoch
  WHERE standing.epoch >= since + still AND earlier < since + still
    AND coalesce(share.status, 'Registered') = 'Registered'
  UNION ALL
  SELECT absent.epoch, seen.operator_id, 'gone', seen.last::text, NULL
  FROM seen CROSS JOIN LATERAL (
    SELECT epochs.epoch FROM epochs JOIN epoch_documents AS document USING (epoch)
    WHERE epochs.epoch > seen.last AND epochs.complete ORDER BY epochs.epoch LIMIT 1) AS absent
)
SELECT happened.epoch, happened.operator_id, happened.kind, happened.before, happened.after,
       CASE happened.kind
         WHEN 'registered' THEN concat('Registered: its first epoch, ', now.word)
         WHEN 'known' THEN format('Already %s in the first stored epoch', now.word)
         WHEN 'status' THEN format('Status changed from %s to %s', was.word, now.word)
         WHEN 'slashed' THEN format('Status changed from %s to %s: slashed', was.word, now.word)
         WHEN 'taxRaised' THEN
           format('Nomination tax raised from %s %% to %s %%', happened.before, happened.after)
         WHEN 'taxLowered' THEN
           format('Nomination tax lowered from %s %% to %s %%', happened.before, happened.after)
         WHEN 'ownerChanged' THEN
           format('Owner changed from %s to %s', happened.before, happened.after)
         WHEN 'priceStill' THEN
           format('Share price has not moved for %s epochs, since epoch %s', still, happened.before)
         WHEN 'gone' THEN
           format('Gone: epoch %s was its last, the chain keeps no entry of it since', happened.before)
       END,
       document.timestamp, document.from_chain
FROM happened
LEFT JOIN epoch_documents AS document ON document.epoch = happened.epoch
CROSS JOIN LATERAL (SELECT status_in_words(happened.before) AS word) AS was
CROSS JOIN LATERAL (SELECT status_in_words(happened.after) AS word) AS now
WHERE happened.epoch BETWEEN first_epoch AND last_epoch
ORDER BY happened.epoch, happened.operator_id, happened.kind
$$;

DO $$
BEGIN
  EXECUTE format('ALTER FUNCTION operator_events(BIGINT, BIGINT, INTEGER, BIGINT)'
                 ' SET search_path = %I, pg_temp', current_schema());
END
$$;
