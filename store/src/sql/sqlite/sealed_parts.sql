SELECT first, last, sealed
FROM segments
WHERE cell = ?1 AND last > ?2 AND sealed IS NOT NULL
ORDER BY last
LIMIT ?3
