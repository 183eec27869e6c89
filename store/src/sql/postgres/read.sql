-- Positions have no gaps, so a number of events is a range of positions: no segment is looked at
-- that the answer does not need. Bytes are counted by the row, which is never less than its events
-- count; the caller asks for more if the difference matters.
SELECT first, last, body, sealed
FROM (
    SELECT *, sum(size) OVER (ORDER BY last ROWS UNBOUNDED PRECEDING) - size AS bytes_before
    FROM (
        SELECT first, last, body, sealed,
            octet_length(body) + coalesce(octet_length(sealed), 0) AS size
        FROM segments
        WHERE cell = $1 AND last > $2 AND last <= coalesce(
            (SELECT min(last) FROM segments WHERE cell = $1 AND last >= $3),
            9223372036854775807
        )
    ) AS page
) AS counted
WHERE bytes_before <= $4
ORDER BY last
