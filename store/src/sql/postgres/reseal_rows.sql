UPDATE records SET sealed = asked.new
FROM (
    SELECT unnest($2::text[]) AS kind,
        unnest($3::text[]) AS id,
        unnest($4::bytea[]) AS old,
        unnest($5::bytea[]) AS new
) AS asked
WHERE records.cell = $1
  AND records.kind = asked.kind
  AND records.id = asked.id
  AND records.sealed = asked.old
RETURNING records.id
