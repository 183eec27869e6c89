UPDATE records SET sealed = ?5 WHERE cell = ?1 AND kind = ?2 AND id = ?3 AND sealed = ?4
