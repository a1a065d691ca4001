-- From version 3 to version 4, which schema.sql describes.

BEGIN IMMEDIATE;

CREATE INDEX orders_pending_by_user ON orders (user_id, sequence) WHERE status = 'Pending';

CREATE TABLE control (
  id          INTEGER PRIMARY KEY CHECK (id = 1),
  is_paused   INTEGER NOT NULL
              CHECK (is_paused IN (0, 1)),
  paused_until INTEGER
              CHECK (paused_until IS NULL OR is_paused = 1),
  reason      TEXT
              CHECK (reason IS NULL OR is_paused = 1),
  processors  INTEGER
              CHECK (processors >= 1)
) STRICT;

INSERT INTO control (id, is_paused) VALUES (1, 0);

CREATE TABLE audit_log (
  id          INTEGER PRIMARY KEY AUTOINCREMENT,
  at          INTEGER NOT NULL,
  action      TEXT    NOT NULL,
  target      TEXT,
  reason      TEXT,
  orders      INTEGER
              CHECK (orders >= 0),
  request_id  TEXT,
  acted_by    TEXT
) STRICT;

INSERT INTO totals (name, value) VALUES ('removed_events_through', 0);

PRAGMA user_version = 4;

COMMIT;
