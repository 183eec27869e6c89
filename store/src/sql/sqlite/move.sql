UPDATE cells SET head = ?2, head_hash = ?3 WHERE cell = ?1
