"""The latest attempts that are over, and how long they took: what forecasts and rehearsals are made from."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

from peewee import Database

from .domain.lifecycle import OrderStatus
from .statements import run

STEPS_A_READING = 100_000
"""Transitions that are looked through at a time at the most, which takes some hundredths of a second."""
MOST_STEPS = 3_000_000
"""How far back attempts are sought: a bulk action, or many orders accepted at once, may lie between."""

_LAST = "SELECT coalesce(max(id), 0) FROM transitions"
# Two that began one after another may have been recorded in one transaction, so the sequence of these steps counts.
_BETWEEN = """
    SELECT began.id, began.at, ended.at, ended.to_status, ended.reason,
      CASE WHEN began.attempt = 1 AND orders.serial_key IS NULL
        THEN {greatest}(orders.created_at, coalesce(orders.not_before, 0)) END,
      first.at
    FROM
      (SELECT id, sequence, attempt, at, to_status, reason FROM transitions
       WHERE id > ? AND id <= ? AND from_status = 'Processing' ORDER BY id DESC LIMIT ?) AS ended
    JOIN transitions AS began ON began.sequence = ended.sequence AND began.attempt = ended.attempt
      AND began.from_status = 'Pending' AND began.to_status = 'Processing'
    JOIN transitions AS first ON first.sequence = ended.sequence AND first.attempt = 1
      AND first.from_status = 'Pending' AND first.to_status = 'Processing'
    JOIN orders ON orders.sequence = ended.sequence
    ORDER BY ended.id
"""


class Attempted(NamedTuple):
    """An attempt that is over. Times are microseconds since 1970-01-01T00:00:00Z."""

    number: int
    """Rises in the sequence in which attempts were begun."""
    began_us: int
    """When it was recorded as Processing."""
    ended_us: int
    status: OrderStatus
    """What the order was then."""
    reason: str
    """Why."""
    ready_us: int | None
    """Since when the order could have been begun; None where nobody knows."""
    first_us: int
    """When the order's first attempt was begun."""


class LatestAttempts:
    """Reads them bit by bit: what is new since, and a piece further back while there are too few.

    Args:
        most: how many are kept.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._found: deque[Attempted] = deque(maxlen=most)
        self._begin: int | None = None  # what lies between was read
        self._end = self._least = 0

    @property
    def is_complete(self) -> bool:
        """Whether nothing more is sought further back."""
        return self._begin is not None and (self._begin <= self._least or len(self._found) == self._most)

    def read(self, database: Database) -> Sequence[Attempted]:
        """Read on, within two bounded stretches of the transitions.

        Args:
            database: connected in this thread.

        Returns:
            What is known by now, in the sequence in which they ended.
        """
        (last,) = run(database, _LAST).fetchone()
        if self._begin is None:
            self._begin = self._end = int(last)
            self._least = max(0, self._end - MOST_STEPS)
        if last > self._end:
            self._found.extend(_between(database, max(self._end, last - STEPS_A_READING), last, self._most))
            self._end = int(last)
        if not self.is_complete:
            begin = max(self._least, self._begin - STEPS_A_READING)
            older = _between(database, begin, self._begin, self._most - len(self._found))
            self._found.extendleft(reversed(older))
            self._begin = begin
        return tuple(self._found)


def latest_attempts(database: Database, most: int) -> Sequence[Attempted]:
    """So many of the latest attempts that are over, however long it takes to find them: up to some seconds.

    Args:
        database: connected in this thread, in a transaction.
        most: how many.

    Returns:
        In the sequence in which they were begun.
    """
    latest = LatestAttempts(most)
    while not latest.is_complete:
        latest.read(database)
    return sorted(latest.read(database))


def _between(database: Database, begin: int, end: int, most: int) -> list[Attempted]:
    rows = run(database, _BETWEEN, (begin, end, most)).fetchall()
    return [
        Attempted(number, began_us, ended_us, OrderStatus(status), *more)
        for number, began_us, ended_us, status, *more in rows
    ]
