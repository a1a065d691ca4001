"""What a rehearsal begins with: a snapshot of the backlog, and what was measured lately."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from itertools import compress
from typing import Any, NamedTuple

from peewee import Database

from . import bulk_actions, queries
from .arrival import Arrivals
from .attempts import Attempted, latest_attempts
from .domain.act import Action
from .domain.bulk_action import BulkRequest
from .domain.key_policy import KeyPolicy
from .domain.lifecycle import OrderStatus
from .domain.limit import NO_LIMITS
from .domain.limit import Limits as Configured
from .domain.metadata import metadata_of
from .domain.order import DEFAULT_QUEUE, Order
from .domain.queue_settings import QueueSettings
from .limited_lines import LimitState, LimitStates
from .limits import Limits
from .lines import InLine
from .queries import IS_IN_LINE
from .queues import Queues, bounds_of, line_number, lines_in_use, priority_of
from .rows import FOR_KEY
from .statements import run

WINDOW_US = 900_000_000
"""How far back arrivals are counted."""

_ROWS = 10_000
_LATEST_ATTEMPTS = 2_000
_LATEST_ARRIVALS = 1_000

_SINCE = "{greatest}(created_at, coalesce(not_before, 0))"
_COLUMNS = f"sequence, user_id, priority, queue, failures, {_SINCE}, serial_key, complete_by, metadata"
_STANDING = f"SELECT {_COLUMNS}, rank FROM orders WHERE {IS_IN_LINE} ORDER BY rank, sequence"
_WAITING = f"""
    SELECT {_COLUMNS}, ready_at FROM orders WHERE rank IS NULL AND ready_at IS NOT NULL ORDER BY ready_at, sequence
"""
_IS_PARKED = "parked IS NOT NULL AND ready_at IS NOT NULL"  # for others of its key as well
_PARKED = f"SELECT {_COLUMNS}, rank FROM orders WHERE {_IS_PARKED} ORDER BY rank, sequence"
_PARKED_FOR = f"SELECT sequence, parked FROM orders WHERE {_IS_PARKED} ORDER BY rank, sequence"
_LIMITS = "SELECT name, next_at, closed_until FROM limits WHERE next_at > ? OR closed_until > ?"
_IN_HAND = f"SELECT {_COLUMNS}, updated_at FROM orders WHERE status = 'Processing' ORDER BY updated_at, sequence"
_UNTAKEN = f"SELECT min(rank) FROM orders WHERE rank >= ? AND rank < ? AND {IS_IN_LINE} AND attempts = 0"
_THESE = f"""
    SELECT {_COLUMNS}, 0 FROM orders
    WHERE sequence IN {queries.AMONG} AND (status <> 'Pending' OR rank IS NULL) ORDER BY sequence
"""
_BLOCKING = """
    SELECT serial_key, sequence FROM orders WHERE serial_key >= ''
      AND status <> 'Completed' AND status <> 'Cancelled' AND (status = 'Review' OR status = ?)
"""
_ARRIVED = """
    SELECT created_at, user_id, priority, queue, metadata, serial_key, not_before - created_at, complete_by - created_at
    FROM orders ORDER BY sequence DESC LIMIT ?
"""
_FIRST = "SELECT created_at FROM orders ORDER BY sequence LIMIT 1"


class Arrived(NamedTuple):
    """An order as they arrive."""

    at_us: int
    user_id: str
    line: int
    """The number of the line that it stands in."""
    limits: Sequence[str]
    """The names of the limits by values that it is under."""
    key: str | None
    begins_after_us: int | None
    """How long after its arrival it may be begun; None for at once."""
    due_after_us: int | None
    """How long after its arrival it has to be completed; None where nothing was said."""


class Held(NamedTuple):
    """An order that others of its key are in the way of."""

    ready_us: int
    """When its time comes, or has come, on the queue's clock."""
    slot: int
    rank: int | None
    """Its place; None where it has none yet."""


class Backlog(NamedTuple):
    """All unfinished orders. Each is known by its slot, its index in the columns."""

    sequences: Sequence[int]
    users: Sequence[str]
    lines: Sequence[int]
    """The number of the line that each stands in, or will."""
    since_us: Sequence[int]
    """Since when each counts as waiting, before its priority is counted."""
    in_line: Sequence[int]
    """The slots of those that stand in line, in the sequence of their places."""
    ranks: Sequence[int]
    """Their places."""
    untaken: Mapping[int, int]
    """As `InLine` has it."""
    waiting: Sequence[tuple[int, int]]
    """When each of those is ready that wait for their time, on the queue's clock, and its slot."""
    held: Sequence[Held]
    """Those that others of their key are in the way of."""
    parked: Sequence[tuple[str, int, int]]
    """The name of the limit that each of those waits for that a limit keeps out of line, its place, and its slot."""
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
    limited_by: Sequence[Sequence[str]]
    """By slot, the names of the limits by values that it is under; empty where there are none such."""
    limits: LimitStates | None
    """All limits; None where there is none."""

    def standing(self, aging_us: int, is_paused: Callable[[str, int], bool] | None) -> tuple[InLine, Sequence[int]]:
        """Those that stand in line, and the slot of each.

        Args:
            aging_us: the time that counts as much as one priority.
            is_paused: tells of a user and the number of a line whether such orders are left out; None where none are.
        """
        users, ranks, lines = self.users, self.ranks, self.lines
        slots: Sequence[int] = self.in_line
        if is_paused is not None:
            goes = [not is_paused(users[slot], lines[slot]) for slot in slots]
            slots, ranks = array("q", compress(slots, goes)), array("q", compress(ranks, goes))
        counts = {line: aging_us * priority_of(line) for line in set(lines)}
        since_us = array("q", [self.since_us[slot] - counts[lines[slot]] for slot in slots])
        if isinstance(slots, range):  # all slots from the first one on
            return InLine(ranks, self.sequences, since_us, users, self.untaken), slots
        sequences = array("q", [self.sequences[slot] for slot in slots])
        return InLine(ranks, sequences, since_us, [users[slot] for slot in slots], self.untaken), slots


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


def backlog(
    database: Database,
    policy: KeyPolicy,
    configured: Configured = NO_LIMITS,
    now_us: int = 0,
    action: BulkRequest | None = None,
) -> Backlog:
    """All unfinished orders, in a transaction. It takes some microseconds an order, and as many as 100 bytes.

    Args:
        database: connected in this thread.
        policy: what the next order of a key waits for.
        configured: the limits that hold where operators have set none.
        now_us: the queue's time, microseconds since 1970-01-01T00:00:00Z.
        action: the backlog as it would be after this; None for as it is.
    """
    queues = Queues(database)
    limits = Limits(database, queues, configured)
    moved = frozenset(() if action is None else bulk_actions.sequences(database, action))
    is_retry = action is not None and action.action is Action.RETRY
    columns = _Columns(queues, limits)
    gone = frozenset() if is_retry else moved  # what is in line already is retried by nobody
    ranks = columns.read(database, _STANDING, gone)
    standing = range(len(ranks))
    waiting = _with_slots(columns, columns.read(database, _WAITING, moved))
    places = _with_slots(columns, columns.read(database, _PARKED, gone))
    parked_for = dict(run(database, _PARKED_FOR).fetchall() if places else ())
    parked = [(parked_for[columns.sequences[slot]], rank, slot) for rank, slot in places]
    in_hand = _with_slots(columns, columns.read(database, _IN_HAND))
    if is_retry:
        waiting += [(0, slot) for slot in columns.read_these(database, sorted(moved))]
    untaken = {}
    for line in lines_in_use(database):
        (lowest,) = run(database, _UNTAKEN, bounds_of(line)).fetchone()
        if lowest is not None:
            untaken[line] = int(lowest)
    blocker = OrderStatus.FAILED if policy is KeyPolicy.HALT else OrderStatus.REVIEW
    blocking = () if policy is KeyPolicy.CONTINUE else run(database, _BLOCKING, (blocker,)).fetchall()
    is_settled_as_blocker = action is not None and action.settled is blocker
    in_the_way = frozenset(key for key, sequence in blocking if is_settled_as_blocker or sequence not in moved)
    in_line: Sequence[int] = standing
    held: list[Held] = []
    if columns.keys:
        pending = [
            *(Held(0, slot, rank) for slot, rank in zip(standing, ranks, strict=True)),
            *(Held(0, slot, rank) for _, rank, slot in parked),
            *(Held(ready_us, slot, None) for ready_us, slot in waiting),
        ]
        held = _held(columns, pending, {slot for _, slot in in_hand}, in_the_way, policy)
        # What an action moves may be what these wait for: whoever begins with this finds out.
        known = {slot for _, slot, _ in held}
        held += [Held(0, slot, rank) for name, rank, slot in parked if name == FOR_KEY and slot not in known]
    if held:
        apart = {slot for _, slot, _ in held}
        goes = [slot not in apart for slot in standing]
        in_line, ranks = array("q", compress(standing, goes)), array("q", compress(ranks, goes))
        waiting = [entry for entry in waiting if entry[1] not in apart]
        parked = [entry for entry in parked if entry[2] not in apart]
    return Backlog(
        columns.sequences,
        columns.users,
        columns.lines,
        columns.since_us,
        in_line,
        ranks,
        untaken,
        waiting,
        held,
        parked,
        in_hand,
        columns.failures,
        columns.keys,
        columns.deadlines,
        in_the_way,
        queues.settings,
        columns.limited_by,
        _limit_states(database, limits, now_us) if parked or limits.of_queues or limits.have_values else None,
    )


def _held(
    columns: _Columns, pending: Sequence[Held], in_hand: Set[int], blocking: Set[str], policy: KeyPolicy
) -> list[Held]:
    # All of a key but the one that goes first, where nothing of the key is in its way.
    keys, sequences = columns.keys, columns.sequences
    in_the_way = {keys[slot] for slot in in_hand if slot in keys} | blocking
    first: dict[str, int] = {}
    for _, slot, rank in pending:
        key = keys.get(slot)
        if key is None or key in in_the_way or (policy is KeyPolicy.CONTINUE and rank is None):
            continue
        if key not in first or sequences[slot] < sequences[first[key]]:
            first[key] = slot
    return [order for order in pending if (key := keys.get(order.slot)) is not None and first.get(key) != order.slot]


def _limit_states(database: Database, limits: Limits, now_us: int) -> LimitStates:
    states = {name: state for name, *state in run(database, _LIMITS, (now_us, now_us)).fetchall()}
    queues = {
        number: LimitState(limit, *states.get(limits.name_of_queue(number), ()))
        for number, limit in limits.of_queues.items()
    }
    return LimitStates(queues, lambda name: LimitState(limits.of_value(name), *states.get(name, ())))


def measured(database: Database, now_us: int, configured: Configured = NO_LIMITS) -> Measured:
    """What was measured lately: a bounded number of the latest attempts and arrivals.

    Args:
        database: connected in this thread.
        now_us: microseconds since 1970-01-01T00:00:00Z.
        configured: the limits that hold where operators have set none.
    """
    attempts = latest_attempts(database, _LATEST_ATTEMPTS)
    queues = Queues(database)
    limits = Limits(database, queues, configured)
    arrived = [
        Arrived(at_us, user_id, _line(queues, priority, queue), _names(limits, user_id, metadata), *more)
        for at_us, user_id, priority, queue, metadata, *more in run(database, _ARRIVED, (_LATEST_ARRIVALS,)).fetchall()
    ]
    first = run(database, _FIRST).fetchone()
    last = queries.last_sequence(database)
    since_us = max(now_us - WINDOW_US, now_us if first is None else first[0])
    since = Arrivals(database, last + 1).first_since(since_us)
    return Measured(attempts, arrived, max(0, last + 1 - since), max(1, now_us - since_us))


class _Columns:
    def __init__(self, queues: Queues, limits: Limits) -> None:
        self._queues = queues
        self._limits = limits
        self._known: dict[tuple[int, str | None], int] = {}
        self.sequences, self.since_us, self.lines = array("q"), array("q"), array("l")
        self.users: list[str] = []
        self.failures: dict[int, int] = {}
        self.keys: dict[int, str] = {}
        self.deadlines: dict[int, int] = {}
        self._names: dict[str, str] = {}
        self.limited_by: list[Sequence[str]] = []
        self._known_limits: dict[Sequence[str], Sequence[str]] = {}

    def read(self, database: Database, statement: str, but_not: Set[int] = frozenset()) -> array[int]:
        """The last column of a statement; the others are added to those of all."""
        last = array("q")
        for rows in self._chunks(database, statement):
            last.extend(self._add([row for row in rows if row[0] not in but_not] if but_not else rows))
        return last

    def read_these(self, database: Database, sequences: Sequence[int]) -> range:
        """Orders that are handled again, as if none of their attempts had failed; their slots."""
        begin = len(self.sequences)
        for first in range(0, len(sequences), _ROWS):
            for rows in self._chunks(database, _THESE, (queries.as_json(sequences[first : first + _ROWS]),)):
                self._add(rows)
        added = range(begin, len(self.sequences))
        for slot in added:
            self.failures.pop(slot, None)
        return added

    def _chunks(
        self, database: Database, statement: str, parameters: Sequence[object] = ()
    ) -> Iterator[list[tuple[Any, ...]]]:
        if not self._limits.have_values:
            statement = statement.replace("metadata", "NULL", 1)  # which may be as large as all the rest
        cursor = run(database, statement, parameters)
        while rows := cursor.fetchmany(_ROWS):
            yield rows

    def _add(self, rows: Sequence[tuple[Any, ...]]) -> Sequence[int]:
        if not rows:
            return ()
        begin = len(self.sequences)
        sequences, users, priorities, queues, failures, since_us, keys, deadlines, metadata, more = zip(
            *rows, strict=True
        )
        self.sequences.extend(sequences)
        self.since_us.extend(since_us)
        pairs = list(zip(priorities, queues, strict=True))
        self._known |= {pair: _line(self._queues, *pair) for pair in set(pairs) - self._known.keys()}
        self.lines.extend(map(self._known.__getitem__, pairs))
        self.users.extend(map(self._names.setdefault, users, users))
        if any(failures):
            self.failures |= {begin + index: count for index, count in enumerate(failures) if count}
        if keys.count(None) < len(keys):
            self.keys |= {begin + index: key for index, key in enumerate(keys) if key is not None}
        if deadlines.count(None) < len(deadlines):
            self.deadlines |= {begin + index: due for index, due in enumerate(deadlines) if due is not None}
        if self._limits.have_values:
            names = [_names(self._limits, user, text) for user, text in zip(users, metadata, strict=True)]
            self.limited_by.extend(map(self._known_limits.setdefault, names, names))
        return more


def _names(limits: Limits, user_id: str, metadata: str | None) -> Sequence[str]:
    if not limits.have_values:
        return ()
    return tuple(limits.names_of(Order.stored("", user_id, (), 0, metadata=metadata_of(metadata))))


def _line(queues: Queues, priority: int, queue: str | None) -> int:
    return line_number(queues.number_of(DEFAULT_QUEUE if queue is None else queue, may_add=False), priority)


def _with_slots(columns: _Columns, times: array[int]) -> list[tuple[int, int]]:
    begin = len(columns.sequences) - len(times)
    return [(at_us, begin + index) for index, at_us in enumerate(times)]


def keys_in_way(found: Backlog) -> Counter[str]:
    """Of each key, how many orders are unfinished, and have nothing of it in their way."""
    held = {slot for _, slot, _ in found.held}
    return Counter(key for slot, key in found.keys.items() if slot not in held)
