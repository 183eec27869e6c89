SELECT name, setting::bigint AS value
FROM pg_settings
WHERE name IN ('max_wal_size', 'checkpoint_timeout')
ORDER BY name DESC
