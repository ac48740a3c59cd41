-- What somebody set by command: dotted configuration keys and their values as text.
CREATE TABLE setting (
    key   TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- One row: which schema, the count of saves so far, and the SHA-256 of all settings with
-- that count. SQLite finds broken pages, the seal finds values that changed by themselves.
-- Every later schema keeps this table, so that an older program knows a newer file.
CREATE TABLE seal (
    id     INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    schema INTEGER NOT NULL,
    seq    INTEGER NOT NULL,
    sum    BLOB    NOT NULL
) STRICT;
