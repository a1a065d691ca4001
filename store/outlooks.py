"""Outlooks: what is known about the way of an order through the queue, and how well it was foretold."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from typing import TypeVar

from peewee import Database

from .attempts import Attempted, LatestAttempts
from .domain.lifecycle import OrderStatus
from .domain.limit import NO_LIMITS
from .domain.limit import Limits as Configured
from .domain.order import Order
from .domain.outlook import ACCURACY_DAYS, Accuracy, Attempt, Estimate, Evidence, Judged, Place
from .domain.record import OrderRecord
from .domain.weight import NO_WEIGHTS, Weights
from .limits import Limits, obstacles
from .queries import IS_IN_LINE
from .queue import LAST_OF_USER
from .queues import Queues, bounds_of, line_number, lines_in_use, priority_of, queue_of
from .rows import serial_key
from .statements import run, run_for_each, write_transaction
from .translation import translated_errors
from .turns import PLACES, step_for
from .writer import Turn, Writer

K = TypeVar("K", bound=Hashable)

MAX_OPEN = 2_000
"""Estimates that wait for the end of their order; while there are so many, no further one is noted."""
MAX_KEPT = 100_000
"""Estimates that are remembered; the oldest go first."""

LATEST_ATTEMPTS = 1_000
"""How many forecasts are made from."""

_MAX_COUNTED = 1_000_000
_LATEST_ARRIVALS = 1_000
_LATEST_JUDGED = 500
_MOST_IN_HAND = 1_000
_DAY_US = 86_400_000_000
_END = 2**63 - 1

_SINCE = "{greatest}(created_at, coalesce(not_before, 0))"
_PLACE = f"SELECT rank, held, serial_key, {_SINCE} FROM orders WHERE sequence = ?"
_COUNT = f"SELECT count(*) FROM (SELECT 1 FROM orders WHERE rank >= ? AND rank < ? AND {IS_IN_LINE} LIMIT ?) AS found"
_ENDS = f"SELECT min(rank), max(rank) FROM orders WHERE rank >= ? AND rank < ? AND {IS_IN_LINE}"
_LAST_PLACE = f"SELECT max(rank) FROM orders WHERE rank >= ? AND rank < ? AND {IS_IN_LINE}"
_COUNT_BEFORE = f"""
    SELECT count(*) FROM (SELECT 1 FROM orders WHERE rank = ? AND sequence < ? AND {IS_IN_LINE} LIMIT ?) AS found
"""
_FROM_PLACE = f"""
    SELECT rank, {_SINCE} FROM orders WHERE rank >= ? AND rank < ? AND {IS_IN_LINE} ORDER BY rank, sequence LIMIT 1
"""
_AT_PLACE_FROM = f"""
    SELECT sequence, {_SINCE} FROM orders WHERE rank = ? AND sequence >= ? AND sequence < ? AND {IS_IN_LINE}
    ORDER BY sequence LIMIT 1
"""
_LAST_AT_PLACE = f"SELECT max(sequence) FROM orders WHERE rank = ? AND {IS_IN_LINE}"
_IN_HAND = "SELECT updated_at FROM orders WHERE status = 'Processing' ORDER BY sequence LIMIT ?"
# Where the queue has come to: behind the last that was taken, or where nobody has one, to the first that waits.
_LAST_TAKEN = """
    SELECT rank, user_id FROM orders WHERE status = 'Processing' AND rank >= ? AND rank < ? ORDER BY rank DESC LIMIT 1
"""
_AHEAD_OF_KEY = """
    SELECT (SELECT count(*) FROM orders WHERE serial_key = ? AND held = 1 AND ready_at IS NOT NULL AND sequence < ?)
      + (SELECT count(*) FROM orders WHERE serial_key = ? AND serial_key IS NOT NULL AND held IS NULL
         AND status <> 'Completed' AND status <> 'Cancelled' AND status <> 'Failed')
"""
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


def place(
    database: Database, record: OrderRecord, aging_us: int, limits: Configured = NO_LIMITS, now_us: int = 0
) -> Place:
    """Where an order stands in the queue's own sequence.

    Its line is counted by its index, up to a million orders. In the lines of other priorities and queues the first is
    sought that has not waited longer, by bisection: users who take turns make their times rise only on the whole, so
    that what is counted there is as good as that.

    Args:
        database: connected in this thread.
        record: the order, as it was read.
        aging_us: the time that counts as much as one priority, in microseconds.
        limits: those on the work that hold where operators have set none.
        now_us: the queue's time, in microseconds since 1970-01-01T00:00:00Z.
    """
    rank, held, serial_key, since_us = run(database, _PLACE, (record.sequence,)).fetchone() or (None, None, None, 0)
    in_hand = _in_hand(database)
    of_key = None
    if held:
        (of_key,) = run(database, _AHEAD_OF_KEY, (serial_key, record.sequence, serial_key)).fetchone()
    if rank is None or record.status is not OrderStatus.PENDING:
        return Place(None, 0, of_key, in_hand)
    own = rank // PLACES
    ahead = _count(database, own, rank, record.sequence)
    others = _count_others(database, Queues(database), own, record.order.priority, since_us, aging_us)
    return Place(ahead, others, of_key, in_hand, tuple(obstacles(database, record.order, limits, now_us, ahead)))


def places_of_new(
    database: Database,
    orders: Sequence[Order],
    now_us: int,
    aging_us: int,
    limits: Configured = NO_LIMITS,
    weights: Weights = NO_WEIGHTS,
    *,
    by_user: bool = False,
) -> list[Place | None]:
    """Where new orders will stand in the queue, if nothing else comes before them.

    Args:
        database: connected in this thread.
        orders: in the sequence that they are handed in.
        now_us: when, on the queue's clock, in microseconds since 1970-01-01T00:00:00Z.
        aging_us: the time that counts as much as one priority, in microseconds.
        limits: those on the work that hold where operators have set none.
        weights: of users whose share of the turns is another than that of the others.
        by_user: whether the user is the key of orders that have none.

    Returns:
        For each that is to be completed by a time, its place; None for all others, and where nothing can be said.
    """
    entrance = _Entrance(database, now_us, aging_us, limits, weights)
    places: list[Place | None] = []
    for order in orders:
        line = entrance.line_of(order)
        key = serial_key(order, by_user=by_user)
        places.append(None if order.complete_by is None else entrance.place(order, line, key))
        entrance.passed[line] += 1
    return places


class _Entrance:
    """Where orders will stand that come now: behind their user's last one, and not before where the queue has come."""

    def __init__(self, database: Database, now_us: int, aging_us: int, limits: Configured, weights: Weights) -> None:
        self._database = database
        self._now_us = now_us
        self._aging_us = aging_us
        self._weights = weights
        self._queues = Queues(database)
        self._limits = Limits(database, self._queues, limits)
        self._in_hand = _in_hand(database)
        self._fronts: dict[int, int] = {}
        self._others: dict[int, int] = {}
        self._ahead: dict[tuple[int, int], int] = {}
        self.passed: Counter[int] = Counter()
        """How many orders have come into each line since."""

    def line_of(self, order: Order) -> int:
        """The line that it will stand in; that of a queue that is new is empty."""
        return line_number(self._queues.number_of(order.queue, may_add=False), order.priority)

    def place(self, order: Order, line: int, key: str | None) -> Place | None:
        """Where that order will stand, if it waits for no time of its own.

        None where it waits for others of its key, for a limit, or for somebody who resumes its queue.
        """
        if key is not None and run(self._database, _AHEAD_OF_KEY, (key, _END, key)).fetchone()[0]:
            return None
        front = _once(self._fronts, line, self._front)
        last = run(self._database, LAST_OF_USER, (order.user_id, *bounds_of(line))).fetchone()
        rank = front if last is None else max(front, last[0] + self._step(order.user_id))
        ahead = _once(self._ahead, (line, rank), self._count_ahead) + self.passed[line]
        if any(self._limits.obstacles(order, self._now_us, ahead)):
            return None
        return Place(ahead, _once(self._others, line, self._count_others), None, self._in_hand)

    def _step(self, user_id: str) -> int:
        return step_for(self._weights.get(user_id, 1.0))

    def _front(self, line: int) -> int:
        taken = run(self._database, _LAST_TAKEN, bounds_of(line)).fetchone()
        if taken is not None:
            return int(taken[0]) + self._step(taken[1])
        first, _ = run(self._database, _ENDS, bounds_of(line)).fetchone()
        return bounds_of(line)[0] if first is None else int(first)

    def _count_ahead(self, place: tuple[int, int]) -> int:
        line, rank = place
        (ahead,) = run(self._database, _COUNT, (bounds_of(line)[0], rank + 1, _MAX_COUNTED)).fetchone()
        return int(ahead)

    def _count_others(self, line: int) -> int:
        return _count_others(self._database, self._queues, line, priority_of(line), self._now_us, self._aging_us)


def _count_others(database: Database, queues: Queues, own: int, priority: int, since_us: int, aging_us: int) -> int:
    # Of other lines, those that go before an order of this priority that waits since then.
    return sum(
        _count_earlier(database, line, since_us + aging_us * (priority_of(line) - priority))
        for line in lines_in_use(database)
        if line != own and not queues.settings[queue_of(line)].is_paused
    )


def _once(known: dict[K, int], key: K, find: Callable[[K], int]) -> int:
    if key not in known:
        known[key] = find(key)
    return known[key]


def _in_hand(database: Database) -> tuple[int, ...]:
    return tuple([at_us for (at_us,) in run(database, _IN_HAND, (_MOST_IN_HAND,)).fetchall()])


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
        _in_hand(database),
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


def _count(database: Database, line: int, rank: int, sequence: int) -> int:
    # Orders of one place go in the sequence of their arrival.
    (before,) = run(database, _COUNT, (bounds_of(line)[0], rank, _MAX_COUNTED)).fetchone()
    (beside,) = run(database, _COUNT_BEFORE, (rank, sequence, _MAX_COUNTED)).fetchone()
    return int(before + beside)


def _count_earlier(database: Database, line: int, than_us: int) -> int:
    first, last = run(database, _ENDS, bounds_of(line)).fetchone()
    if first is None:
        return 0
    end = _first_later(database, _FROM_PLACE, (), (first, last + 1), than_us)
    (last,) = run(database, _LAST_PLACE, (first, end)).fetchone()
    if last is None:
        return 0
    (last_sequence,) = run(database, _LAST_AT_PLACE, (last,)).fetchone()
    sequence = _first_later(database, _AT_PLACE_FROM, (last,), (0, last_sequence + 1), than_us)
    return _count(database, line, last, sequence)


def _first_later(
    database: Database, statement: str, parameters: tuple[int, ...], bounds: tuple[int, int], than_us: int
) -> int:
    # The number of the first that has not waited since so early, or the end of these.
    low, high = bounds
    while low < high:
        middle = (low + high) // 2
        row = run(database, statement, (*parameters, middle, high)).fetchone()
        if row is None or row[1] > than_us:
            high = middle
        else:
            low = row[0] + 1
    return int(low)
