-- The one source of the schema. Runs as it is: sqlite3 orders.db < schema.sql
-- Times are integer microseconds since 1970-01-01T00:00:00Z. Money is integer cents.
-- Conditions on rows are written with OR: for IN with more than two values, SQLite builds a table at each statement.

PRAGMA application_id = 1330793804;  -- 'ORML' in ASCII: tells this file from any other SQLite database
PRAGMA user_version = 9;             -- the version of this schema

BEGIN;

CREATE TABLE orders (
  sequence    INTEGER PRIMARY KEY AUTOINCREMENT,  -- arrival order, never given twice; queues and pages follow it
  order_id    TEXT    NOT NULL UNIQUE           -- the client's name for the order; a second one is a duplicate
              CHECK (length(order_id) BETWEEN 1 AND 64),
  user_id     TEXT    NOT NULL                  -- who ordered
              CHECK (length(user_id) BETWEEN 1 AND 128),
  item_ids    TEXT    NOT NULL                  -- JSON array of 1 to 100 strings, in the client's order
              CHECK (json_valid(item_ids) AND json_array_length(item_ids) BETWEEN 1 AND 100),
  total_cents INTEGER NOT NULL                  -- the total amount, 9,999,999,999.99 at most
              CHECK (total_cents BETWEEN 0 AND 999999999999),
  status      TEXT    NOT NULL                  -- where the order is; its transitions tell how it got there
              CHECK (status = 'Pending' OR status = 'Processing' OR status = 'Completed' OR status = 'Failed'
                     OR status = 'Cancelled' OR status = 'Review'),
  attempts    INTEGER NOT NULL                  -- how often a processor was given the order; fences late results
              CHECK (attempts >= 0),
  failures    INTEGER NOT NULL                  -- how many of these failed since an operator last retried the order
              CHECK (failures BETWEEN 0 AND attempts),
  created_at  INTEGER NOT NULL,                 -- when the order was accepted
  updated_at  INTEGER NOT NULL,                 -- when the last of its transitions happened
  ready_at    INTEGER                           -- no processor takes it before; set exactly while it is Pending
              CHECK ((ready_at IS NOT NULL) = (status = 'Pending')),
  last_error  TEXT,                             -- what went wrong in the last failed attempt; NULL before the first
  keyed_at    INTEGER,                          -- when an idempotency key last came with it; NULL where none did
  rank        INTEGER,                          -- its place in the line of its priority; NULL while it waits for ready_at
  priority    INTEGER NOT NULL DEFAULT 4        -- its line in the queue: 9 is first
              CHECK (priority BETWEEN 0 AND 9),
  not_before  INTEGER,                          -- when it may be begun at the earliest; NULL where nothing was said
  metadata    TEXT                              -- JSON object of the client's, 4 KiB at most; NULL where none was given
              CHECK (metadata IS NULL OR json_valid(metadata)),
  serial_key  TEXT,                             -- orders of one run one after another: key:… of the client's, user:…
  queue       TEXT                              -- the client's name for its queue; NULL in the default one
              CHECK (length(queue) BETWEEN 1 AND 64),
  complete_by INTEGER,                          -- when it is to be completed; NULL where nothing was said
  parked      TEXT                              -- the limit that it waits for, out of line; or 'key'; NULL: neither
              CHECK (parked IS NULL OR rank IS NOT NULL),
  owner       INTEGER,                          -- whose it is while it is Processing: the run of an engine; NULL with SQLite
  CHECK (failures = 0 OR last_error IS NOT NULL),
  CHECK (attempts > 0 OR status IN ('Pending', 'Cancelled'))
) STRICT;

-- One user's orders, newest first. In eras of 16,384 orders: new entries lie together, whoever has ordered.
CREATE INDEX orders_by_user   ON orders (sequence >> 14, user_id, sequence);
CREATE INDEX orders_by_status ON orders (status, sequence);                   -- lists by status, and recovery
CREATE INDEX orders_by_user_and_status ON orders (user_id, status, sequence)  -- lists by both, of what is rare
  WHERE status <> 'Pending' AND status <> 'Processing' AND status <> 'Completed';
CREATE INDEX orders_pending_by_user ON orders (user_id, sequence) WHERE status = 'Pending';
CREATE INDEX orders_in_line   ON orders (rank)                                 -- what is next
  WHERE rank IS NOT NULL AND ready_at IS NOT NULL AND parked IS NULL;
CREATE INDEX orders_waiting   ON orders (ready_at)                             -- what gets in line next
  WHERE rank IS NULL AND ready_at IS NOT NULL;
CREATE INDEX orders_of_key    ON orders (serial_key, status, sequence)         -- what others of its key wait for
  WHERE serial_key IS NOT NULL AND status <> 'Completed' AND status <> 'Cancelled';
CREATE INDEX orders_parked    ON orders (parked, rank)                         -- what waits for a limit, or others of its key
  WHERE parked IS NOT NULL AND ready_at IS NOT NULL;
CREATE INDEX orders_by_queue  ON orders (queue, sequence) WHERE queue IS NOT NULL;  -- lists by queue, newest first

-- What is over, for those who remove it by its age. Where a key came with an order, it stays as long as the key does.
CREATE INDEX orders_over ON orders (updated_at)
  WHERE status <> 'Pending' AND status <> 'Processing' AND status <> 'Review' AND keyed_at IS NULL;
CREATE INDEX orders_over_with_key ON orders (updated_at)
  WHERE status <> 'Pending' AND status <> 'Processing' AND status <> 'Review' AND keyed_at IS NOT NULL;

CREATE TABLE transitions (
  id          INTEGER PRIMARY KEY AUTOINCREMENT,  -- rises in the order of recording, never given twice
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
  acted_by    TEXT,                             -- who wanted it: the key's name; NULL for the engine and without keys
  CHECK (CASE                                   -- the legal edges, as in the lifecycle table of the store
    WHEN from_status IS NULL        THEN to_status = 'Pending'
    WHEN from_status = 'Pending'    THEN to_status = 'Processing' OR to_status = 'Cancelled' OR to_status = 'Pending'
    WHEN from_status = 'Processing' THEN to_status = 'Completed' OR to_status = 'Pending' OR to_status = 'Failed'
                                         OR to_status = 'Review'
    WHEN from_status = 'Review'     THEN to_status = 'Pending' OR to_status = 'Completed' OR to_status = 'Failed'
    WHEN from_status = 'Failed'     THEN to_status = 'Pending'
    ELSE FALSE
  END)
) STRICT;

-- An attempt enters a status once at the most: the database itself refuses to record anything twice. A step within a
-- status enters none.
CREATE UNIQUE INDEX transitions_once ON transitions
  (sequence, attempt, CASE from_status WHEN to_status THEN id ELSE to_status END);

-- Orders that were stamped earlier than the one before, since the machine's clock was set back: all others are in the
-- sequence of their times, so that no index over these is needed.
CREATE TABLE clock_steps (
  sequence    INTEGER PRIMARY KEY
) STRICT;

-- The errors that orders have failed with, without what varies from order to order.
CREATE TABLE errors (
  id          INTEGER PRIMARY KEY,
  name        TEXT    NOT NULL UNIQUE,          -- the class and the text
  kind        TEXT    NOT NULL                  -- the class
) STRICT;

CREATE INDEX errors_by_kind ON errors (kind);

-- Orders that have failed, or have failed attempts behind them and are not over: kept apart, since most orders have not.
CREATE TABLE failures (
  sequence    INTEGER PRIMARY KEY               -- the order
              REFERENCES orders (sequence),
  error_id    INTEGER NOT NULL                  -- of its last failed attempt
              REFERENCES errors (id),
  status      TEXT    NOT NULL                  -- where the failure has left it; while it is tried again it is Pending here
              CHECK (status = 'Pending' OR status = 'Failed' OR status = 'Review'),
  at          INTEGER NOT NULL                  -- when it failed
) STRICT;

CREATE INDEX failures_by_error ON failures (error_id, sequence, status, at);  -- lists by error, and counts

-- Which trace the request was part of that brought an order (W3C Trace Context): kept apart, since most came with none.
CREATE TABLE trace_contexts (
  sequence    INTEGER PRIMARY KEY               -- the order
              REFERENCES orders (sequence),
  traceparent TEXT    NOT NULL                  -- as in the header of that name
) STRICT;

-- What orders had said at first that were rescheduled: that makes an order the same when it is sent again.
CREATE TABLE first_schedules (
  sequence    INTEGER PRIMARY KEY               -- the order
              REFERENCES orders (sequence),
  priority    INTEGER NOT NULL,
  not_before  INTEGER,
  queue       TEXT,
  complete_by INTEGER
) STRICT;

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

-- Each run of an engine over this database, the last hundred of those that are over. One that has lost its authority
-- joins anew, as another run: so the number of a run is its term as well.
CREATE TABLE engines (
  id          INTEGER PRIMARY KEY AUTOINCREMENT,  -- never given twice
  host        TEXT    NOT NULL,                 -- the name of its machine
  process_id  INTEGER NOT NULL,                 -- on that machine
  started_at  INTEGER NOT NULL,
  process     TEXT,                             -- the same for no other process of any machine; NULL where nobody can tell
  state       TEXT                              -- NULL where it has never joined
              CHECK (state = 'running' OR state = 'stopping' OR state = 'stopped' OR state = 'lost'),
  heartbeat_at INTEGER,                         -- when it was last heard of
  lease_until INTEGER,                          -- until when nobody else takes what it has; NULL with SQLite
  processors  INTEGER                           -- how many it has
              CHECK (processors >= 0)
) STRICT;

-- What only engines over this database know. Whoever has a key signs in to the pages with it; what their browsers send
-- instead is signed with this and with the hash of that key.
CREATE TABLE secrets (
  name        TEXT    PRIMARY KEY,
  value       BLOB    NOT NULL
) STRICT;

INSERT INTO secrets (name, value) VALUES ('sessions', randomblob(32));

-- What operators have set: the one row that every engine over this database obeys.
CREATE TABLE control (
  id          INTEGER PRIMARY KEY CHECK (id = 1),
  is_paused   INTEGER NOT NULL                  -- 1: no order is started
              CHECK (is_paused IN (0, 1)),
  paused_until INTEGER                          -- when the pause ends by itself; NULL where somebody has to end it
              CHECK (paused_until IS NULL OR is_paused = 1),
  reason      TEXT                              -- why it is paused; NULL where nobody said
              CHECK (reason IS NULL OR is_paused = 1),
  processors  INTEGER                           -- how many there are to be; NULL for as many as are configured
              CHECK (processors >= 1),
  error       TEXT                              -- what the engine has paused itself for; NULL where somebody has
              CHECK (error IS NULL OR is_paused = 1)
) STRICT;

INSERT INTO control (id, is_paused) VALUES (1, 0);

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

-- What people have done, written in the transaction that does it.
CREATE TABLE audit_log (
  id          INTEGER PRIMARY KEY AUTOINCREMENT,  -- rises in the order of recording, never given twice
  at          INTEGER NOT NULL,                 -- when
  action      TEXT    NOT NULL,                 -- what: pause, resume, retry, …
  target      TEXT,                             -- what to: an order's id, or what was set; NULL for the engine itself
  reason      TEXT,                             -- why, in their words
  orders      INTEGER                           -- how many orders it moved; NULL where it is not about orders
              CHECK (orders >= 0),
  request_id  TEXT,                             -- the request that it came with; NULL where none did
  acted_by    TEXT                              -- who: the key's name; NULL for the engine and without keys
) STRICT;

-- What operators do to all orders that a filter means, in many transactions: each says how far it is.
CREATE TABLE bulk_actions (
  id          INTEGER PRIMARY KEY AUTOINCREMENT,  -- never given twice
  action      TEXT    NOT NULL                  -- what is done to them
              CHECK (action IN ('cancel', 'retry', 'settle')),
  filters     TEXT    NOT NULL                  -- which orders: a JSON object
              CHECK (json_valid(filters)),
  settled     TEXT                              -- what they are settled as
              CHECK ((settled IS NOT NULL) = (action = 'settle')),
  reason      TEXT,                             -- why; it goes into their histories
  request_id  TEXT,                             -- the request that it came with; NULL where none did
  acted_by    TEXT,                             -- who: the key's name; NULL without keys
  state       TEXT    NOT NULL
              CHECK (state IN ('running', 'done', 'stopped')),
  matched     INTEGER NOT NULL,                 -- orders that it was for when it began
  moved       INTEGER NOT NULL,                 -- orders that it has moved
  refused     INTEGER NOT NULL,                 -- orders that had moved on when it came to them
  before      INTEGER NOT NULL,                 -- it goes on with orders below this sequence
  created_at  INTEGER NOT NULL,
  ended_at    INTEGER                           -- when it was done or stopped
              CHECK ((ended_at IS NULL) = (state = 'running'))
) STRICT;

CREATE INDEX bulk_actions_running ON bulk_actions (id) WHERE state = 'running';

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

-- Running counts, changed in the same transaction as the orders, so that nobody counts millions of rows to answer
-- a metrics request. Each equals a recount at any moment.
CREATE TABLE totals (
  name        TEXT    NOT NULL,                 -- a status: orders in it; or one of the measures below
  part        INTEGER NOT NULL DEFAULT 0,       -- each is the sum of its parts: engines add to several, so that none waits
  value       INTEGER NOT NULL,
  PRIMARY KEY (name, part)
) STRICT;

INSERT INTO totals (name, value) VALUES
  ('Pending', 0), ('Processing', 0), ('Completed', 0), ('Failed', 0), ('Cancelled', 0), ('Review', 0),
  ('timed_orders', 0),                          -- Processing -> Completed transitions
  ('processing_microseconds', 0),               -- the sum of their durations, each from the start of its attempt
  ('pruned_completed', 0),                      -- what old orders that were removed had added to: Completed,
  ('pruned_timed_orders', 0),                   -- timed_orders,
  ('pruned_processing_microseconds', 0),        -- and processing_microseconds, which both keep counting them
  ('late_orders', 0),                           -- orders that were not completed in time, whatever became of them
  ('removed_events_through', 0);                -- the highest id of a transition that was removed with its order

-- Where events are sent. A row that was deleted goes when everything that was sent there is gone.
CREATE TABLE webhooks (
  id          INTEGER PRIMARY KEY AUTOINCREMENT,
  webhook_id  TEXT    NOT NULL UNIQUE,          -- what people call it: wh_…
  url         TEXT    NOT NULL,
  events      TEXT    NOT NULL                  -- JSON array of the types of events that it is told of
              CHECK (json_valid(events)),
  description TEXT,
  secret      TEXT    NOT NULL,                 -- what requests are signed with: whsec_…
  old_secret  TEXT,                             -- the one before,
  old_secret_until INTEGER,                     -- which requests are signed with as well until then
  created_at  INTEGER NOT NULL,
  disabled_at INTEGER,                          -- since when nothing is sent; NULL while it is
  disabled_reason TEXT,
  deleted_at  INTEGER                           -- NULL while it is there
) STRICT;

-- Events to send, written with the transitions that they tell of; none while there is no webhook.
CREATE TABLE outbox (
  id          INTEGER PRIMARY KEY AUTOINCREMENT,
  event_id    TEXT    NOT NULL,                 -- the same for every attempt and every receiver: evt_…
  sequence    INTEGER NOT NULL,                 -- which order it is about; 0 where it is about none
  number      INTEGER NOT NULL,                 -- its place in the order's history
  order_id    TEXT,                             -- the same order by the client's name
  type        TEXT    NOT NULL,
  at          INTEGER NOT NULL,                 -- when it happened
  subject     TEXT    NOT NULL                  -- the order as it was then, as JSON
) STRICT;

-- Each event on its way to each webhook. Of one order's, only the oldest that is open is due.
CREATE TABLE deliveries (
  id          INTEGER PRIMARY KEY AUTOINCREMENT,
  webhook     INTEGER NOT NULL REFERENCES webhooks (id),
  event       INTEGER NOT NULL REFERENCES outbox (id),
  sequence    INTEGER NOT NULL,
  attempts    INTEGER NOT NULL,                 -- how often it was sent
  created_at  INTEGER NOT NULL,
  due_at      INTEGER                           -- when it is sent next; NULL while an earlier one is open, and at the end
              CHECK (due_at IS NULL OR ended_at IS NULL),
  ended_at    INTEGER,                          -- NULL while it is open
  is_delivered INTEGER NOT NULL
              CHECK (is_delivered IN (0, 1))
) STRICT;

CREATE INDEX deliveries_due   ON deliveries (webhook, due_at) WHERE due_at IS NOT NULL;  -- what to send next
CREATE INDEX deliveries_open  ON deliveries (webhook, sequence, id) WHERE ended_at IS NULL;
CREATE INDEX deliveries_by_webhook ON deliveries (webhook, id);                          -- lists, newest first
CREATE INDEX deliveries_by_order   ON deliveries (sequence);                             -- lists of an order's
CREATE INDEX deliveries_by_event   ON deliveries (event);
CREATE INDEX deliveries_ended ON deliveries (ended_at) WHERE ended_at IS NOT NULL;       -- what to forget next

CREATE TABLE delivery_attempts (
  id          INTEGER PRIMARY KEY,
  delivery    INTEGER NOT NULL REFERENCES deliveries (id),
  number      INTEGER NOT NULL,                 -- 1 for the first
  at          INTEGER NOT NULL,
  status      INTEGER,                          -- of the answer; NULL where there was none
  error       TEXT,
  answer      TEXT,                             -- the beginning of its body
  latency     INTEGER NOT NULL,                 -- microseconds
  UNIQUE (delivery, number)
) STRICT;

COMMIT;
