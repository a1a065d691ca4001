"""Large tables, made by SQL: consistent in themselves, and kept, so that the next run need not make them."""

from __future__ import annotations

import os
import sqlite3
import zlib
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from ordermill import sql
from ordermill.store.domain.lifecycle import OrderStatus

_PAGE = 250_000  # orders that are inserted at once
_GROWTH = 1.1  # a kept table that runs have added more to is made anew
_WARMED_BYTES = 16 * 1024 * 1024  # that are read at once

_PRAGMAS = "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -524288;"
_INSERT_ORDERS = """
    WITH RECURSIVE numbers (number) AS (SELECT :first UNION ALL SELECT number + 1 FROM numbers WHERE number < :last)
    INSERT INTO orders
      (sequence, order_id, user_id, item_ids, total_cents, status, attempts, failures, created_at, updated_at, ready_at,
       rank)
    SELECT number, 't-' || number, 'u-' || number % 1000, '["sku-1","sku-2"]', 1999, :status,
      :attempts, 0, 1767225600000000 + number, 1767225600000000 + number + 2000 * :attempts,
      iif(:attempts, NULL, 1767225600000000 + number), number / 1000 << 20
    FROM numbers
"""
# CROSS JOIN keeps the sequence of the loops: each order's history lies together, as the engine would write it.
_INSERT_TRANSITIONS = """
    WITH steps (step, source, target, attempt, reason) AS (VALUES
      (0, NULL, 'Pending', 0, 'accepted'),
      (1, 'Pending', 'Processing', 1, 'assigned to a processor'),
      (2, 'Processing', 'Completed', 1, 'the handler returned'))
    INSERT INTO transitions (sequence, order_id, from_status, to_status, at, attempt, reason)
    SELECT sequence, order_id, source, target, created_at + 1000 * step, attempt, reason
    FROM orders CROSS JOIN steps
    WHERE sequence BETWEEN :first AND :last AND attempt <= :attempts
"""
_FAIL_SOME = """
    UPDATE orders SET status = 'Failed', failures = 1, last_error = 'ProviderDown: no answer from ' || sequence % 10
    WHERE sequence BETWEEN :first AND :last AND sequence % :failed_each = 0;
    UPDATE transitions SET to_status = 'Failed', reason = 'ProviderDown: no answer from ' || sequence % 10
    WHERE sequence BETWEEN :first AND :last AND sequence % :failed_each = 0 AND to_status = 'Completed';
    INSERT OR IGNORE INTO errors (name, kind)
    SELECT DISTINCT last_error, 'ProviderDown' FROM orders
    WHERE sequence BETWEEN :first AND :last AND status = 'Failed';
    INSERT INTO failures (sequence, error_id, status, at)
    SELECT sequence, errors.id, status, updated_at FROM orders JOIN errors ON name = last_error
    WHERE sequence BETWEEN :first AND :last AND status = 'Failed'
"""
_SET_TOTALS = """
    UPDATE totals SET value = CASE name
      WHEN :status THEN :orders - :failed
      WHEN 'Failed' THEN :failed
      WHEN 'timed_orders' THEN (:orders - :failed) * :attempts
      WHEN 'processing_microseconds' THEN (:orders - :failed) * :attempts * 1000
      ELSE 0 END
"""


class Table(NamedTuple):
    """A database of so many orders, `t-1` to `t-ORDERS`."""

    orders: int
    status: OrderStatus
    """Of all of them: Pending, or Completed with a history of three steps."""
    failed_each: int = 0
    """Every so many-th of those that would be Completed has Failed instead, with one of ten errors; 0 for none."""

    def scaled(self, scale: float) -> Table:
        """The same, with a share of the orders."""
        return self._replace(orders=max(1, round(self.orders * scale)))

    def path(self, folder: Path) -> Path:
        """Its file. Another schema makes it another one."""
        version = zlib.crc32(sql.read("schema.sql").encode())
        return folder / f"{self.status.value.lower()}-{self.orders}-{self.failed_each}-{version:08x}.db"


def make(table: Table, folder: Path, report: Callable[[int, int], None] = lambda _done, _total: None) -> Path:
    """Make a table, unless it is there and has not grown much.

    Args:
        table: what to make.
        folder: where; created where it does not exist.
        report: is told how many orders are there, and of how many.

    Returns:
        Its file.
    """
    path = table.path(folder)
    if path.exists() and _orders(path) <= table.orders * _GROWTH:
        return path
    folder.mkdir(parents=True, exist_ok=True)
    for suffix in ("", "-wal", "-shm", ".lock"):
        Path(f"{path}{suffix}").unlink(missing_ok=True)
    unfinished = path.with_suffix(".unfinished")
    unfinished.unlink(missing_ok=True)
    statements = [_INSERT_ORDERS, _INSERT_TRANSITIONS, *(_FAIL_SOME.split(";") if table.failed_each else ())]
    attempts = int(table.status is OrderStatus.COMPLETED)
    fixed = {"status": table.status.value, "attempts": attempts, "failed_each": table.failed_each}
    failed = table.orders // table.failed_each if table.failed_each else 0
    with closing(sqlite3.connect(unfinished, isolation_level=None)) as connection:
        connection.executescript(_PRAGMAS + sql.read("schema.sql"))
        for first in range(1, table.orders + 1, _PAGE):
            report(first - 1, table.orders)
            last = min(first + _PAGE - 1, table.orders)
            connection.execute("BEGIN")
            for statement in statements:
                connection.execute(statement, {**fixed, "first": first, "last": last})
            connection.execute("COMMIT")
        connection.execute(_SET_TOTALS, {**fixed, "orders": table.orders, "failed": failed})
    with unfinished.open("rb+") as file:
        os.fsync(file.fileno())  # or the measurement that follows would share the disk with it
    unfinished.rename(path)
    return path


def _orders(path: Path) -> int:
    with closing(sqlite3.connect(path)) as connection:
        count: int = connection.execute("SELECT coalesce(max(sequence), 0) FROM orders").fetchone()[0]
    return count


def warm(path: Path) -> Path:
    """Read a table through, so that it lies in the operating system's cache as a small one does anyway."""
    with path.open("rb") as file:
        while file.read(_WARMED_BYTES):
            pass
    return path
