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

PRAGMA user_version = 4;

COMMIT;
