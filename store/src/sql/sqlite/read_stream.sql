-- A stream that a segment has events of stands in it in plain bytes. So may other things that
-- contain its name: the reader looks again.
SELECT first, last, body, sealed
FROM segments
WHERE cell = ?1 AND last > ?2 AND instr(body, ?3) > 0
ORDER BY last
