-- As `read`, from the segment that holds the event before the bound, or else the newest.
WITH newest AS (
    SELECT coalesce(
        (SELECT min(last) FROM segments WHERE cell = $1 AND last >= $2),
        (SELECT max(last) FROM segments WHERE cell = $1)
    ) AS last
)
SELECT first, last, body, sealed
FROM (
    SELECT *, sum(size) OVER (ORDER BY last DESC ROWS UNBOUNDED PRECEDING) - size AS bytes_before
    FROM (
        SELECT first, last, body, sealed,
            octet_length(body) + coalesce(octet_length(sealed), 0) AS size
        FROM segments
        WHERE cell = $1
          AND last > (SELECT least(last, $2) FROM newest) - $3
          AND last <= (SELECT last FROM newest)
    ) AS page
) AS counted
WHERE bytes_before <= $4
ORDER BY last DESC
