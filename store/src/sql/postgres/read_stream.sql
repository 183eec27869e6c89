-- A stream that a segment has events of stands in it in plain bytes. So may other things that
-- contain its name: the reader looks again.
SELECT first, last, body, sealed
FROM (
    SELECT *, sum(size) OVER (ORDER BY last ROWS UNBOUNDED PRECEDING) - size AS bytes_before
    FROM (
        SELECT first, last, body, sealed,
            octet_length(body) + coalesce(octet_length(sealed), 0) AS size
        FROM segments
        WHERE cell = $1 AND last > $2 AND position($3::bytea IN body) > 0
        ORDER BY last
        LIMIT $4
    ) AS page
) AS counted
WHERE bytes_before <= $5
ORDER BY last
