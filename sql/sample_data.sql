-- Sample orders, one or two in each status. Runs as it is over an empty database:
--   sqlite3 orders.db < schema.sql && sqlite3 orders.db < sample_data.sql
-- An engine that is started over it processes the Pending orders.

BEGIN;

INSERT INTO orders
  (sequence, order_id, user_id, item_ids, total_cents, status, attempts, failures, created_at, updated_at, ready_at,
   last_error, rank)
VALUES
  (1, 'sample-1', 'alice', '["sku-pen","sku-pen","sku-ink"]',  1999, 'Completed',  1, 0, 1767225600000000, 1767225600250000, NULL, NULL, 0),
  (2, 'sample-2', 'bob',   '["sku-desk"]',                    34900, 'Completed',  2, 1, 1767225601000000, 1767225603400000, NULL, 'TimeoutError: the payment service did not answer', 0),
  (3, 'sample-3', 'carol', '["sku-lamp","sku-bulb"]',          5450, 'Failed',     1, 1, 1767225602000000, 1767225602120000, NULL, 'rejected: the card was declined', 0),
  (4, 'sample-4', 'alice', '["sku-chair"]',                   12900, 'Cancelled',  0, 0, 1767225603000000, 1767225609000000, NULL, NULL, 0),
  (5, 'sample-5', 'dave',  '["sku-shelf"]',                    8900, 'Review',     1, 1, 1767225604000000, 1767225660000000, NULL, 'the engine died while the order was in hand', 0),
  (6, 'sample-6', 'erin',  '["sku-gift-card"]',                5000, 'Pending',    0, 0, 1767225605000000, 1767225605000000, 1767225605000000, NULL, 0),
  (7, 'sample-7', 'bob',   '["sku-pen"]',                         0, 'Pending',    0, 0, 1767225606000000, 1767225606000000, 1767225606000000, NULL, 0);

INSERT INTO transitions (sequence, order_id, from_status, to_status, at, attempt, reason) VALUES
  (1, 'sample-1', NULL,         'Pending',    1767225600000000, 0, 'accepted'),
  (1, 'sample-1', 'Pending',    'Processing', 1767225600010000, 1, 'assigned to a processor'),
  (1, 'sample-1', 'Processing', 'Completed',  1767225600250000, 1, 'the handler returned'),
  (2, 'sample-2', NULL,         'Pending',    1767225601000000, 0, 'accepted'),
  (2, 'sample-2', 'Pending',    'Processing', 1767225601010000, 1, 'assigned to a processor'),
  (3, 'sample-3', NULL,         'Pending',    1767225602000000, 0, 'accepted'),
  (2, 'sample-2', 'Processing', 'Pending',    1767225601510000, 1, 'TimeoutError: the payment service did not answer; tried again in 1.5 s'),
  (3, 'sample-3', 'Pending',    'Processing', 1767225602020000, 1, 'assigned to a processor'),
  (3, 'sample-3', 'Processing', 'Failed',     1767225602120000, 1, 'rejected: the card was declined'),
  (4, 'sample-4', NULL,         'Pending',    1767225603000000, 0, 'accepted'),
  (2, 'sample-2', 'Pending',    'Processing', 1767225603020000, 2, 'assigned to a processor'),
  (2, 'sample-2', 'Processing', 'Completed',  1767225603400000, 2, 'the handler returned'),
  (5, 'sample-5', NULL,         'Pending',    1767225604000000, 0, 'accepted'),
  (5, 'sample-5', 'Pending',    'Processing', 1767225604010000, 1, 'assigned to a processor'),
  (6, 'sample-6', NULL,         'Pending',    1767225605000000, 0, 'accepted'),
  (7, 'sample-7', NULL,         'Pending',    1767225606000000, 0, 'accepted'),
  (4, 'sample-4', 'Pending',    'Cancelled',  1767225609000000, 0, 'cancelled before work began'),
  (5, 'sample-5', 'Processing', 'Review',     1767225660000000, 1, 'the engine died while the order was in hand');

INSERT INTO errors (id, name, kind) VALUES
  (1, 'rejected: the card was declined', 'rejected'),
  (2, 'the engine died while the order was in hand', 'the engine died while the order was in hand');

INSERT INTO failures (sequence, error_id, status, at) VALUES
  (3, 1, 'Failed', 1767225602120000),
  (5, 2, 'Review', 1767225660000000);

UPDATE totals SET value = (SELECT count(*) FROM orders WHERE status = name)
WHERE name IN ('Pending', 'Processing', 'Completed', 'Failed', 'Cancelled', 'Review');
UPDATE totals SET value = 2 WHERE name = 'timed_orders';
UPDATE totals SET value = 240000 + 380000 WHERE name = 'processing_microseconds';

COMMIT;
