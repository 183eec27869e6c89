SELECT due, id
FROM records
WHERE cell = ?1 AND kind = ?2 AND due <= ?3 AND (due, id) > (?4, ?5)
ORDER BY due, id
LIMIT ?6
