"""Outlooks: what forecasts are made from, and how well the ends of orders were foretold."""

from __future__ import annotations

from collections.abc import Sequence

from peewee import Database

from .attempts import Attempted, LatestAttempts
from .domain.lifecycle import OrderStatus
from .domain.outlook import ACCURACY_DAYS, Accuracy, Attempt, Estimate, Evidence, Judged
from .places import in_hand_since
from .statements import run, run_for_each, write_transaction
from .translation import translated_errors
from .writer import Turn, Writer

MAX_OPEN = 2_000
"""Estimates that wait for the end of their order; while there are so many, no further one is noted."""
MAX_KEPT = 100_000
"""Estimates that are remembered; the oldest go first."""

LATEST_ATTEMPTS = 1_000
"""How many forecasts are made from."""

_LATEST_ARRIVALS = 1_000
_LATEST_JUDGED = 500
_DAY_US = 86_400_000_000

_ARRIVALS = "SELECT created_at, priority FROM orders ORDER BY sequence DESC LIMIT ?"
_COLUMNS = "sequence, given_at, model_from, model_to, expected_from, expected_to"
_JUDGED = f"SELECT {_COLUMNS}, ended_at FROM outlooks WHERE ended_at IS NOT NULL ORDER BY ended_at DESC LIMIT ?"
_ACCURACY = "SELECT count(*), sum(is_kept) FROM outlooks WHERE given_at >= ? AND is_kept IS NOT NULL"
_NOTE = f"INSERT INTO outlooks ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"
_OVERDUE = "SELECT count(*) FROM outlooks WHERE ended_at IS NULL AND is_kept = 0"
_OPEN = "SELECT count(*) FROM outlooks WHERE ended_at IS NULL"
_FORGET_STRAYED = """
    DELETE FROM outlooks WHERE ended_at IS NULL AND NOT EXISTS (
      SELECT 1 FROM orders WHERE orders.sequence = outlooks.sequence AND status <> 'Cancelled' AND status <> 'Review')
"""
_JUDGE = """
    UPDATE outlooks SET ended_at = orders.updated_at,
      is_kept = CASE WHEN orders.updated_at BETWEEN expected_from AND expected_to THEN 1 ELSE 0 END
    FROM orders
    WHERE ended_at IS NULL AND orders.sequence = outlooks.sequence AND status IN ('Completed', 'Failed')
"""
_JUDGE_LATE = "UPDATE outlooks SET is_kept = 0 WHERE ended_at IS NULL AND is_kept IS NULL AND expected_to < ?"
_FORGET_OLD = "DELETE FROM outlooks WHERE given_at < ?"
_FORGET_MORE = """
    DELETE FROM outlooks WHERE sequence IN (
      SELECT sequence FROM outlooks ORDER BY given_at LIMIT {greatest}(0, (SELECT count(*) FROM outlooks) - ?))
"""


def evidence(database: Database, latest: LatestAttempts, now_us: int) -> Evidence:
    """What was measured lately: a bounded number of the latest attempts, arrivals and judged estimates.

    Args:
        database: connected in this thread.
        latest: the attempts that were read before; it reads on.
        now_us: microseconds since 1970-01-01T00:00:00Z.
    """
    arrivals = run(database, _ARRIVALS, (_LATEST_ARRIVALS,)).fetchall()
    judged = run(database, _JUDGED, (_LATEST_JUDGED,)).fetchall()
    (overdue,) = run(database, _OVERDUE).fetchone()
    return Evidence(
        tuple(map(_attempt, latest.read(database))),
        in_hand_since(database),
        tuple(arrivals),
        tuple([Judged(Estimate(*row[:-1]), row[-1]) for row in reversed(judged)]),
        int(overdue),
        accuracy(database, now_us),
    )


def _attempt(of: Attempted) -> Attempt:
    is_last = of.status in (OrderStatus.COMPLETED, OrderStatus.FAILED)
    before_us = max(0, of.began_us - of.first_us) if is_last else None
    return Attempt(of.began_us, max(0, of.ended_us - of.began_us), before_us)


def accuracy(database: Database, now_us: int) -> Accuracy | None:
    """How often estimates of the last days were right; None before the first was judged.

    Args:
        database: connected in this thread.
        now_us: microseconds since 1970-01-01T00:00:00Z.
    """
    of, kept = run(database, _ACCURACY, (now_us - ACCURACY_DAYS * _DAY_US,)).fetchone()
    return Accuracy(int(kept) / of, of) if of else None


def note_and_judge(database: Writer, estimates: Sequence[Estimate], now_us: int) -> int:
    """Write down what was told, the first time for each order; judge what was told of orders that are over by now.

    What was told of an order that was cancelled, or that a person has to look at, is forgotten.

    Args:
        database: a connection that may write.
        estimates: what was told.
        now_us: microseconds since 1970-01-01T00:00:00Z.

    Returns:
        How many are not judged yet.

    Raises:
        StoreUnavailable: the database did not take it.
    """
    with translated_errors():
        (waiting,) = run(database, _OPEN).fetchone()
    if not waiting and not estimates:
        return 0
    with translated_errors(), write_transaction(database):
        database.wait_for_turn(Turn.ESTIMATES)
        run_for_each(database, _NOTE, estimates[: max(0, MAX_OPEN - waiting)])
        run(database, _FORGET_STRAYED)
        run(database, _JUDGE)
        run(database, _JUDGE_LATE, (now_us,))
        run(database, _FORGET_OLD, (now_us - ACCURACY_DAYS * _DAY_US,))
        run(database, _FORGET_MORE, (MAX_KEPT,))
        (waiting,) = run(database, _OPEN).fetchone()
        return int(waiting)
