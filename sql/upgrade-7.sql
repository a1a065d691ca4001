-- From version 6 to version 7, which schema.sql describes.

BEGIN IMMEDIATE;

ALTER TABLE orders ADD COLUMN queue TEXT
              CHECK (length(queue) BETWEEN 1 AND 64);
ALTER TABLE orders ADD COLUMN complete_by INTEGER;
ALTER TABLE orders ADD COLUMN parked TEXT
              CHECK (parked IS NULL OR rank IS NOT NULL);

DROP INDEX orders_in_line;
CREATE INDEX orders_in_line   ON orders (rank)
  WHERE rank IS NOT NULL AND ready_at IS NOT NULL AND parked IS NULL;
CREATE INDEX orders_parked    ON orders (parked, rank)
  WHERE parked IS NOT NULL AND ready_at IS NOT NULL;
CREATE INDEX orders_by_queue  ON orders (queue, sequence) WHERE queue IS NOT NULL;

ALTER TABLE first_schedules ADD COLUMN queue TEXT;
ALTER TABLE first_schedules ADD COLUMN complete_by INTEGER;

ALTER TABLE orders ADD COLUMN owner INTEGER;

ALTER TABLE engines ADD COLUMN process TEXT;
ALTER TABLE engines ADD COLUMN state TEXT
              CHECK (state = 'running' OR state = 'stopping' OR state = 'stopped' OR state = 'lost');
ALTER TABLE engines ADD COLUMN heartbeat_at INTEGER;
ALTER TABLE engines ADD COLUMN lease_until INTEGER;
ALTER TABLE engines ADD COLUMN processors INTEGER
              CHECK (processors >= 0);

CREATE TABLE new_totals (
  name        TEXT    NOT NULL,                 -- a status: orders in it; or one of the measures below
  part        INTEGER NOT NULL DEFAULT 0,       -- each is the sum of its parts: engines add to several, so that none waits
  value       INTEGER NOT NULL,
  PRIMARY KEY (name, part)
) STRICT;
INSERT INTO new_totals (name, value) SELECT name, value FROM totals;
DROP TABLE totals;
ALTER TABLE new_totals RENAME TO totals;

-- Each queue that an order has named or an operator has set.
CREATE TABLE queues (
  id          INTEGER PRIMARY KEY               -- its number: where its lines begin among the ranks of orders
              CHECK (id BETWEEN 0 AND 999),
  name        TEXT    NOT NULL UNIQUE
              CHECK (length(name) BETWEEN 1 AND 64),
  is_paused   INTEGER NOT NULL                  -- 1: no order of it is started
              CHECK (is_paused IN (0, 1)),
  concurrency INTEGER                           -- how many of its orders are Processing at once; NULL as configured
              CHECK (concurrency >= 1),
  rate        REAL                              -- how many of its orders are begun a second; NULL as configured
              CHECK (rate > 0),
  reason      TEXT,                             -- why it was set so; NULL where nobody said
  changed_at  INTEGER,                          -- when; NULL where nobody has set it
  changed_by  TEXT                              -- by whom: the key's name; NULL without keys
) STRICT;

INSERT INTO queues (id, name, is_paused) VALUES (0, 'default', 0);

-- Where limits are that know more than what is Processing: forgotten when that makes no difference any more.
CREATE TABLE limits (
  name        TEXT    PRIMARY KEY,              -- queue:…, user:… or metadata.FIELD:…
  next_at     INTEGER NOT NULL,                 -- when the next order was to be begun at an even rate
  closed_until INTEGER,                         -- no order of it is begun before; NULL where nothing has slowed it down
  opens_at    INTEGER                           -- when orders that are parked at it may go; NULL where none waits for that
) STRICT;

CREATE INDEX limits_opening   ON limits (opens_at) WHERE opens_at IS NOT NULL;

-- Orders that are to be completed by a time which has not come; or it has, and they have not been looked at since.
CREATE TABLE deadlines (
  sequence    INTEGER PRIMARY KEY               -- the order
              REFERENCES orders (sequence),
  complete_by INTEGER NOT NULL
) STRICT;

CREATE INDEX deadlines_next   ON deadlines (complete_by);

-- Orders that were not completed in time: each is an event, told once.
CREATE TABLE late_orders (
  id          INTEGER PRIMARY KEY,              -- of the event: a number of its own among the ids of transitions
  sequence    INTEGER NOT NULL UNIQUE           -- the order
              REFERENCES orders (sequence),
  complete_by INTEGER NOT NULL,
  at          INTEGER NOT NULL,                 -- when it was found to be late
  status      TEXT    NOT NULL,                 -- where it was then
  attempt     INTEGER NOT NULL
) STRICT;

INSERT INTO totals (name, value) VALUES ('late_orders', 0);

PRAGMA user_version = 7;

COMMIT;
