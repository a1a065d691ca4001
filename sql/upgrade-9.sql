-- From version 8 to version 9, which schema.sql describes.

BEGIN IMMEDIATE;

DROP INDEX orders_by_user;
CREATE INDEX orders_by_user   ON orders (sequence >> 14, user_id, sequence);

DROP INDEX orders_held;
DROP INDEX orders_waiting;
DROP INDEX orders_of_key;
ALTER TABLE orders DROP COLUMN held;  -- what was held gets its place now, and waits there
CREATE INDEX orders_waiting   ON orders (ready_at)
  WHERE rank IS NULL AND ready_at IS NOT NULL;
CREATE INDEX orders_of_key    ON orders (serial_key, status, sequence)
  WHERE serial_key IS NOT NULL AND status <> 'Completed' AND status <> 'Cancelled';

PRAGMA user_version = 9;

COMMIT;
