SELECT cell, kind, id, created, updated, open, status, body, sealed, due
FROM records
WHERE cell = ?1 AND kind = ?2 AND created < ?3
ORDER BY created DESC
LIMIT ?4
