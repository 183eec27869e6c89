-- Who owns a cell and where it stands. Changed by every append of that cell.
CREATE TABLE cells (
    cell INTEGER PRIMARY KEY,
    epoch INTEGER NOT NULL CHECK (epoch > 0),
    head INTEGER NOT NULL CHECK (head >= 0),
    head_hash BLOB NOT NULL CHECK (length(head_hash) = 32)
) STRICT;

-- The journal: a row for each run of consecutive events of a cell that were appended together; how
-- a row reads says `store/src/segment.rs`. Rows are added at the end of the table, whatever their
-- cell: a table ordered by (cell, last) was measured at half the speed.
CREATE TABLE segments (
    cell INTEGER NOT NULL,
    last INTEGER NOT NULL,
    first INTEGER NOT NULL CHECK (first > 0 AND first <= last),
    body BLOB NOT NULL,
    sealed BLOB
) STRICT;

CREATE UNIQUE INDEX segments_position ON segments (cell, last);

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
    due INTEGER,
    PRIMARY KEY (cell, kind, id)
) STRICT;

CREATE INDEX records_newest ON records (cell, kind, created);
CREATE INDEX records_status ON records (cell, kind, status, created);
CREATE INDEX records_open ON records (cell, created) WHERE open = 1;
CREATE INDEX records_due ON records (cell, kind, due, id) WHERE due IS NOT NULL;

-- How far the rows of a cell are folded; committed together with them.
CREATE TABLE projections (
    cell INTEGER PRIMARY KEY,
    position INTEGER NOT NULL CHECK (position >= 0)
) STRICT;
