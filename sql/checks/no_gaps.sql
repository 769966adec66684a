-- Epochs of the window that are neither stored nor skipped, though a later one is stored.
SELECT wanted AS epoch
FROM generate_series(%(first)s, least(%(last)s, (SELECT max(epoch) FROM epochs))) AS wanted
WHERE NOT EXISTS (SELECT FROM epochs WHERE epoch = wanted)
  AND NOT EXISTS (SELECT FROM skipped_epochs WHERE epoch = wanted)
ORDER BY epoch
