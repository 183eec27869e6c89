SELECT seq, stream, kind, version, codec, at, "by", body, sealed, hash
FROM events
WHERE cell = $1 AND seq = ANY($2)
ORDER BY seq
