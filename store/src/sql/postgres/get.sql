-- One look into the primary key for each id, whatever the planner believes of the table. While it has no statistics,
-- all indexes that begin with cell and kind seem alike to it, and another one goes through all rows of the kind for
-- each id. So this asks for the first row from the id on, in the order of the key, which only the key itself can give.
SELECT coalesce((SELECT position FROM projections WHERE cell = $1), 0),
    cell, kind, id, created, updated, open, status, body, sealed, due
FROM (SELECT) AS always
LEFT JOIN (
    SELECT found.*
    FROM (SELECT DISTINCT unnest($3::text[])) AS asked (name)
    CROSS JOIN LATERAL (
        SELECT * FROM records
        WHERE (cell, kind, id) >= ($1, $2, asked.name COLLATE "C")
        ORDER BY cell, kind, id
        LIMIT 1
    ) AS found
    WHERE found.cell = $1 AND found.kind = $2 AND found.id = asked.name COLLATE "C"
) AS rows ON true
ORDER BY created
