SELECT cell, position FROM projections WHERE cell = ANY($1)
