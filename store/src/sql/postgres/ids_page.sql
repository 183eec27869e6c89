-- Asked for, and in the order of, the whole primary key: that no other index can give, whatever the planner believes.
SELECT id
FROM records
WHERE (cell, kind, id) > ($1, $2, $3 COLLATE "C") AND cell = $1 AND kind = $2
ORDER BY cell, kind, id
LIMIT $4
