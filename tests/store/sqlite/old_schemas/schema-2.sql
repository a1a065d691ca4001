-- The one source of the schema. Runs as it is: sqlite3 orders.db < schema.sql
-- Times are integer microseconds since 1970-01-01T00:00:00Z. Money is integer cents.

PRAGMA application_id = 1330793804;  -- 'ORML' in ASCII: tells this file from any other SQLite database
PRAGMA user_version = 2;             -- the version of this schema

BEGIN;

CREATE TABLE orders (
  sequence    INTEGER PRIMARY KEY,              -- arrival order, given by the recorder; queues and pages follow it
  order_id    TEXT    NOT NULL UNIQUE           -- the client's name for the order; a second one is a duplicate
              CHECK (length(order_id) BETWEEN 1 AND 64),
  user_id     TEXT    NOT NULL                  -- who ordered
              CHECK (length(user_id) BETWEEN 1 AND 64),
  item_ids    TEXT    NOT NULL                  -- JSON array of 1 to 100 strings, in the client's order
              CHECK (json_valid(item_ids) AND json_array_length(item_ids) BETWEEN 1 AND 100),
  total_cents INTEGER NOT NULL                  -- the total amount, 9,999,999,999.99 at most
              CHECK (total_cents BETWEEN 0 AND 999999999999),
  status      TEXT    NOT NULL                  -- where the order is; its transitions tell how it got there
              CHECK (status IN ('Pending', 'Processing', 'Completed', 'Failed', 'Cancelled', 'Review')),
  attempts    INTEGER NOT NULL                  -- how often a processor was given the order; fences late results
              CHECK (attempts >= 0),
  failures    INTEGER NOT NULL                  -- how many of these attempts ended in an error or in a crash
              CHECK (failures BETWEEN 0 AND attempts),
  created_at  INTEGER NOT NULL,                 -- when the order was accepted
  updated_at  INTEGER NOT NULL,                 -- when its status last changed
  ready_at    INTEGER                           -- no processor takes it before; set exactly while it is Pending
              CHECK ((ready_at IS NOT NULL) = (status = 'Pending')),
  CHECK (attempts > 0 OR status IN ('Pending', 'Cancelled'))
) STRICT;

CREATE INDEX orders_by_user   ON orders (user_id, sequence);                  -- one user's orders, newest first
CREATE INDEX orders_by_status ON orders (status, sequence);                   -- lists by status, and recovery
CREATE INDEX orders_ready     ON orders (ready_at) WHERE ready_at IS NOT NULL;  -- what to process next

CREATE TABLE transitions (
  id          INTEGER PRIMARY KEY,              -- rises in the order of recording
  sequence    INTEGER NOT NULL                  -- whose history this is: a number, since an index over it stays
              REFERENCES orders (sequence),     -- in order of arrival whatever the clients' ids look like
  order_id    TEXT    NOT NULL,                 -- the same order by the client's name, for people who read this table
  from_status TEXT,                             -- NULL: the order was not there before
  to_status   TEXT    NOT NULL,
  at          INTEGER NOT NULL,                 -- when it happened
  attempt     INTEGER NOT NULL                  -- the attempt it belongs to, 0 before the first
              CHECK (attempt >= 0),
  reason      TEXT    NOT NULL,                 -- why, in words for people
  request_id  TEXT,                             -- the request that caused it; NULL where none did
  CHECK (CASE                                   -- the legal edges, as in the lifecycle table of the store
    WHEN from_status IS NULL        THEN to_status = 'Pending'
    WHEN from_status = 'Pending'    THEN to_status IN ('Processing', 'Cancelled')
    WHEN from_status = 'Processing' THEN to_status IN ('Completed', 'Pending', 'Failed', 'Review')
    WHEN from_status = 'Review'     THEN to_status IN ('Pending', 'Completed', 'Failed')
    WHEN from_status = 'Failed'     THEN to_status = 'Pending'
    ELSE FALSE
  END)
) STRICT;

-- An attempt enters a status once at the most: the database itself refuses to record anything twice.
CREATE UNIQUE INDEX transitions_once ON transitions (sequence, attempt, to_status);

-- What clients call their requests (Idempotency-Key), for a day: the same name for another request is a mistake.
CREATE TABLE idempotency_keys (
  id          INTEGER PRIMARY KEY,
  key         TEXT    NOT NULL,                 -- the client's name for the request
  user_id     TEXT    NOT NULL,                 -- whose: each user has names of its own; '' where no user is known
  fingerprint TEXT    NOT NULL,                 -- hash of the request's body
  created_at  INTEGER NOT NULL,                 -- when it was first used
  UNIQUE (key, user_id)
) STRICT;

CREATE INDEX idempotency_keys_by_age ON idempotency_keys (created_at);        -- what to forget next

-- Running counts, changed in the same transaction as the orders, so that nobody counts millions of rows to answer
-- a metrics request. Each equals a recount at any moment.
CREATE TABLE totals (
  name        TEXT    PRIMARY KEY,              -- a status: orders in it; or one of the measures below
  value       INTEGER NOT NULL
) STRICT;

INSERT INTO totals (name, value) VALUES
  ('Pending', 0), ('Processing', 0), ('Completed', 0), ('Failed', 0), ('Cancelled', 0), ('Review', 0),
  ('timed_orders', 0),                          -- Processing -> Completed transitions
  ('processing_microseconds', 0),               -- the sum of their durations, each from the start of its attempt
  ('pruned_completed', 0),                      -- what old orders that were removed had added to: Completed,
  ('pruned_timed_orders', 0),                   -- timed_orders,
  ('pruned_processing_microseconds', 0);        -- and processing_microseconds, which both keep counting them

COMMIT;
