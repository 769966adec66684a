-- Epochs that do not begin above, or do not end right below, their neighbours on the chain.
SELECT epoch, fault, stored, expected
FROM (
  SELECT epoch, source, end_block, end_hash, timestamp, transition_block, transition_hash,
         lag(end_block) OVER previous AS end_before, lag(timestamp) OVER previous AS time_before
  FROM epochs
  WHERE epoch BETWEEN %(first)s - 1 AND %(last)s
  WINDOW previous AS (ORDER BY epoch)
) AS pair
CROSS JOIN LATERAL (VALUES
  ('transition block does not follow the end block', transition_block <> end_block + 1,
   transition_block::text, (end_block + 1)::text),
  ('end block is not above that of the epoch before', end_block <= end_before,
   end_block::text, 'above ' || end_before),
  ('chain time does not advance', source = 'chain' AND timestamp <= time_before,
   timestamp::text, 'above ' || time_before),
  ('end hash is no hash', end_hash !~ '^0x[0-9A-Fa-f]{64}$', end_hash, '0x and 64 digits'),
  ('end and transition have one hash', end_hash = transition_hash, end_hash, 'two hashes')
) AS look (fault, found, stored, expected)
WHERE found AND epoch >= %(first)s
ORDER BY epoch
