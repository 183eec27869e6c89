SELECT count(*) FROM records WHERE cell = ?1 AND kind = ?2
