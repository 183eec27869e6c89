SELECT position FROM projections WHERE cell = ?1
