SELECT cell, kind, id, created, updated, open, status, body, sealed, due
FROM records
WHERE cell = $1 AND kind = $2 AND status = $3 AND created > $4
ORDER BY created
LIMIT $5
