"""Arrival: from a time to the number of the order that arrived then, without an index over times.

Numbers rise with the times that orders were accepted at, as long as nobody sets the clock back; where somebody did is
noted. Within each stretch between two such places the first order of a time is found by halving. Where several engines
number the orders, each by its own clock, these times agree so far only.
"""

from __future__ import annotations

from itertools import pairwise

from peewee import Database

from .statements import run, to_sql
from .tables import ClockStepModel, OrderModel

_END = 2**63 - 1
_MOST_STEPS = 100
_DISORDER_US = 60_000_000
"""How far the clocks of engines over one database may differ, and the times at which they give numbers."""

_NOTE = to_sql(ClockStepModel.insert({ClockStepModel.sequence: 0}))
_STEPS = to_sql(ClockStepModel.select(ClockStepModel.sequence).order_by(ClockStepModel.sequence).limit(1))
_AT = to_sql(
    OrderModel.select(OrderModel.sequence, OrderModel.created_at)
    .where((OrderModel.sequence >= 0) & (OrderModel.sequence < 0))
    .order_by(OrderModel.sequence)
    .limit(1)
)
_LATEST = to_sql(OrderModel.select(OrderModel.created_at).order_by(OrderModel.sequence.desc()).limit(1))


def latest_us(database: Database) -> int:
    """When the last order was accepted, microseconds since 1970-01-01T00:00:00Z; 0 before the first."""
    row = run(database, _LATEST, (1,)).fetchone()
    return 0 if row is None else int(row[0])


def disorder_us(database: Database) -> int:
    """How much earlier than the one before an order may be stamped without that being noted, in microseconds."""
    return _DISORDER_US if getattr(database, "is_shared", False) else 0


def note_clock_step(database: Database, sequence: int) -> None:
    """Note that an order is stamped earlier than the one before, in the transaction that stores it."""
    run(database, _NOTE, (sequence,))


class Arrivals:
    """Which orders arrived when.

    Args:
        database: connected in this thread.
        end: an order's number that is higher than all.
    """

    def __init__(self, database: Database, end: int) -> None:
        self._database = database
        steps = [sequence for (sequence,) in run(database, _STEPS, (_MOST_STEPS + 1,)).fetchall()]
        self._disorder_us = disorder_us(database)
        self.is_exact = not steps and not self._disorder_us
        """Whether the bounds are exact; otherwise orders within them may have arrived at another time."""
        self._stretches = [] if len(steps) > _MOST_STEPS else list(pairwise([0, *steps, max(end, *steps, 0)]))

    def first_since(self, at_us: int) -> int:
        """The lowest number of all orders that were accepted at a time or later."""
        if not self._stretches:
            return 0
        firsts = ((self._first(begin, end, at_us - self._disorder_us), end) for begin, end in self._stretches)
        return min((first for first, end in firsts if first < end), default=_END)

    def end_before(self, at_us: int) -> int:
        """A number above those of all orders that were accepted before a time."""
        return max((self._first(begin, end, at_us + self._disorder_us) for begin, end in self._stretches), default=_END)

    def _first(self, begin: int, end: int, at_us: int) -> int:
        # The lowest number in [begin, end) that was accepted at this time or later; `end` where there is none.
        low, high = begin, end
        while low < high:
            middle = (low + high) // 2
            row = run(self._database, _AT, (middle, high, 1)).fetchone()
            if row is None or row[1] >= at_us:
                high = middle
            else:
                low = row[0] + 1
        row = run(self._database, _AT, (low, end, 1)).fetchone()
        return end if row is None else int(row[0])
