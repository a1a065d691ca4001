-- From version 2 to version 3, which schema.sql describes. Tables whose rules change are made anew.

BEGIN IMMEDIATE;

CREATE TABLE new_orders (
  sequence    INTEGER PRIMARY KEY AUTOINCREMENT,
  order_id    TEXT    NOT NULL UNIQUE
              CHECK (length(order_id) BETWEEN 1 AND 64),
  user_id     TEXT    NOT NULL
              CHECK (length(user_id) BETWEEN 1 AND 128),
  item_ids    TEXT    NOT NULL
              CHECK (json_valid(item_ids) AND json_array_length(item_ids) BETWEEN 1 AND 100),
  total_cents INTEGER NOT NULL
              CHECK (total_cents BETWEEN 0 AND 999999999999),
  status      TEXT    NOT NULL
              CHECK (status = 'Pending' OR status = 'Processing' OR status = 'Completed' OR status = 'Failed'
                     OR status = 'Cancelled' OR status = 'Review'),
  attempts    INTEGER NOT NULL
              CHECK (attempts >= 0),
  failures    INTEGER NOT NULL
              CHECK (failures BETWEEN 0 AND attempts),
  created_at  INTEGER NOT NULL,
  updated_at  INTEGER NOT NULL,
  ready_at    INTEGER
              CHECK ((ready_at IS NOT NULL) = (status = 'Pending')),
  last_error  TEXT,
  keyed_at    INTEGER,
  CHECK (failures = 0 OR last_error IS NOT NULL),
  CHECK (attempts > 0 OR status IN ('Pending', 'Cancelled'))
) STRICT;

-- Steps out of Processing that ended a failed attempt; a stop of the engine ended none.
CREATE TEMP VIEW failed_attempts AS
SELECT id, sequence, reason FROM main.transitions
WHERE from_status = 'Processing' AND to_status IN ('Pending', 'Failed', 'Review')
  AND reason NOT LIKE 'the engine stopped before %';

-- Failures before an operator's retry do not count any more.
INSERT INTO new_orders
SELECT sequence, order_id, user_id, item_ids, total_cents, status, attempts,
  CASE WHEN failures > 0 THEN min(failures,
    (SELECT count(*) FROM failed_attempts WHERE failed_attempts.sequence = orders.sequence AND id > coalesce(
      (SELECT max(id) FROM transitions WHERE transitions.sequence = orders.sequence
        AND from_status IN ('Failed', 'Review') AND to_status = 'Pending'), 0))) ELSE 0 END,
  created_at, updated_at, ready_at,
  CASE WHEN failures > 0 THEN coalesce(
    (SELECT reason FROM failed_attempts WHERE failed_attempts.sequence = orders.sequence ORDER BY id DESC LIMIT 1),
    'unknown') END,
  NULL
FROM orders ORDER BY sequence;

DROP VIEW failed_attempts;

-- Which orders an idempotency key came with was not kept: those that were accepted in its lifetime may be among them.
UPDATE new_orders SET keyed_at = created_at
WHERE created_at >= (SELECT min(created_at) FROM idempotency_keys);

CREATE TABLE new_transitions (
  id          INTEGER PRIMARY KEY AUTOINCREMENT,
  sequence    INTEGER NOT NULL
              REFERENCES orders (sequence),
  order_id    TEXT    NOT NULL,
  from_status TEXT,
  to_status   TEXT    NOT NULL,
  at          INTEGER NOT NULL,
  attempt     INTEGER NOT NULL
              CHECK (attempt >= 0),
  reason      TEXT    NOT NULL,
  request_id  TEXT,
  acted_by    TEXT,
  CHECK (CASE
    WHEN from_status IS NULL        THEN to_status = 'Pending'
    WHEN from_status = 'Pending'    THEN to_status = 'Processing' OR to_status = 'Cancelled' OR to_status = 'Pending'
    WHEN from_status = 'Processing' THEN to_status = 'Completed' OR to_status = 'Pending' OR to_status = 'Failed'
                                         OR to_status = 'Review'
    WHEN from_status = 'Review'     THEN to_status = 'Pending' OR to_status = 'Completed' OR to_status = 'Failed'
    WHEN from_status = 'Failed'     THEN to_status = 'Pending'
    ELSE FALSE
  END)
) STRICT;

INSERT INTO new_transitions
SELECT id, sequence, order_id, from_status, to_status, at, attempt, reason, request_id, NULL
FROM transitions ORDER BY id;

DROP TABLE transitions;
DROP TABLE orders;
ALTER TABLE new_orders RENAME TO orders;
ALTER TABLE new_transitions RENAME TO transitions;

CREATE INDEX orders_by_user   ON orders (user_id, sequence);
CREATE INDEX orders_by_status ON orders (status, sequence);
CREATE INDEX orders_by_user_and_status ON orders (user_id, status, sequence)
  WHERE status <> 'Pending' AND status <> 'Processing';
CREATE INDEX orders_ready     ON orders (ready_at) WHERE ready_at IS NOT NULL;
CREATE INDEX orders_over ON orders (updated_at)
  WHERE status <> 'Pending' AND status <> 'Processing' AND status <> 'Review' AND keyed_at IS NULL;
CREATE INDEX orders_over_with_key ON orders (updated_at)
  WHERE status <> 'Pending' AND status <> 'Processing' AND status <> 'Review' AND keyed_at IS NOT NULL;
CREATE UNIQUE INDEX transitions_once ON transitions
  (sequence, attempt, CASE from_status WHEN to_status THEN id ELSE to_status END);

CREATE TABLE engines (
  id          INTEGER PRIMARY KEY AUTOINCREMENT,
  host        TEXT    NOT NULL,
  process_id  INTEGER NOT NULL,
  started_at  INTEGER NOT NULL
) STRICT;

PRAGMA user_version = 3;

COMMIT;
