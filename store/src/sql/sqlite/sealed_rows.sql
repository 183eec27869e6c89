SELECT kind, id, sealed
FROM records
WHERE cell = ?1 AND (kind, id) > (?2, ?3) AND sealed IS NOT NULL
ORDER BY kind, id
LIMIT ?4
