-- From version 4 to version 5, which schema.sql describes.

BEGIN IMMEDIATE;

CREATE INDEX deliveries_by_order ON deliveries (sequence);

PRAGMA user_version = 5;

COMMIT;
