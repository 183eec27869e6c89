-- From the segment that holds the event before the bound, or else the newest.
SELECT first, last, body, sealed
FROM segments
WHERE cell = ?1 AND last <= coalesce(
    (SELECT min(last) FROM segments WHERE cell = ?1 AND last >= ?2),
    9223372036854775807
)
ORDER BY last DESC
