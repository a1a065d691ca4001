-- From version 7 to version 8, which schema-postgres.sql describes.

DROP INDEX orders_by_user_and_status;
CREATE INDEX orders_by_user_and_status ON orders (user_id, status, sequence)
  WHERE status <> 'Pending' AND status <> 'Processing' AND status <> 'Completed';
