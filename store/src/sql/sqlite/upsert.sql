INSERT INTO records (cell, kind, id, created, updated, open, status, body, sealed, due)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
ON CONFLICT (cell, kind, id) DO UPDATE SET
    created = excluded.created,
    updated = excluded.updated,
    open = excluded.open,
    status = excluded.status,
    body = excluded.body,
    sealed = excluded.sealed,
    due = excluded.due
