SELECT cell, epoch, head, head_hash FROM cells WHERE cell = ANY($1)
