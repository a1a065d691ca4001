-- From version 8 to version 9, which schema.sql describes.

BEGIN IMMEDIATE;

DROP INDEX orders_by_user;
CREATE INDEX orders_by_user   ON orders (sequence >> 14, user_id, sequence);

PRAGMA user_version = 9;

COMMIT;
