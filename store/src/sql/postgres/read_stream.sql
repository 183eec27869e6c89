SELECT seq, stream, kind, version, codec, at, "by", body, sealed, hash
FROM (
    SELECT *,
        row_number() OVER in_order AS place,
        sum(octet_length(body) + coalesce(octet_length(sealed), 0)) OVER in_order AS bytes
    FROM (
        SELECT * FROM events WHERE cell = $1 AND stream = $5 AND seq > $2 ORDER BY seq LIMIT $3
    ) AS page
    WINDOW in_order AS (ORDER BY seq ROWS UNBOUNDED PRECEDING)
) AS counted
WHERE place = 1 OR bytes <= $4
ORDER BY seq
