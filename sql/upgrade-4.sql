-- From version 3 to version 4, which schema.sql describes.

BEGIN IMMEDIATE;

CREATE INDEX orders_pending_by_user ON orders (user_id, sequence) WHERE status = 'Pending';

INSERT INTO totals (name, value) VALUES ('removed_events_through', 0);

CREATE TABLE secrets (
  name        TEXT    PRIMARY KEY,
  value       BLOB    NOT NULL
) STRICT;

INSERT INTO secrets (name, value) VALUES ('sessions', randomblob(32));

PRAGMA user_version = 4;

COMMIT;
