INSERT INTO projections (cell, position)
VALUES (?1, ?2)
ON CONFLICT (cell) DO UPDATE SET position = excluded.position
