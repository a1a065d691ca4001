"""Places: where orders stand in the queue, and where new ones will."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from typing import TypeVar

import msgspec
from peewee import Database

from .domain.key_policy import KeyPolicy
from .domain.lifecycle import OrderStatus
from .domain.limit import NO_LIMITS
from .domain.limit import Limits as Configured
from .domain.order import Order
from .domain.outlook import Place
from .domain.record import OrderRecord
from .domain.weight import NO_WEIGHTS, Weights
from .limits import Limits, obstacles
from .line_counts import MAX_COUNTED, LineCounts, Spot
from .queries import IS_IN_LINE, as_json, is_of_key
from .queue import LAST_OF_USER
from .queues import Queues, bounds_of, line_number, lines_in_use, priority_of, queue_of
from .rows import serial_key
from .serial import SerialOrders
from .statements import run
from .turns import PLACES, STEP, step_for

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

BOUNDS_LAST_US = 250_000
"""How long it is taken as known which other lines there are, and up to where their orders go first."""
OTHERS_LAST_US = 1
"""For each order of other lines that goes first, they are not counted anew for so long."""

_MOST_IN_HAND = 1_000
_MOST_TAKEN = 10_000

_SINCE = "{greatest}(created_at, coalesce(not_before, 0))"
_PLACE = f"SELECT rank, serial_key, {_SINCE} FROM orders WHERE sequence = ?"
_COUNT = f"SELECT count(*) FROM (SELECT 1 FROM orders WHERE rank >= ? AND rank < ? AND {IS_IN_LINE} LIMIT ?) AS found"
_COUNT_BEFORE = f"""
    SELECT count(*) FROM (SELECT 1 FROM orders WHERE rank = ? AND sequence < ? AND {IS_IN_LINE} LIMIT ?) AS found
"""
# Each is found by the index; both at once would be found by reading all.
_FIRST_PLACE = f"SELECT min(rank) FROM orders WHERE rank >= ? AND rank < ? AND {IS_IN_LINE}"
_LAST_PLACE = f"SELECT max(rank) FROM orders WHERE rank >= ? AND rank < ? AND {IS_IN_LINE}"
_FROM_PLACE = f"""
    SELECT rank, {_SINCE} FROM orders WHERE rank >= ? AND rank < ? AND {IS_IN_LINE} ORDER BY rank, sequence LIMIT 1
"""
_AT_PLACE_FROM = f"""
    SELECT sequence, {_SINCE} FROM orders WHERE rank = ? AND sequence >= ? AND sequence < ? AND {IS_IN_LINE}
    ORDER BY sequence LIMIT 1
"""
_LAST_AT_PLACE = f"SELECT max(sequence) FROM orders WHERE rank = ? AND {IS_IN_LINE}"
_IN_HAND = "SELECT updated_at FROM orders WHERE status = 'Processing' ORDER BY sequence LIMIT ?"
_TAKEN = "SELECT rank, user_id, updated_at FROM orders WHERE status = 'Processing' ORDER BY sequence LIMIT ?"
_LAST_OF_USERS = f"SELECT value, ({LAST_OF_USER.replace('user_id = ?', 'user_id = value')}) FROM {{texts:?}} AS users"
_AHEAD_OF_KEY = f"""
    SELECT count(*) FROM orders WHERE {is_of_key("?")}
      AND (status = 'Processing' OR status = 'Review' OR status = 'Pending' AND sequence < ?)
"""
_KEYS_IN_USE = f"""
    SELECT value FROM {{texts:?}} AS names
    WHERE EXISTS (SELECT 1 FROM orders WHERE {is_of_key("value")} AND status = 'Pending')
      OR EXISTS (SELECT 1 FROM orders WHERE {is_of_key("value")} AND status = 'Processing')
      OR EXISTS (SELECT 1 FROM orders WHERE {is_of_key("value")} AND status = 'Review')
"""


def place(
    database: Database,
    record: OrderRecord,
    aging_us: int,
    limits: Configured = NO_LIMITS,
    now_us: int = 0,
    key_policy: KeyPolicy = KeyPolicy.HOLD,
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
        key_policy: what the next order of a key waits for.
    """
    rank, key, since_us = run(database, _PLACE, (record.sequence,)).fetchone() or (None, None, 0)
    in_hand = in_hand_since(database)
    is_pending = record.status is OrderStatus.PENDING
    if is_pending and key is not None and SerialOrders(database, key_policy).blocked([record.sequence]):
        (of_key,) = run(database, _AHEAD_OF_KEY, (key, record.sequence)).fetchone()
        return Place(None, 0, of_key, in_hand)
    if rank is None or not is_pending:
        return Place(None, 0, None, in_hand)
    own = rank // PLACES
    ahead = _count(database, own, Spot(rank, record.sequence))
    bounds = _bounds_in_others(database, Queues(database), own, record.order.priority, since_us, aging_us)
    others = sum(_count(database, line, bound) for line, bound in bounds.items())
    return Place(ahead, others, None, in_hand, tuple(obstacles(database, record.order, limits, now_us, ahead)))


class Entrance:
    """Where new orders will stand in the queue, if nothing else comes before them.

    What is counted for one of them is remembered for others: `LineCounts` says what may be missed by that. Used by one
    thread.

    Args:
        aging_us: the time that counts as much as one priority, in microseconds.
        limits: those on the work that hold where operators have set none.
        weights: of users whose share of the turns is another than that of the others.
        by_user: whether the user is the key of orders that have none.
    """

    def __init__(
        self, aging_us: int, limits: Configured = NO_LIMITS, weights: Weights = NO_WEIGHTS, *, by_user: bool = False
    ) -> None:
        self._aging_us = aging_us
        self._limits = limits
        self._weights = weights
        self._by_user = by_user
        self._counts = LineCounts()
        self._seen: tuple[Database, Queues, Limits] | None = None
        self._others: dict[int, _Others] = {}  # by the own line

    def places(self, database: Database, orders: Sequence[Order], now_us: int) -> list[Place | None]:
        """Where these will stand.

        Args:
            database: connected in this thread.
            orders: in the sequence that they are handed in.
            now_us: when, on the queue's clock, in microseconds since 1970-01-01T00:00:00Z.

        Returns:
            For each that is to be completed by a time, its place, if it waits for no time of its own; None for all
            others, and where it waits for others of its key, for a limit, or for somebody who resumes its queue.
        """
        self._counts.look_around(database, now_us)
        queues, limits = self._look(database, now_us)
        numbers = {name: queues.number_of(name, may_add=False) for name in {order.queue for order in orders}}
        lines = [line_number(numbers[order.queue], order.priority) for order in orders]
        keys = [serial_key(order, by_user=self._by_user) for order in orders]
        asked = [index for index, order in enumerate(orders) if order.complete_by is not None]
        used = _keys_in_use(database, {key for index in asked if (key := keys[index]) is not None})
        taken = run(database, _TAKEN, (_MOST_TAKEN,)).fetchall()
        in_hand = tuple([since_us for *_, since_us in taken[:_MOST_IN_HAND]])
        ranks = self._ranks(database, [(orders[index].user_id, lines[index]) for index in asked], taken)
        others: _Once[int, int] = _Once(lambda line: self._count_others(database, queues, line, now_us))
        ahead_of: _Once[Spot, int] = _Once(lambda spot: self._counts.before(database, spot.rank // PLACES, spot))
        places: list[Place | None] = []
        passed: Counter[int] = Counter()  # how many have come into each line with these
        for order, line, key in zip(orders, lines, keys, strict=True):
            found = None
            if order.complete_by is not None and key not in used:
                # Behind all of the same rank.
                ahead = ahead_of[Spot(ranks[order.user_id, line] + 1)] + passed[line]
                if not any(limits.obstacles(order, ahead)):
                    found = Place(ahead, others[line], None, in_hand)
            places.append(found)
            passed[line] += 1
        return places

    def _look(self, database: Database, now_us: int) -> tuple[Queues, Limits]:
        if self._seen is None or self._seen[0] is not database:
            queues = Queues(database)
            self._seen = database, queues, Limits(database, queues, self._limits)
        else:
            self._seen[1].read()
        _, queues, limits = self._seen
        limits.look(now_us)
        return queues, limits

    def _ranks(
        self, database: Database, asked: Sequence[tuple[str, int]], taken: Sequence[tuple[int | None, str, int]]
    ) -> Mapping[tuple[str, int], int]:
        # Behind their user's last one, and not before where the queue has come.
        users: defaultdict[int, set[str]] = defaultdict(set)
        for user_id, line in asked:
            users[line].add(user_id)
        ranks = {}
        for line, some in users.items():
            front = self._front(database, line, taken)
            for user_id, last in run(database, _LAST_OF_USERS, (*bounds_of(line), as_json(some))).fetchall():
                ranks[user_id, line] = front if last is None else max(front, last + self._step(user_id))
        return ranks

    def _step(self, user_id: str) -> int:
        return step_for(self._weights.get(user_id, 1.0)) if self._weights else STEP

    def _front(self, database: Database, line: int, taken: Sequence[tuple[int | None, str, int]]) -> int:
        # Behind the last that was taken, or where nobody has one, where the first is that waits.
        begin, end = bounds_of(line)
        in_hand = [(rank, user_id) for rank, user_id, _ in taken if rank is not None and begin <= rank < end]
        if in_hand:
            rank, user_id = max(in_hand)
            return rank + self._step(user_id)
        (first,) = run(database, _FIRST_PLACE, (begin, end)).fetchone()
        return begin if first is None else int(first)

    def _count_others(self, database: Database, queues: Queues, own: int, now_us: int) -> int:
        others = self._others.get(own)
        if others is None or not 0 <= now_us - others.found_us < BOUNDS_LAST_US:
            bounds = _bounds_in_others(database, queues, own, priority_of(own), now_us, self._aging_us, now_us)
            others = self._others[own] = _Others(bounds, now_us)
        if not others.counted_us <= now_us < others.counted_us + OTHERS_LAST_US * others.count:
            counts = (self._counts.before(database, line, spot) for line, spot in others.bounds.items())
            others.count, others.counted_us = sum(counts), now_us
        return others.count


class _Others(msgspec.Struct):
    """Orders of other lines that go first. Times are microseconds since 1970-01-01T00:00:00Z."""

    bounds: Mapping[int, Spot]
    """Of each line, up to where they do."""
    found_us: int
    count: int = 0
    counted_us: int = 0


class _Once(dict[K, V]):
    """Finds out what is not known yet."""

    def __init__(self, find: Callable[[K], V]) -> None:
        self._find = find

    def __missing__(self, key: K) -> V:
        found = self[key] = self._find(key)
        return found


def in_hand_since(database: Database) -> tuple[int, ...]:
    """Since when orders are Processing, each; a thousand at the most. Microseconds since 1970-01-01T00:00:00Z."""
    return tuple([at_us for (at_us,) in run(database, _IN_HAND, (_MOST_IN_HAND,)).fetchall()])


def _keys_in_use(database: Database, keys: Collection[str]) -> Collection[str]:
    return {key for (key,) in run(database, _KEYS_IN_USE, (as_json(keys),)).fetchall()} if keys else ()


def _bounds_in_others(
    database: Database,
    queues: Queues,
    own: int,
    priority: int,
    since_us: int,
    aging_us: int,
    now_us: int | None = None,
) -> dict[int, Spot]:
    # Of each other line, up to where orders go before one of this priority that waits since then.
    bounds = {}
    for line in lines_in_use(database):
        if line != own and not queues.settings[queue_of(line)].is_paused:
            than_us = since_us + aging_us * (priority_of(line) - priority)
            is_whole = now_us is not None and than_us >= now_us  # with all that come before long
            bounds[line] = Spot(bounds_of(line)[1]) if is_whole else _bound(database, line, than_us)
    return bounds


def _count(database: Database, line: int, spot: Spot) -> int:
    # Orders of one place go in the sequence of their arrival.
    (before,) = run(database, _COUNT, (bounds_of(line)[0], spot.rank, MAX_COUNTED)).fetchone()
    (beside,) = run(database, _COUNT_BEFORE, (*spot, MAX_COUNTED)).fetchone() if spot.sequence else (0,)
    return int(before + beside)


def _bound(database: Database, line: int, than_us: int) -> Spot:
    # Up to where the orders of a line have waited since then, or longer.
    begin, end = bounds_of(line)
    first, since_us = run(database, _FROM_PLACE, (begin, end)).fetchone() or (None, 0)
    if first is None or since_us > than_us:
        return Spot(begin)
    (last,) = run(database, _LAST_PLACE, (begin, end)).fetchone()
    place = _first_later(database, _FROM_PLACE, (), (first, last + 1), than_us)
    (before,) = run(database, _LAST_PLACE, (first, place)).fetchone()
    if before is None:
        return Spot(begin)
    (last_sequence,) = run(database, _LAST_AT_PLACE, (before,)).fetchone()
    sequence = _first_later(database, _AT_PLACE_FROM, (before,), (0, last_sequence + 1), than_us)
    return Spot(before, sequence)


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
