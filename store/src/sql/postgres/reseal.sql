UPDATE segments SET sealed = asked.new
FROM (
    SELECT unnest($2::bigint[]) AS last, unnest($3::bytea[]) AS old, unnest($4::bytea[]) AS new
) AS asked
WHERE segments.cell = $1 AND segments.last = asked.last AND segments.sealed = asked.old
RETURNING segments.last
