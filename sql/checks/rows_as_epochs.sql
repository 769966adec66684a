-- Epochs that only one of the raw table and the view knows, or whose row is not up to date.
SELECT epoch,
       CASE WHEN stored.epoch IS NULL THEN 'no row' WHEN fresh.epoch IS NULL THEN 'no epoch'
            ELSE 'row is stale' END AS fault
FROM epoch_analytics_of(%(first)s, %(last)s) AS fresh
FULL JOIN (
  SELECT * FROM epoch_analytics WHERE epoch BETWEEN %(first)s AND %(last)s
) AS stored USING (epoch)
WHERE (stored IS DISTINCT FROM fresh)
ORDER BY epoch
