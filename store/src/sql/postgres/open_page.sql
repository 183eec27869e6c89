SELECT cell, kind, id, created, updated, open, status, body, sealed, due
FROM records
WHERE cell = $1 AND open AND created > $2
ORDER BY created
LIMIT $3
