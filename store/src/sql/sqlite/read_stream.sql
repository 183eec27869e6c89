SELECT seq, stream, kind, version, codec, at, "by", body, sealed, hash
FROM events
WHERE cell = ?1 AND stream = ?4 AND seq > ?2
ORDER BY seq
LIMIT ?3
