-- Entries of accounts that could not be understood, or say what cannot be.
SELECT epoch, item AS fault, coalesce(raw, storage_key) AS stored, reason AS expected
FROM quarantine
WHERE epoch BETWEEN %(first)s AND %(last)s AND item IN ('Deposits', 'Withdrawals', 'DepositOnHold')
ORDER BY epoch, id
