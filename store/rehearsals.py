"""What a rehearsal begins with: a snapshot of the backlog, and what was measured lately."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from peewee import Database

from . import queries
from .arrival import Arrivals
from .attempts import Attempted, latest_attempts
from .domain.key_policy import KeyPolicy
from .domain.lifecycle import OrderStatus
from .domain.order import DEFAULT_QUEUE
from .domain.queue_settings import QueueSettings
from .lines import InLine
from .queries import IS_IN_LINE
from .queues import Queues, bounds_of, line_number, lines_in_use, priority_of
from .statements import run

WINDOW_US = 900_000_000
"""How far back arrivals are counted."""

_ROWS = 10_000
_LATEST_ATTEMPTS = 2_000
_LATEST_ARRIVALS = 1_000

_SINCE = "{greatest}(created_at, coalesce(not_before, 0))"
_COLUMNS = f"sequence, user_id, priority, queue, failures, {_SINCE}, serial_key, complete_by"
_STANDING = f"SELECT {_COLUMNS}, rank FROM orders WHERE {IS_IN_LINE} ORDER BY rank, sequence"
_WAITING = f"""
    SELECT {_COLUMNS}, ready_at FROM orders WHERE rank IS NULL AND ready_at IS NOT NULL AND held IS NULL
    ORDER BY ready_at, sequence
"""
_PARKED = f"SELECT {_COLUMNS}, 0 FROM orders WHERE parked IS NOT NULL AND ready_at IS NOT NULL ORDER BY rank, sequence"
_HELD = f"""
    SELECT {_COLUMNS}, ready_at FROM orders WHERE held = 1 AND ready_at IS NOT NULL ORDER BY serial_key, sequence
"""
_IN_HAND = f"SELECT {_COLUMNS}, updated_at FROM orders WHERE status = 'Processing' ORDER BY updated_at, sequence"
_UNTAKEN = f"SELECT min(rank) FROM orders WHERE rank >= ? AND rank < ? AND {IS_IN_LINE} AND attempts = 0"
_BLOCKING = """
    SELECT DISTINCT serial_key FROM orders WHERE serial_key IS NOT NULL AND held IS NULL
      AND status <> 'Completed' AND status <> 'Cancelled' AND (status = 'Review' OR status = ?)
"""
_ARRIVED = """
    SELECT created_at, user_id, priority, queue, serial_key, not_before - created_at, complete_by - created_at
    FROM orders ORDER BY sequence DESC LIMIT ?
"""
_FIRST = "SELECT created_at FROM orders ORDER BY sequence LIMIT 1"


class Arrived(NamedTuple):
    """An order as they arrive."""

    at_us: int
    user_id: str
    line: int
    """The number of the line that it stands in."""
    key: str | None
    begins_after_us: int | None
    """How long after its arrival it may be begun; None for at once."""
    due_after_us: int | None
    """How long after its arrival it has to be completed; None where nothing was said."""


class Backlog(NamedTuple):
    """All unfinished orders. Each is known by its slot, its index in the columns."""

    sequences: Sequence[int]
    users: Sequence[str]
    lines: Sequence[int]
    """The number of the line that each stands in, or will."""
    since_us: Sequence[int]
    """Since when each counts as waiting, before its priority is counted."""
    in_line: range
    """The slots of those that stand in line, in the sequence of their places."""
    ranks: Sequence[int]
    """Their places."""
    untaken: Mapping[int, int]
    """As `InLine` has it."""
    waiting: Sequence[tuple[int, int]]
    """When each of those is ready that wait for their time, on the queue's clock, and its slot."""
    held: Sequence[tuple[int, int]]
    """Likewise those that are held for others of their key; of each key in the sequence of their arrival."""
    in_hand: Sequence[tuple[int, int]]
    """Since when each of those is Processing, and its slot."""
    failures: dict[int, int]
    """By slot, where there are any."""
    keys: dict[int, str]
    """By slot, where there is one."""
    deadlines: dict[int, int]
    """By slot, where there is one."""
    blocking: frozenset[str]
    """Keys of which an order is in the way that nobody will move."""
    queues: Mapping[int, QueueSettings]
    """What operators have set about each queue, by its number."""

    def standing(self, aging_us: int, is_paused: Callable[[str, int], bool] | None) -> tuple[InLine, Sequence[int]]:
        """Those that stand in line, and the slot of each.

        Args:
            aging_us: the time that counts as much as one priority.
            is_paused: tells of a user and the number of a line whether such orders are left out; None where none are.
        """
        users, ranks, lines = self.users, self.ranks, self.lines
        slots: Sequence[int] = self.in_line
        if is_paused is not None:
            slots = array("q", [slot for slot in slots if not is_paused(users[slot], lines[slot])])
        counts = {line: aging_us * priority_of(line) for line in set(lines)}
        since_us = array("q", [self.since_us[slot] - counts[lines[slot]] for slot in slots])
        if is_paused is None:
            return InLine(ranks, self.sequences, since_us, users, self.untaken), slots
        given = InLine(
            array("q", [ranks[slot] for slot in slots]),
            array("q", [self.sequences[slot] for slot in slots]),
            since_us,
            [users[slot] for slot in slots],
            self.untaken,
        )
        return given, slots


class Measured(NamedTuple):
    """What was measured lately."""

    attempts: Sequence[Attempted]
    """In the sequence in which they were begun."""
    arrived: Sequence[Arrived]
    """Newest first."""
    arrivals: int
    """How many there were..."""
    window_us: int
    """... within so much time, up to now."""


def backlog(database: Database, policy: KeyPolicy) -> Backlog:
    """All unfinished orders, in a transaction. It takes some microseconds an order, and as many as 100 bytes.

    Args:
        database: connected in this thread.
        policy: what the next order of a key waits for.
    """
    queues = Queues(database)
    columns = _Columns(queues)
    ranks = columns.read(database, _STANDING)
    waiting = _with_slots(columns, columns.read(database, _WAITING))
    waiting += _with_slots(columns, columns.read(database, _PARKED))
    held = _with_slots(columns, columns.read(database, _HELD))
    in_hand = _with_slots(columns, columns.read(database, _IN_HAND))
    untaken = {}
    for line in lines_in_use(database):
        (lowest,) = run(database, _UNTAKEN, bounds_of(line)).fetchone()
        if lowest is not None:
            untaken[line] = int(lowest)
    blocker = OrderStatus.FAILED if policy is KeyPolicy.HALT else OrderStatus.REVIEW
    blocking = () if policy is KeyPolicy.CONTINUE else run(database, _BLOCKING, (blocker,)).fetchall()
    return Backlog(
        columns.sequences,
        columns.users,
        columns.lines,
        columns.since_us,
        range(len(ranks)),
        ranks,
        untaken,
        waiting,
        held,
        in_hand,
        columns.failures,
        columns.keys,
        columns.deadlines,
        frozenset(key for (key,) in blocking),
        queues.settings,
    )


def measured(database: Database, now_us: int) -> Measured:
    """What was measured lately: a bounded number of the latest attempts and arrivals.

    Args:
        database: connected in this thread.
        now_us: microseconds since 1970-01-01T00:00:00Z.
    """
    attempts = latest_attempts(database, _LATEST_ATTEMPTS)
    queues = Queues(database)
    arrived = [
        Arrived(at_us, user_id, _line(queues, priority, queue), *more)
        for at_us, user_id, priority, queue, *more in run(database, _ARRIVED, (_LATEST_ARRIVALS,)).fetchall()
    ]
    first = run(database, _FIRST).fetchone()
    last = queries.last_sequence(database)
    since_us = max(now_us - WINDOW_US, now_us if first is None else first[0])
    since = Arrivals(database, last + 1).first_since(since_us)
    return Measured(attempts, arrived, max(0, last + 1 - since), max(1, now_us - since_us))


class _Columns:
    def __init__(self, queues: Queues) -> None:
        self._queues = queues
        self._known: dict[tuple[int, str | None], int] = {}
        self.sequences, self.since_us, self.lines = array("q"), array("q"), array("l")
        self.users: list[str] = []
        self.failures: dict[int, int] = {}
        self.keys: dict[int, str] = {}
        self.deadlines: dict[int, int] = {}
        self._names: dict[str, str] = {}

    def read(self, database: Database, statement: str) -> array[int]:
        last = array("q")
        for rows in _chunks(database, statement):
            begin = len(self.sequences)
            sequences, users, priorities, queues, failures, since_us, keys, deadlines, more = zip(*rows, strict=True)
            self.sequences.extend(sequences)
            self.since_us.extend(since_us)
            pairs = list(zip(priorities, queues, strict=True))
            self._known |= {pair: _line(self._queues, *pair) for pair in set(pairs) - self._known.keys()}
            self.lines.extend(map(self._known.__getitem__, pairs))
            self.users.extend(map(self._names.setdefault, users, users))
            last.extend(more)
            if any(failures):
                self.failures |= {begin + index: count for index, count in enumerate(failures) if count}
            if keys.count(None) < len(keys):
                self.keys |= {begin + index: key for index, key in enumerate(keys) if key is not None}
            if deadlines.count(None) < len(deadlines):
                self.deadlines |= {begin + index: due for index, due in enumerate(deadlines) if due is not None}
        return last


def _line(queues: Queues, priority: int, queue: str | None) -> int:
    return line_number(queues.number_of(DEFAULT_QUEUE if queue is None else queue, may_add=False), priority)


def _chunks(database: Database, statement: str) -> Iterator[list[tuple[int, ...]]]:
    cursor = run(database, statement)
    while rows := cursor.fetchmany(_ROWS):
        yield rows


def _with_slots(columns: _Columns, times: array[int]) -> list[tuple[int, int]]:
    begin = len(columns.sequences) - len(times)
    return [(at_us, begin + index) for index, at_us in enumerate(times)]


def keys_in_way(found: Backlog) -> Counter[str]:
    """Of each key, how many orders are unfinished and not held."""
    held = {slot for _, slot in found.held}
    return Counter(key for slot, key in found.keys.items() if slot not in held)
