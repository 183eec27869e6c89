SELECT first, last, body, sealed
FROM segments
WHERE cell = ?1 AND last >= ?2
ORDER BY last
LIMIT 1
