INSERT INTO segments (cell, last, first, body, sealed)
VALUES (?1, ?2, ?3, ?4, ?5)
