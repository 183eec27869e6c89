-- Who owns a cell and where it stands. Changed by every append of that cell: half-empty pages and
-- an eager vacuum keep those updates inside one page and out of the index.
CREATE TABLE cells (
    cell bigint PRIMARY KEY,
    epoch bigint NOT NULL CHECK (epoch > 0),
    head bigint NOT NULL CHECK (head >= 0),
    head_hash bytea NOT NULL CHECK (octet_length(head_hash) = 32)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);

-- The journal. Never updated in normal work. Text compares by bytes: names are identifiers.
CREATE TABLE events (
    cell bigint NOT NULL,
    seq bigint NOT NULL CHECK (seq > 0),
    stream text COLLATE "C" NOT NULL,
    kind text COLLATE "C" NOT NULL,
    version integer NOT NULL,
    codec smallint NOT NULL,
    at bigint NOT NULL,
    "by" text COLLATE "C" NOT NULL,
    body bytea NOT NULL,
    sealed bytea,
    hash bytea NOT NULL CHECK (octet_length(hash) = 32),
    PRIMARY KEY (cell, seq)
);

-- Encrypted bytes do not compress; trying costs time.
ALTER TABLE events ALTER COLUMN sealed SET STORAGE EXTERNAL;
CREATE INDEX events_stream ON events (cell, stream, seq);

-- Rows for listing, folded from the events.
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
    PRIMARY KEY (cell, kind, id)
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.05);

ALTER TABLE records ALTER COLUMN sealed SET STORAGE EXTERNAL;
CREATE INDEX records_newest ON records (cell, kind, created);
CREATE INDEX records_status ON records (cell, kind, status, created);
CREATE INDEX records_open ON records (cell, created) WHERE open;

-- How far the rows of a cell are folded; committed together with them.
CREATE TABLE projections (
    cell bigint PRIMARY KEY,
    position bigint NOT NULL CHECK (position >= 0)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);
