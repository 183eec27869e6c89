SELECT cell, epoch, head, head_hash FROM cells ORDER BY cell
