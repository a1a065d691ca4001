"""The limit of SQLite itself: the rows and updates that the engine writes, by `executemany` and nothing around it.

All tuples are there before the clock starts. What is left is SQLite on the engine's schema with the engine's pragmas.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from measure import Conditions, Figures
from ordermill.engine import Durability
from ordermill.store.domain import lifecycle
from ordermill.store.domain.lifecycle import OrderStatus
from ordermill.store.domain.metrics import PROCESSING_MICROSECONDS, TIMED_ORDERS
from ordermill.store.sqlite.database import open_writer
from stopwatch import Stopwatch

LOT = 500
"""Orders in a transaction."""
_BEGAN_US = 1_767_225_600_000_000  # 2026-01-01
_STEP_US = 1_000

_INSERT_ORDER = """
    INSERT INTO orders
      (sequence, order_id, user_id, item_ids, total_cents, status, attempts, failures, created_at, updated_at, ready_at,
       rank)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
_UPDATE_ORDER = """
    UPDATE orders SET status = ?, attempts = ?, failures = ?, updated_at = ?, ready_at = ?
    WHERE sequence = ? AND status = ? AND attempts = ?
"""
_INSERT_TRANSITION = """
    INSERT INTO transitions (sequence, order_id, from_status, to_status, at, attempt, reason)
    VALUES (?, ?, ?, ?, ?, ?, ?)
"""
_ADD_TO_TOTAL = "UPDATE totals SET value = value + ? WHERE name = ?"

_Rows = list[tuple[object, ...]]
Transaction = tuple[tuple[str, _Rows], ...]
"""What is written together: statements, each with its rows."""


def transactions(orders: int, lot: int = LOT) -> list[Transaction]:
    """Take in, assign and complete so many orders, lot by lot.

    Args:
        orders: how many.
        lot: orders in a transaction.
    """
    return [
        transaction
        for first in range(1, orders + 1, lot)
        for transaction in _lot(range(first, min(first + lot, orders + 1)))
    ]


def write(connection: sqlite3.Connection, work: list[Transaction]) -> None:
    """Run transactions one after the other, each synced to the disk.

    Args:
        connection: in autocommit mode.
        work: what to write.
    """
    for transaction in work:
        connection.execute("BEGIN IMMEDIATE")
        for statement, rows in transaction:
            connection.executemany(statement, rows)
        connection.execute("COMMIT")


def open_raw(path: Path) -> sqlite3.Connection:
    """The connection that the engine would write with, without Peewee around it; the schema is there."""
    database: Any = open_writer(path, Durability.FULL)
    connection: sqlite3.Connection = database.connection()
    return connection


def measure_limit(conditions: Conditions, orders: int) -> Figures:
    """How many orders a second SQLite takes in and completes.

    Args:
        conditions: where.
        orders: how many at full size.
    """
    count = conditions.count(orders)
    work = transactions(count)
    with closing(open_raw(conditions.folder / "raw.db")) as connection, Stopwatch() as watch:
        write(connection, work)
    return watch.rate(count)


def _lot(sequences: range) -> tuple[Transaction, Transaction, Transaction]:
    count = len(sequences)
    accepted, assigned, completed = (_BEGAN_US + step * _STEP_US for step in range(3))
    pending, processing, done = OrderStatus.PENDING.value, OrderStatus.PROCESSING.value, OrderStatus.COMPLETED.value
    ids = [f"00000000-{number:08d}" for number in sequences]
    new = (1999, pending, 0, 0, accepted, accepted, accepted)
    orders: _Rows = [
        (number, name, f"u-{number % 1000}", '["sku-1","sku-2"]', *new, number // 1000 << 20)
        for number, name in zip(sequences, ids, strict=True)
    ]

    def steps(source: str | None, target: str, at_us: int, attempt: int, reason: str) -> tuple[str, _Rows]:
        return _INSERT_TRANSITION, [
            (number, name, source, target, at_us, attempt, reason) for number, name in zip(sequences, ids, strict=True)
        ]

    def totals(**changes: int) -> tuple[str, _Rows]:
        return _ADD_TO_TOTAL, [(value, name) for name, value in changes.items()]

    return (
        (
            (_INSERT_ORDER, orders),
            steps(None, pending, accepted, 0, lifecycle.ACCEPT.why),
            totals(Pending=count),
        ),
        (
            (_UPDATE_ORDER, [(processing, 1, 0, assigned, None, number, pending, 0) for number in sequences]),
            steps(pending, processing, assigned, 1, lifecycle.ASSIGN.why),
            totals(Pending=-count, Processing=count),
        ),
        (
            (_UPDATE_ORDER, [(done, 1, 0, completed, None, number, processing, 1) for number in sequences]),
            steps(processing, done, completed, 1, lifecycle.COMPLETE.why),
            totals(
                Processing=-count,
                Completed=count,
                **{TIMED_ORDERS: count, PROCESSING_MICROSECONDS: count * _STEP_US},
            ),
        ),
    )
