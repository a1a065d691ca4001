-- From version 1 to version 2, which schema.sql describes.

BEGIN;

ALTER TABLE transitions ADD COLUMN request_id TEXT;

CREATE TABLE idempotency_keys (
  id          INTEGER PRIMARY KEY,
  key         TEXT    NOT NULL,
  user_id     TEXT    NOT NULL,
  fingerprint TEXT    NOT NULL,
  created_at  INTEGER NOT NULL,
  UNIQUE (key, user_id)
) STRICT;

CREATE INDEX idempotency_keys_by_age ON idempotency_keys (created_at);

PRAGMA user_version = 2;

COMMIT;
