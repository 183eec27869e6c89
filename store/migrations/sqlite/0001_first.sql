-- Who owns a cell and where it stands. Changed by every append of that cell.
CREATE TABLE cells (
    cell INTEGER PRIMARY KEY,
    epoch INTEGER NOT NULL CHECK (epoch > 0),
    head INTEGER NOT NULL CHECK (head >= 0),
    head_hash BLOB NOT NULL CHECK (length(head_hash) = 32)
) STRICT;

-- The journal. Rows are added at the end of the table, whatever their cell: a table ordered by
-- (cell, seq) was measured at half the speed.
CREATE TABLE events (
    cell INTEGER NOT NULL,
    seq INTEGER NOT NULL CHECK (seq > 0),
    stream TEXT NOT NULL,
    kind TEXT NOT NULL,
    version INTEGER NOT NULL,
    codec INTEGER NOT NULL,
    at INTEGER NOT NULL,
    "by" TEXT NOT NULL,
    body BLOB NOT NULL,
    sealed BLOB,
    hash BLOB NOT NULL CHECK (length(hash) = 32)
) STRICT;

CREATE UNIQUE INDEX events_position ON events (cell, seq);
CREATE INDEX events_stream ON events (cell, stream, seq);

-- Rows for listing, folded from the events.
CREATE TABLE records (
    cell INTEGER NOT NULL,
    kind TEXT NOT NULL,
    id TEXT NOT NULL,
    created INTEGER NOT NULL,
    updated INTEGER NOT NULL,
    open INTEGER NOT NULL CHECK (open IN (0, 1)),
    status TEXT NOT NULL,
    body BLOB NOT NULL,
    sealed BLOB,
    PRIMARY KEY (cell, kind, id)
) STRICT;

CREATE INDEX records_newest ON records (cell, kind, created);
CREATE INDEX records_status ON records (cell, kind, status, created);
CREATE INDEX records_open ON records (cell, created) WHERE open = 1;

-- How far the rows of a cell are folded; committed together with them.
CREATE TABLE projections (
    cell INTEGER PRIMARY KEY,
    position INTEGER NOT NULL CHECK (position >= 0)
) STRICT;
