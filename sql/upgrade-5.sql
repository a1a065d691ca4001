-- From version 4 to version 5, which schema.sql describes.

BEGIN IMMEDIATE;

-- Each priority has a line of its own in the queue; who was there keeps the place.
ALTER TABLE orders ADD COLUMN priority INTEGER NOT NULL DEFAULT 4
              CHECK (priority BETWEEN 0 AND 9);
ALTER TABLE orders ADD COLUMN not_before INTEGER;
ALTER TABLE orders ADD COLUMN metadata TEXT
              CHECK (metadata IS NULL OR json_valid(metadata));

DROP INDEX orders_in_line;
CREATE INDEX orders_in_line   ON orders (priority DESC, rank)
  WHERE rank IS NOT NULL AND ready_at IS NOT NULL;

PRAGMA user_version = 5;

COMMIT;
