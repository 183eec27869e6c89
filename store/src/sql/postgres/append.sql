WITH asked AS (
    SELECT *
    FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bytea[], $5::bigint[], $6::bytea[])
        AS a (cell, epoch, old_head, old_hash, new_head, new_hash)
), moved AS (
    UPDATE cells SET head = asked.new_head, head_hash = asked.new_hash
    FROM asked
    WHERE cells.cell = asked.cell
      AND cells.epoch = asked.epoch
      AND cells.head = asked.old_head
      AND cells.head_hash = asked.old_hash
    RETURNING cells.cell
), written AS (
    INSERT INTO events (cell, seq, stream, kind, version, codec, at, "by", body, sealed, hash)
    -- Many columns: side by side they are a fifth faster than as one `unnest` of all in FROM,
    -- which writes each of them down first.
    SELECT e.*
    FROM (
        SELECT unnest($7::bigint[]) AS cell,
            unnest($8::bigint[]) AS seq,
            unnest($9::text[]) AS stream,
            unnest($10::text[]) AS kind,
            unnest($11::integer[]) AS version,
            unnest($12::smallint[]) AS codec,
            unnest($13::bigint[]) AS at,
            unnest($14::text[]) AS "by",
            unnest($15::bytea[]) AS body,
            unnest($16::bytea[]) AS sealed,
            unnest($17::bytea[]) AS hash
    ) AS e
    JOIN moved ON moved.cell = e.cell
)
SELECT cell FROM moved
