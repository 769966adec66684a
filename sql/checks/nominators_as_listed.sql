-- Accounts of which a listing of all keys has said another thing than what was followed: the listing
-- is what the chain has, and holds from its epoch on.
SELECT epoch, item AS fault, storage_key AS stored, reason AS expected
FROM quarantine
WHERE epoch BETWEEN %(first)s AND %(last)s AND item = 'NominatorListing'
ORDER BY epoch, id
