SELECT coalesce((SELECT position FROM projections WHERE cell = $1), 0),
    cell, kind, id, created, updated, open, status, body, sealed
FROM (SELECT) AS always
LEFT JOIN records ON cell = $1 AND open
ORDER BY created
