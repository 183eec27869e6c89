SELECT first, last, body, sealed
FROM segments
WHERE cell = $1 AND last = ANY (ARRAY(
    SELECT (SELECT min(last) FROM segments WHERE cell = $1 AND last >= asked.seq)
    FROM unnest($2::bigint[]) AS asked (seq)
))
ORDER BY last
