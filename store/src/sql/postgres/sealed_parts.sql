-- Without the bodies: most of what is stored is not looked at.
SELECT first, last, ''::bytea, sealed
FROM segments
WHERE cell = $1 AND last > $2 AND sealed IS NOT NULL
ORDER BY last
LIMIT $3
