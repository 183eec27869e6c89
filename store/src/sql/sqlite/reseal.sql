UPDATE segments SET sealed = ?3 WHERE cell = ?1 AND last = ?2
