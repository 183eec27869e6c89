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
    INSERT INTO segments (cell, last, first, body, sealed)
    -- Side by side they are faster than as one `unnest` of all in FROM, which writes each of them
    -- down first.
    SELECT s.*
    FROM (
        SELECT unnest($7::bigint[]) AS cell,
            unnest($8::bigint[]) AS last,
            unnest($9::bigint[]) AS first,
            unnest($10::bytea[]) AS body,
            unnest($11::bytea[]) AS sealed
    ) AS s
    JOIN moved ON moved.cell = s.cell
)
SELECT cell FROM moved
