-- From version 3 to version 4, which schema.sql describes.

BEGIN IMMEDIATE;

CREATE INDEX orders_pending_by_user ON orders (user_id, sequence) WHERE status = 'Pending';

-- Whoever may be processed at once gets a place in the queue: users take turns. The others get theirs when it is time.
ALTER TABLE orders ADD COLUMN rank INTEGER;
UPDATE orders SET rank = turn << 20 FROM (
  SELECT sequence AS number, row_number() OVER (PARTITION BY user_id ORDER BY ready_at, sequence) - 1 AS turn
  FROM orders WHERE status = 'Pending' AND failures = 0
) WHERE sequence = number;

DROP INDEX orders_ready;
CREATE INDEX orders_in_line   ON orders (rank) WHERE rank IS NOT NULL AND ready_at IS NOT NULL;
CREATE INDEX orders_waiting   ON orders (ready_at) WHERE rank IS NULL AND ready_at IS NOT NULL;

CREATE TABLE clock_steps (
  sequence    INTEGER PRIMARY KEY
) STRICT;

CREATE TABLE errors (
  id          INTEGER PRIMARY KEY,
  name        TEXT    NOT NULL UNIQUE,
  kind        TEXT    NOT NULL
) STRICT;

CREATE INDEX errors_by_kind ON errors (kind);

CREATE TABLE failures (
  sequence    INTEGER PRIMARY KEY
              REFERENCES orders (sequence),
  error_id    INTEGER NOT NULL
              REFERENCES errors (id),
  status      TEXT    NOT NULL
              CHECK (status = 'Pending' OR status = 'Failed' OR status = 'Review'),
  at          INTEGER NOT NULL
) STRICT;

CREATE INDEX failures_by_error ON failures (error_id, sequence, status, at);

INSERT INTO clock_steps
SELECT sequence FROM (SELECT sequence, created_at, lag(created_at) OVER (ORDER BY sequence) AS before FROM orders)
WHERE created_at < before;

-- The functions are of the program that runs this.
INSERT INTO errors (name, kind)
SELECT DISTINCT error_name(last_error, order_id, user_id), error_kind(last_error, order_id, user_id) FROM orders
WHERE last_error IS NOT NULL
  AND (status IN ('Failed', 'Review') OR (failures > 0 AND status IN ('Pending', 'Processing')));

INSERT INTO failures
SELECT sequence, errors.id, CASE status WHEN 'Processing' THEN 'Pending' ELSE status END, updated_at
FROM orders JOIN errors ON name = error_name(last_error, order_id, user_id)
WHERE last_error IS NOT NULL
  AND (status IN ('Failed', 'Review') OR (failures > 0 AND status IN ('Pending', 'Processing')));

CREATE TABLE control (
  id          INTEGER PRIMARY KEY CHECK (id = 1),
  is_paused   INTEGER NOT NULL
              CHECK (is_paused IN (0, 1)),
  paused_until INTEGER
              CHECK (paused_until IS NULL OR is_paused = 1),
  reason      TEXT
              CHECK (reason IS NULL OR is_paused = 1),
  processors  INTEGER
              CHECK (processors >= 1),
  error       TEXT
              CHECK (error IS NULL OR is_paused = 1)
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

CREATE TABLE secrets (
  name        TEXT    PRIMARY KEY,
  value       BLOB    NOT NULL
) STRICT;

INSERT INTO secrets (name, value) VALUES ('sessions', randomblob(32));

CREATE TABLE bulk_actions (
  id          INTEGER PRIMARY KEY AUTOINCREMENT,
  action      TEXT    NOT NULL
              CHECK (action IN ('cancel', 'retry', 'settle')),
  filters     TEXT    NOT NULL
              CHECK (json_valid(filters)),
  settled     TEXT
              CHECK ((settled IS NOT NULL) = (action = 'settle')),
  reason      TEXT,
  request_id  TEXT,
  acted_by    TEXT,
  state       TEXT    NOT NULL
              CHECK (state IN ('running', 'done', 'stopped')),
  matched     INTEGER NOT NULL,
  moved       INTEGER NOT NULL,
  refused     INTEGER NOT NULL,
  before      INTEGER NOT NULL,
  created_at  INTEGER NOT NULL,
  ended_at    INTEGER
              CHECK ((ended_at IS NULL) = (state = 'running'))
) STRICT;

CREATE INDEX bulk_actions_running ON bulk_actions (id) WHERE state = 'running';

CREATE TABLE webhooks (
  id          INTEGER PRIMARY KEY AUTOINCREMENT,
  webhook_id  TEXT    NOT NULL UNIQUE,
  url         TEXT    NOT NULL,
  events      TEXT    NOT NULL
              CHECK (json_valid(events)),
  description TEXT,
  secret      TEXT    NOT NULL,
  old_secret  TEXT,
  old_secret_until INTEGER,
  created_at  INTEGER NOT NULL,
  disabled_at INTEGER,
  disabled_reason TEXT,
  deleted_at  INTEGER
) STRICT;

CREATE TABLE outbox (
  id          INTEGER PRIMARY KEY AUTOINCREMENT,
  event_id    TEXT    NOT NULL,
  sequence    INTEGER NOT NULL,
  number      INTEGER NOT NULL,
  order_id    TEXT,
  type        TEXT    NOT NULL,
  at          INTEGER NOT NULL,
  subject     TEXT    NOT NULL
) STRICT;

CREATE TABLE deliveries (
  id          INTEGER PRIMARY KEY AUTOINCREMENT,
  webhook     INTEGER NOT NULL REFERENCES webhooks (id),
  event       INTEGER NOT NULL REFERENCES outbox (id),
  sequence    INTEGER NOT NULL,
  attempts    INTEGER NOT NULL,
  created_at  INTEGER NOT NULL,
  due_at      INTEGER
              CHECK (due_at IS NULL OR ended_at IS NULL),
  ended_at    INTEGER,
  is_delivered INTEGER NOT NULL
              CHECK (is_delivered IN (0, 1))
) STRICT;

CREATE INDEX deliveries_due   ON deliveries (webhook, due_at) WHERE due_at IS NOT NULL;
CREATE INDEX deliveries_open  ON deliveries (webhook, sequence, id) WHERE ended_at IS NULL;
CREATE INDEX deliveries_by_webhook ON deliveries (webhook, id);
CREATE INDEX deliveries_by_event   ON deliveries (event);
CREATE INDEX deliveries_ended ON deliveries (ended_at) WHERE ended_at IS NOT NULL;

CREATE TABLE delivery_attempts (
  id          INTEGER PRIMARY KEY,
  delivery    INTEGER NOT NULL REFERENCES deliveries (id),
  number      INTEGER NOT NULL,
  at          INTEGER NOT NULL,
  status      INTEGER,
  error       TEXT,
  answer      TEXT,
  latency     INTEGER NOT NULL,
  UNIQUE (delivery, number)
) STRICT;

PRAGMA user_version = 4;

COMMIT;
