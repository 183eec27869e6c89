INSERT INTO cells (cell, epoch, head, head_hash)
VALUES (?1, 1, 0, ?2)
ON CONFLICT (cell) DO UPDATE SET epoch = epoch + 1
RETURNING epoch, head, head_hash
