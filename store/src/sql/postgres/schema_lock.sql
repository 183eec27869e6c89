-- Any number will do, as long as it never changes: it keeps two servers from migrating at once.
SELECT pg_advisory_xact_lock(7006652)
