SELECT id
FROM records
WHERE cell = ?1 AND kind = ?2 AND id > ?3
ORDER BY id
LIMIT ?4
