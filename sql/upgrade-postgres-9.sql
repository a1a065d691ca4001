-- From version 8 to version 9, which schema-postgres.sql describes.

DROP INDEX orders_by_user;
CREATE INDEX orders_by_user   ON orders ((sequence >> 14), user_id, sequence);
