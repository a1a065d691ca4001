-- From version 4 to version 5, which schema.sql describes.

BEGIN IMMEDIATE;

CREATE INDEX deliveries_by_order ON deliveries (sequence);

CREATE TABLE trace_contexts (
  sequence    INTEGER PRIMARY KEY
              REFERENCES orders (sequence),
  traceparent TEXT    NOT NULL
) STRICT;

PRAGMA user_version = 5;

COMMIT;
