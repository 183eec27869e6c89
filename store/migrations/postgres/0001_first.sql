-- Who owns a cell and where it stands. Changed by every append of that cell: half-empty pages and
-- an eager vacuum keep those updates inside one page and out of the index.
CREATE TABLE cells (
    cell bigint PRIMARY KEY,
    epoch bigint NOT NULL CHECK (epoch > 0),
    head bigint NOT NULL CHECK (head >= 0),
    head_hash bytea NOT NULL CHECK (octet_length(head_hash) = 32)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);

-- The journal: a row for each run of consecutive events of a cell that were appended together; how
-- a row reads says `store/src/segment.rs`. A row and its index entry cost the same for one event as
-- for fifty. Never updated in normal work, and then only `sealed`: events are encrypted again or
-- expire.
CREATE TABLE segments (
    cell bigint NOT NULL,
    last bigint NOT NULL,
    first bigint NOT NULL CHECK (first > 0 AND first <= last),
    body bytea NOT NULL,
    sealed bytea,
    PRIMARY KEY (cell, last)
) WITH (toast_tuple_target = 8160);

-- A segment is as large as a page holds (that is the 8160) and stays there as it is: half of it is
-- hashes and encrypted bytes, which do not compress, and trying costs time. Only a larger event
-- goes to the side table.
ALTER TABLE segments ALTER COLUMN body SET STORAGE EXTERNAL;
ALTER TABLE segments ALTER COLUMN sealed SET STORAGE EXTERNAL;

-- Rows for listing, folded from the events. Text compares by bytes: names are identifiers.
CREATE TABLE records (
    cell bigint NOT NULL,
    kind text COLLATE "C" NOT NULL,
    id text COLLATE "C" NOT NULL,
    created bigint NOT NULL,
    updated bigint NOT NULL,
    open boolean NOT NULL,
    status text COLLATE "C" NOT NULL,
    body bytea NOT NULL,
    sealed bytea,
    due bigint,
    PRIMARY KEY (cell, kind, id)
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.05);

-- Encrypted bytes do not compress; trying costs time.
ALTER TABLE records ALTER COLUMN sealed SET STORAGE EXTERNAL;
CREATE INDEX records_newest ON records (cell, kind, created);
CREATE INDEX records_status ON records (cell, kind, status, created);
CREATE INDEX records_open ON records (cell, created) WHERE open;
CREATE INDEX records_due ON records (cell, kind, due, id) WHERE due IS NOT NULL;

-- How far the rows of a cell are folded; committed together with them.
CREATE TABLE projections (
    cell bigint PRIMARY KEY,
    position bigint NOT NULL CHECK (position >= 0)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);
