INSERT INTO events (cell, seq, stream, kind, version, codec, at, "by", body, sealed, hash)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)
