-- Accounts of which a listing of all keys has said another thing than what was followed.
SELECT epoch, item AS fault, storage_key AS stored, reason AS expected
FROM quarantine
WHERE epoch BETWEEN %(first)s AND %(last)s AND item = 'NominatorListing'
ORDER BY epoch, id
