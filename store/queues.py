"""Queues: which there are, what operators have set about each, and how it is doing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import islice

from peewee import Database

from .audit_log import write_acts
from .domain.act import Act
from .domain.limit import NO_LIMIT, QUEUE, Limits
from .domain.order import DEFAULT_QUEUE, HIGHEST_PRIORITY, LOWEST_PRIORITY, PRIORITY, Order
from .domain.queue_settings import MAX_COUNTED, MAX_QUEUES, QueueCounts, QueueSettings, QueueState
from .queries import IS_IN_LINE
from .statements import run, write_transaction
from .translation import translated_errors
from .turns import PLACES

PRIORITIES = HIGHEST_PRIORITY - LOWEST_PRIORITY + 1

_ALL = "SELECT id, name, is_paused, concurrency, rate, reason, changed_at, changed_by FROM queues ORDER BY id"
_ADD = """
    INSERT INTO queues (id, name, is_paused) SELECT max(id) + 1, ?, 0 FROM queues WHERE true ON CONFLICT DO NOTHING
"""
_SET = """
    UPDATE queues SET is_paused = ?, concurrency = ?, rate = ?, reason = ?, changed_at = ?, changed_by = ?
    WHERE name = ?
"""
_PROCESSING = "SELECT queue, count(*) FROM orders WHERE status = 'Processing' GROUP BY queue"
_IN_LINE = f"SELECT count(*) FROM (SELECT 1 FROM orders WHERE rank >= ? AND rank < ? AND {IS_IN_LINE} LIMIT ?) AS found"
_FIRST_FROM = f"SELECT min(rank) FROM orders WHERE rank >= ? AND {IS_IN_LINE}"
_SLOWED = "SELECT name, closed_until FROM limits WHERE closed_until > ?"


class Queues:
    """The queues of a database, by their names and numbers. Used by one thread.

    Args:
        database: connected in this thread.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._numbers: dict[str, int] = {}
        self.readings = 0
        """How often they were read: with each there may be others."""
        self.settings: dict[int, QueueSettings] = {}
        """What operators have set about each, by its number."""
        self.read()

    def read(self) -> None:
        """Read again what others may have set."""
        self.readings += 1
        rows = run(self._database, _ALL).fetchall()
        self._numbers = {name: number for number, name, *_ in rows}
        self.settings = {number: QueueSettings(name, bool(is_paused), *more) for number, name, is_paused, *more in rows}

    def may_be_new(self, name: str) -> bool:
        """Whether another engine may have added a queue since they were read."""
        return name not in self._numbers and len(self._numbers) < MAX_QUEUES

    def number_of(self, name: str, *, may_add: bool = True) -> int:
        """The number of a queue; that of the default one, where there are so many that this one is not told apart.

        Args:
            name: its own.
            may_add: whether it is there from now on, in a transaction that writes; otherwise a new one has the number
                that it would get.
        """
        number = self._numbers.get(name)
        if number is None:
            if not may_add:
                return len(self._numbers) if len(self._numbers) < MAX_QUEUES else 0
            # Another engine may add another one at the same moment, which takes the number.
            while name not in self._numbers and len(self._numbers) < MAX_QUEUES:
                run(self._database, _ADD, (name,))
                self.read()
            number = self._numbers.get(name, 0)
        return number

    def line_of(self, order: Order) -> int:
        """The number of the line that an order stands in."""
        return line_number(self.number_of(order.queue), order.priority)


def line_number(queue: int, priority: int) -> int:
    """The number of the line of a priority in a queue.

    Args:
        queue: its number.
        priority: that.
    """
    # The usual line is the first, and its places are short numbers.
    return queue * PRIORITIES + (priority - PRIORITY) % PRIORITIES


def queue_of(line: int) -> int:
    """The number of the queue that a line is of."""
    return line // PRIORITIES


def priority_of(line: int) -> int:
    """The priority that a line is for."""
    return (line + PRIORITY) % PRIORITIES


def bounds_of(line: int) -> tuple[int, int]:
    """The lowest place of a line, and the end of its places: those of other lines are before or behind."""
    return line * PLACES, (line + 1) * PLACES


def lines_in_use(database: Database) -> Iterator[int]:
    """The numbers of the lines that orders stand in."""
    end = 0
    while (place := run(database, _FIRST_FROM, (end,)).fetchone()[0]) is not None:
        yield (line := place // PLACES)
        _, end = bounds_of(line)


def write_queue(database: Database, settings: QueueSettings, act: Act, at_us: int) -> None:
    """Set what holds for a queue, and write down who did.

    Args:
        database: a connection that may write.
        settings: what holds from now on.
        act: what was done, for the audit log.
        at_us: when, microseconds since 1970-01-01T00:00:00Z.

    Raises:
        StoreUnavailable: the database did not take it; what was set before holds.
    """
    values = (
        int(settings.is_paused),
        settings.concurrency,
        settings.rate,
        settings.reason,
        settings.changed_us,
        settings.changed_by,
        settings.name,
    )
    with translated_errors(), write_transaction(database):
        Queues(database).number_of(settings.name)
        run(database, _SET, values)
        write_acts(database, (act,), at_us)


def queue_settings(database: Database, name: str) -> QueueSettings | None:
    """What operators have set about a queue; None where it cannot be told apart, since there are too many."""
    found = Queues(database)
    known = {settings.name: settings for settings in found.settings.values()}
    return known.get(name) or (QueueSettings(name) if len(known) < MAX_QUEUES else None)


def queue_states(database: Database, configured: Limits, now_us: int) -> list[QueueState]:
    """How all queues are doing: the default one first, the others by their names.

    Args:
        database: connected in this thread.
        configured: the limits that hold where nobody has set any.
        now_us: the queue's time, microseconds since 1970-01-01T00:00:00Z.
    """
    queues = Queues(database)
    processing = _processing(database)
    slowed = dict(run(database, _SLOWED, (now_us,)).fetchall())
    states = []
    for number, settings in queues.settings.items():
        limit = settings.limit(configured.get(QUEUE + settings.name, NO_LIMIT))
        states.append(
            QueueState(
                settings.name,
                settings.is_paused,
                limit.concurrency,
                limit.rate,
                _pending(database, number),
                processing[settings.name],
                slowed.get(QUEUE + settings.name),
                settings.reason,
                settings.changed_us,
                settings.changed_by,
            )
        )
    return sorted(states, key=lambda state: (state.queue != DEFAULT_QUEUE, state.queue))


def queue_counts(database: Database, limit: int) -> list[QueueCounts]:
    """How many orders of each queue there are: of the default one, and of those that were named first.

    Args:
        database: connected in this thread.
        limit: how many queues at the most.
    """
    processing = _processing(database)
    return [
        QueueCounts(settings.name, settings.is_paused, _pending(database, number), processing[settings.name])
        for number, settings in islice(Queues(database).settings.items(), limit)
    ]


def _processing(database: Database) -> Counter[str]:
    counts = run(database, _PROCESSING).fetchall()
    return Counter({DEFAULT_QUEUE if name is None else name: count for name, count in counts})


def _pending(database: Database, number: int) -> int:
    first, end = bounds_of(number * PRIORITIES)[0], bounds_of((number + 1) * PRIORITIES)[0]
    (pending,) = run(database, _IN_LINE, (first, end, MAX_COUNTED)).fetchone()
    return int(pending)
