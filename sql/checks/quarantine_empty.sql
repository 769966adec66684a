-- Values that could not be understood, but for those of nominators, which have a check of their own.
SELECT epoch, item AS fault, coalesce(storage_key, raw) AS stored, reason AS expected
FROM quarantine
WHERE epoch BETWEEN %(first)s AND %(last)s
  AND item NOT IN ('Deposits', 'Withdrawals', 'DepositOnHold', 'NominatorListing')
ORDER BY epoch, id
