-- Values that could not be understood.
SELECT epoch, item AS fault, coalesce(storage_key, raw) AS stored, reason AS expected
FROM quarantine
WHERE epoch BETWEEN %(first)s AND %(last)s
ORDER BY epoch, id
