WITH asked AS (
    SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bigint[]) AS a (cell, old, new)
), begun AS (
    INSERT INTO projections (cell, position)
    SELECT cell, new FROM asked WHERE old = 0
    ON CONFLICT (cell) DO NOTHING
    RETURNING cell
), advanced AS (
    UPDATE projections SET position = asked.new
    FROM asked
    WHERE projections.cell = asked.cell AND projections.position = asked.old
    RETURNING projections.cell
), moved AS (
    SELECT cell FROM begun UNION ALL SELECT cell FROM advanced
), created AS (
    -- Began after what is folded already, so they cannot be there: looking first costs a quarter
    -- of a row.
    INSERT INTO records (cell, kind, id, created, updated, open, status, body, sealed, due)
    SELECT r.*
    FROM (
        SELECT unnest($4::bigint[]) AS cell,
            unnest($5::text[]) AS kind,
            unnest($6::text[]) AS id,
            unnest($7::bigint[]) AS created,
            unnest($8::bigint[]) AS updated,
            unnest($9::boolean[]) AS open,
            unnest($10::text[]) AS status,
            unnest($11::bytea[]) AS body,
            unnest($12::bytea[]) AS sealed,
            unnest($13::bigint[]) AS due
    ) AS r
    JOIN moved ON moved.cell = r.cell
), changed AS (
    INSERT INTO records (cell, kind, id, created, updated, open, status, body, sealed, due)
    SELECT r.*
    FROM (
        SELECT unnest($14::bigint[]) AS cell,
            unnest($15::text[]) AS kind,
            unnest($16::text[]) AS id,
            unnest($17::bigint[]) AS created,
            unnest($18::bigint[]) AS updated,
            unnest($19::boolean[]) AS open,
            unnest($20::text[]) AS status,
            unnest($21::bytea[]) AS body,
            unnest($22::bytea[]) AS sealed,
            unnest($23::bigint[]) AS due
    ) AS r
    JOIN moved ON moved.cell = r.cell
    ON CONFLICT (cell, kind, id) DO UPDATE SET
        created = excluded.created,
        updated = excluded.updated,
        open = excluded.open,
        status = excluded.status,
        body = excluded.body,
        sealed = excluded.sealed,
        due = excluded.due
), gone AS MATERIALIZED (
    -- Found as `get.sql` does.
    SELECT found.*
    FROM (
        SELECT unnest($24::bigint[]) AS cell, unnest($25::text[]) AS kind, unnest($26::text[]) AS id
    ) AS r
    JOIN moved ON moved.cell = r.cell
    CROSS JOIN LATERAL (
        SELECT cell, kind, id, status, created FROM records
        WHERE (cell, kind, id) >= (r.cell, r.kind COLLATE "C", r.id COLLATE "C")
        ORDER BY cell, kind, id
        LIMIT 1
    ) AS found
    WHERE found.cell = r.cell AND found.kind = r.kind AND found.id = r.id
), removed AS (
    -- Named by all that any index has of them: whichever the planner takes while it has no statistics, it has one
    -- entry to look at.
    DELETE FROM records USING gone
    WHERE records.cell = gone.cell
      AND records.kind = gone.kind
      AND records.id = gone.id
      AND records.status = gone.status
      AND records.created = gone.created
)
SELECT cell FROM moved
