-- From version 3 to version 4, which schema.sql describes.

BEGIN IMMEDIATE;

INSERT INTO totals (name, value) VALUES ('removed_events_through', 0);

PRAGMA user_version = 4;

COMMIT;
