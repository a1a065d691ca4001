-- From version 5 to version 6, which schema.sql describes.

BEGIN IMMEDIATE;

-- Each priority has a line of its own in the queue. Who was there keeps the sequence: places are closer to each other.
UPDATE orders SET rank = rank >> 10 WHERE (status = 'Pending' OR status = 'Processing') AND rank IS NOT NULL;

ALTER TABLE orders ADD COLUMN priority INTEGER NOT NULL DEFAULT 4
              CHECK (priority BETWEEN 0 AND 9);
ALTER TABLE orders ADD COLUMN not_before INTEGER;
ALTER TABLE orders ADD COLUMN metadata TEXT
              CHECK (metadata IS NULL OR json_valid(metadata));
ALTER TABLE orders ADD COLUMN serial_key TEXT;
ALTER TABLE orders ADD COLUMN held INTEGER
              CHECK (held = 1 AND serial_key IS NOT NULL AND rank IS NULL OR held IS NULL);

DROP INDEX orders_waiting;
CREATE INDEX orders_waiting   ON orders (ready_at)
  WHERE rank IS NULL AND ready_at IS NOT NULL AND held IS NULL;
CREATE INDEX orders_held      ON orders (serial_key, sequence)
  WHERE held = 1 AND ready_at IS NOT NULL;
CREATE INDEX orders_of_key    ON orders (serial_key, status)
  WHERE serial_key IS NOT NULL AND held IS NULL AND status <> 'Completed' AND status <> 'Cancelled';

-- What was told clients of when orders will be over, the first time for each, and whether that was right; for a week.
CREATE TABLE outlooks (
  sequence      INTEGER PRIMARY KEY,            -- the order's
  given_at      INTEGER NOT NULL,               -- when it was told
  model_from    INTEGER NOT NULL,               -- the span by the model, before it was calibrated
  model_to      INTEGER NOT NULL,
  expected_from INTEGER NOT NULL,               -- the span that was told
  expected_to   INTEGER NOT NULL CHECK (expected_to >= expected_from),
  ended_at      INTEGER,                        -- when the order was over; NULL before
  is_kept       INTEGER                         -- whether that was within the span; NULL while nobody can tell
                CHECK (is_kept IN (0, 1) OR is_kept IS NULL AND ended_at IS NULL)
) STRICT;
CREATE INDEX outlooks_by_age  ON outlooks (given_at, is_kept);                -- what to forget next, and the share kept
CREATE INDEX outlooks_open    ON outlooks (sequence) WHERE ended_at IS NULL;
CREATE INDEX outlooks_judged  ON outlooks (ended_at) WHERE ended_at IS NOT NULL;

-- What orders had said at first that were rescheduled: that makes an order the same when it is sent again.
CREATE TABLE first_schedules (
  sequence    INTEGER PRIMARY KEY
              REFERENCES orders (sequence),
  priority    INTEGER NOT NULL,
  not_before  INTEGER
) STRICT;

PRAGMA user_version = 6;

COMMIT;
