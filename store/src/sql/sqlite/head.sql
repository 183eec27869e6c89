SELECT epoch, head, head_hash FROM cells WHERE cell = ?1
