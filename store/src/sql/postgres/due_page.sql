-- Asked for, and in the order of, the whole key: that no other index can give, whatever the planner believes of the table.
SELECT due, id
FROM records
WHERE (cell, kind, due, id) > ($1, $2, $4, $5 COLLATE "C") AND cell = $1 AND kind = $2 AND due <= $3
ORDER BY cell, kind, due, id
LIMIT $6
