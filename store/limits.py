"""Limits: which orders may not be begun although a processor is free, since their queue or a value of theirs is at its
limit.

What is Processing is counted in the database, so that nothing leaks when something dies: whenever orders are claimed,
or once, where nobody else claims any. An order that a claim meets while a value of it is at its limit is parked: it
keeps its place, and is out of its line until there may be room for it. So a limited order is in the way of no other,
and a claim meets each of them once.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from peewee import Database

from .domain.limit import NO_LIMIT, QUEUE, Limit, NameOf, value_of
from .domain.limit import Limits as Configured
from .domain.metadata import metadata_of
from .domain.order import DEFAULT_QUEUE, Order
from .domain.outlook import Wait, WaitReason
from .domain.record import OrderRecord
from .queues import Queues, bounds_of, queue_of
from .rows import FOR_KEY
from .statements import run, run_for_each
from .turns import PLACES

_MOST_OPENED = 10_000
_MOST_STATES = 256
_LET_GO_AT_ONCE = 1_000
_SWEPT_AT_ONCE = 500
_TIDIED_EVERY = 1_000

_LOCK = "SELECT id FROM queues WHERE id = 0{for_update}"
_IN_HAND = "SELECT sequence, queue, user_id, metadata FROM orders WHERE status = 'Processing'"
_STATES = "SELECT name, next_at, closed_until, opens_at FROM limits LIMIT ?"
_STATE = "SELECT next_at, closed_until, opens_at FROM limits WHERE name = ?"
_WRITE = """
    INSERT INTO limits (name, next_at, closed_until, opens_at) VALUES (?, ?, ?, ?)
    ON CONFLICT (name) DO UPDATE SET next_at = excluded.next_at, closed_until = excluded.closed_until,
      opens_at = excluded.opens_at
"""
_TIDY = "DELETE FROM limits WHERE next_at < ? AND opens_at IS NULL AND (closed_until IS NULL OR closed_until < ?)"
_OPENED = "SELECT name FROM limits WHERE opens_at IS NOT NULL AND opens_at <= ? ORDER BY opens_at LIMIT ?"
_OPENS = "SELECT min(opens_at) FROM limits WHERE opens_at IS NOT NULL"
_PARK = "UPDATE orders SET parked = ? WHERE sequence = ?"
_PARKED_FROM = "SELECT min(rank) FROM orders WHERE parked = ? AND rank >= ? AND ready_at IS NOT NULL"
_LET_GO = """
    UPDATE orders SET parked = NULL WHERE sequence IN (
      SELECT sequence FROM orders WHERE parked = ? AND rank >= ? AND rank < ? AND ready_at IS NOT NULL
      ORDER BY rank, sequence LIMIT ?)
"""
_NEXT_NAME = "SELECT min(parked) FROM orders WHERE parked > ? AND ready_at IS NOT NULL"


class _State:
    """What is known of a limit besides what is Processing; see the columns of its table."""

    __slots__ = ("closed_until", "is_changed", "next_at", "opens_at")

    def __init__(self, next_at: int = 0, closed_until: int | None = None, opens_at: int | None = None) -> None:
        self.next_at, self.closed_until, self.opens_at = next_at, closed_until, opens_at
        self.is_changed = False


class _Kind(NamedTuple):
    """The limits by one kind of values."""

    name_of: NameOf
    """Gives the name of the limit by an order's value; None where it has no value."""
    limit: Limit | None
    """Of each value that has none of its own; None where only those have any."""


class Limits:
    """Counts what is begun, in the ledger's transactions. Used by one thread.

    Args:
        database: connected in this thread.
        queues: which there are.
        configured: the limits that hold where nobody has set any.
        is_alone: whether nobody else begins orders, and this is told of all that end.
    """

    def __init__(self, database: Database, queues: Queues, configured: Configured, *, is_alone: bool = False) -> None:
        self._database = database
        self._queues = queues
        self._is_alone = is_alone
        self._configured = configured
        kinds = dict.fromkeys(name.partition(":")[0] for name in configured if not name.startswith(QUEUE))
        self._kinds = [_Kind(value_of(kind), configured.get(kind)) for kind in kinds]
        self._of_queues: dict[int, Limit] = {}
        self._closed_queues: set[int] = set()
        self._opened: set[str] = set()  # where orders that are parked may go on
        self._has_parked = run(database, _NEXT_NAME, (FOR_KEY,)).fetchone()[0] is not None
        # The names up to there are looked at; None where all are.
        self._swept_to: str | None = FOR_KEY if self._has_parked else None
        self._claims = 0
        self._now_us = 0
        self._states: dict[str, _State] = {}  # as the database has them, from the begin of a claim to its end
        self._knows_all_states = False  # so that one that is not among them has none
        self._in_hand: Counter[str] = Counter()
        self._begun: dict[int, Sequence[str]] = {}  # by sequence: the names that each of these orders counts for
        self._knows_in_hand = False  # so that they need not be counted again
        self._rooms: dict[str, float] = {}  # of the limits that this claim has met: how many more they let begin
        self._with_rate: dict[str, float] = {}  # likewise at first, of those of them that have a rate
        self._opens_us: int | None = None
        self._obeyed = -1  # how often the queues had been read by then
        self._obey()

    def _obey(self) -> None:
        # What operators have set, and the queues that there are.
        if self._obeyed == self._queues.readings:
            return
        self._obeyed = self._queues.readings
        self._knows_in_hand = False
        self._of_queues = {}
        for number, settings in self._queues.settings.items():
            limit = settings.limit(self._configured.get(QUEUE + settings.name, NO_LIMIT))
            if not limit.is_none:
                self._of_queues[number] = limit
        self._closed_queues = {number for number, settings in self._queues.settings.items() if settings.is_paused}

    @property
    def are_there(self) -> bool:
        """Whether there is anything that a claim has to mind."""
        self._obey()
        return bool(self._of_queues or self._closed_queues or self._kinds or self._has_parked)

    @property
    def opens_us(self) -> int | None:
        """When an order may be begun that a rate keeps waiting, on the queue's clock; None where none does."""
        return self._opens_us

    def names_of(self, order: Order) -> list[str]:
        """The limits by values that an order is under."""
        return self._names(order.user_id, order.metadata)

    def _names(self, user_id: str, metadata: Mapping[str, Any] | None) -> list[str]:
        names = []
        for name_of, limit in self._kinds:
            name = name_of(user_id, metadata)
            if name is not None and (limit is not None or name in self._configured):
                names.append(name)
        return names

    @property
    def have_parked(self) -> bool:
        """Whether orders may be out of their lines, parked."""
        return self._has_parked

    @property
    def have_values(self) -> bool:
        """Whether there are limits by values of orders."""
        return bool(self._kinds)

    @property
    def of_queues(self) -> Mapping[int, Limit]:
        """The limits of queues, by their numbers."""
        self._obey()
        return self._of_queues

    def look(self, now_us: int) -> None:
        """Find out how much more may be begun under each limit at a time of the queue's clock. Reads only."""
        if self.are_there:
            self._look(now_us)

    def obstacles(self, order: Order, ahead: int) -> Iterator[Wait]:
        """What kept an order from being begun at the last look although a processor be free. Reads only.

        Args:
            order: it.
            ahead: how many orders of its line go first, which take what room there is in its queue.
        """
        if not self.are_there:
            return
        now_us = self._now_us
        queue = self._queues.number_of(order.queue, may_add=False)
        limits = {name: self.of_value(name) for name in self.names_of(order)}
        if (limit := self._of_queues.get(queue)) is not None:
            limits[self.name_of_queue(queue)] = limit
        if queue in self._closed_queues:
            settings = self._queues.settings[queue]
            why = "" if settings.reason is None else f": {settings.reason}"
            yield Wait(WaitReason.PAUSE, f"the queue {settings.name} is paused{why}")
        for name, limit in limits.items():
            if self._room(name, limit) > (ahead if name.startswith(QUEUE) else 0):
                continue
            opens_us = self._opening_us(name, limit)
            until_us = opens_us if opens_us > now_us else None
            if (self._state(name).closed_until or 0) > now_us:
                yield Wait(WaitReason.LIMIT, f"{name} was told to come back later", until_us=until_us)
            elif limit.rate is None or (limit.concurrency or math.inf) <= self._in_hand[name]:
                words = f"{limit.concurrency} orders of {name} may be processed at once"
                yield Wait(WaitReason.LIMIT, words, self._in_hand[name], until_us)
            else:
                yield Wait(
                    WaitReason.LIMIT, f"{limit.rate:g} orders of {name} may be begun a second", until_us=until_us
                )

    def note_moved(self, orders: Iterable[Order]) -> None:
        """These orders were Processing or could be begun, and have moved: others may have room."""
        if not self._has_parked or not self._kinds:
            return
        for order in orders:
            self._opened.update(self.names_of(order))
        if len(self._opened) > _MOST_OPENED:
            self._opened.clear()
            self._swept_to = FOR_KEY

    def note_ended(self, sequences: Iterable[int]) -> None:
        """Orders are not Processing, whether they were or not.

        Args:
            sequences: theirs.
        """
        in_hand = self._in_hand
        for sequence in sequences:
            for name in self._begun.pop(sequence, ()):
                if in_hand[name] == 1:
                    del in_hand[name]
                else:
                    in_hand[name] -= 1

    def close(self, order: Order, until_us: int) -> None:
        """Begin no order under the limits of this one before a time; in a transaction that writes."""
        run(self._database, _LOCK).fetchall()  # what another engine's claim has changed stays
        self._states, self._knows_all_states = {}, False
        self._obey()
        names = self.names_of(order)
        if (queue := self._queues.number_of(order.queue)) in self._of_queues:
            names.append(self.name_of_queue(queue))
        for name in names:
            state = self._state(name)
            if state.closed_until is None or state.closed_until < until_us:
                state.closed_until, state.is_changed = until_us, True
        self._write()

    def look_around(self) -> None:
        """Find out whether other engines have parked orders, or may have made room for some."""
        self._has_parked = run(self._database, _NEXT_NAME, (FOR_KEY,)).fetchone()[0] is not None
        if not self._has_parked:  # another engine has let go of all that this one has parked
            self._opened.clear()
            self._swept_to = None
            return
        if self._swept_to is None:
            self._swept_to = FOR_KEY
        self._opens_us = 0  # nothing is in line, perhaps: only a claim finds out whether there is room

    def begin(self, now_us: int) -> None:
        """Count what is Processing, for a claim at this time on the queue's clock."""
        run(self._database, _LOCK).fetchall()  # of several engines, one at a time
        self._look(now_us)

    def _look(self, now_us: int) -> None:
        self._now_us, self._opens_us = now_us, None
        rows = run(self._database, _STATES, (_MOST_STATES + 1,)).fetchall()
        self._knows_all_states = len(rows) <= _MOST_STATES
        self._states = {name: _State(*state) for name, *state in rows} if self._knows_all_states else {}
        self._rooms, self._with_rate = {}, {}
        if not self._knows_in_hand:
            self._count()
            self._knows_in_hand = self._is_alone

    def _count(self) -> None:
        self._in_hand, self._begun = Counter(), {}
        rows = run(self._database, _IN_HAND).fetchall()
        queues = [DEFAULT_QUEUE if queue is None else queue for _, queue, _, _ in rows]
        if any(map(self._queues.may_be_new, queues)):
            self._queues.read()
            self._obey()
        for queue, (sequence, _, user_id, metadata) in zip(queues, rows, strict=True):
            names = [self.name_of_queue(self._queues.number_of(queue, may_add=False))]
            if self._kinds:
                names += self._names(user_id, metadata_of(metadata))
            self._in_hand.update(names)
            self._begun[sequence] = names

    def let_go(self) -> set[int]:
        """Put parked orders back into their lines where there may be room for them.

        Returns:
            The numbers of these lines.
        """
        if not self._has_parked:
            return set()
        lines: set[int] = set()
        opened, self._opened = self._opened, set()
        opened.update(name for (name,) in run(self._database, _OPENED, (self._now_us, _LET_GO_AT_ONCE)).fetchall())
        opened.update(self._sweep())
        for name in opened:
            lines.update(self._let_go(name))
        if any(queue_of(line) not in self._queues.settings for line in lines):  # which another engine has parked there
            self._queues.read()
            self._obey()
        return lines

    def has_limit(self, queue: int) -> bool:
        """Whether it has to be asked for each order of a queue how many more of them may be begun.

        Args:
            queue: its number.
        """
        return queue in self._of_queues or queue in self._closed_queues

    def queue_room(self, queue: int) -> float:
        """How many more orders of a queue may be begun now.

        Args:
            queue: its number.
        """
        if queue in self._closed_queues:
            return 0
        limit = self._of_queues.get(queue)
        if limit is None:
            return math.inf
        name = self.name_of_queue(queue)
        room = self._rooms.get(name)
        if room is None:
            room = self._enter(name, limit)
        return room

    def begin_if_open(self, queue: int, record: OrderRecord) -> str | None:
        """Count an order as begun, if all limits by values let it; its queue has room.

        Args:
            queue: the number of its queue.
            record: it.

        Returns:
            The name of the first of these limits that lets no further order begin now; None where it is begun.
        """
        rooms, user_id, metadata = self._rooms, record.order.user_id, record.order.metadata
        begun: list[str] = []
        for name_of, limit in self._kinds:
            name = name_of(user_id, metadata)
            if name is None:
                continue
            room = rooms.get(name)
            if room is None:
                room = self._enter(name, self._configured.get(name, limit))
            if room < 1:
                for other in begun:
                    rooms[other] += 1
                return name
            rooms[name] = room - 1
            begun.append(name)
        if queue in self._of_queues:
            name = self.name_of_queue(queue)
            rooms[name] -= 1
            begun.append(name)
        in_hand = self._in_hand
        for name in begun:
            in_hand[name] += 1
        self._begun[record.sequence] = begun
        return None

    def take_back(self, sequence: int) -> None:
        """An order that was counted as begun is not begun.

        Args:
            sequence: its.
        """
        for name in self._begun.get(sequence, ()):
            self._rooms[name] += 1
        self.note_ended([sequence])

    def park(self, orders: Sequence[tuple[str, int, Order]]) -> None:
        """Take orders out of their lines.

        Args:
            orders: of each the limit that it waits for, its sequence, and it.
        """
        if not orders:
            return
        self._note_begun()
        self._has_parked = True
        run_for_each(self._database, _PARK, [(closed, sequence) for closed, sequence, _ in orders])
        for closed, _, order in orders:
            self._open_in_time(closed, 0)
            # Others of its values may have been parked before it could be begun.
            self._opened.update(name for name in self.names_of(order) if name != closed)

    def pass_over(self, orders: Iterable[Order]) -> None:
        """These orders are not begun, and leave what room there is to others, who may have been parked meanwhile."""
        if self._has_parked:
            for order in orders:
                self._opened.update(self.names_of(order))

    def end(self, waiting: Iterable[int], *, is_cut_short: bool) -> None:
        """The claim is over.

        Args:
            waiting: the numbers of queues that have orders in line still.
            is_cut_short: whether it has not looked at all that it may take.
        """
        self._note_begun()
        times = [self._now_us] if is_cut_short or self._opened or self._swept_to is not None else []
        for queue in waiting:
            limit = self._of_queues.get(queue)
            if limit is not None and queue not in self._closed_queues:
                opens_us = self._opening_us(self.name_of_queue(queue), limit)
                if opens_us > self._now_us:
                    times.append(opens_us)
        self._write()
        self._claims += 1
        if self._claims % _TIDIED_EVERY == 0:
            run(self._database, _TIDY, (self._now_us, self._now_us))
        if self._has_parked and (opens_us := run(self._database, _OPENS).fetchone()[0]) is not None:
            times.append(opens_us)
        self._opens_us = min(times, default=None)

    def name_of_queue(self, queue: int) -> str:
        """The name of a queue's limit, by the number of the queue."""
        return QUEUE + self._queues.settings[queue].name

    def of_value(self, name: str) -> Limit:
        """The limit by a value, as `names_of` names it: that of the very value, or that of all values of its kind."""
        return self._configured.get(name) or self._configured.get(name.partition(":")[0], NO_LIMIT)

    def _of_name(self, name: str) -> Limit:
        if name.startswith(QUEUE):
            return self._of_queues[self._queues.number_of(name.removeprefix(QUEUE))]
        return self.of_value(name)

    def _state(self, name: str) -> _State:
        state = self._states.get(name)
        if state is None:
            row = None if self._knows_all_states else run(self._database, _STATE, (name,)).fetchone()
            state = self._states[name] = _State(*(row or ()))
        return state

    def _room(self, name: str, limit: Limit) -> float:
        in_hand = self._in_hand.get(name, 0)
        if limit.rate is None and self._knows_all_states and name not in self._states:  # as nearly all
            return math.inf if limit.concurrency is None else limit.concurrency - in_hand
        if limit.is_none:
            return math.inf
        state = self._state(name)
        return limit.room(in_hand, state.next_at, state.closed_until, self._now_us)

    def _enter(self, name: str, limit: Limit | None) -> float:
        # From now on, what is begun under this limit is counted.
        room = self._rooms[name] = math.inf if limit is None else self._room(name, limit)
        if limit is not None and limit.rate is not None:
            self._with_rate[name] = room
        return room

    def _note_begun(self) -> None:
        for name, room in self._with_rate.items():
            if count := int(room - self._rooms[name]):
                state = self._state(name)
                state.next_at, state.is_changed = self._of_name(name).after(count, state.next_at, self._now_us), True
                self._with_rate[name] = self._rooms[name]

    def _opening_us(self, name: str, limit: Limit, begun: int = 0) -> int:
        # From when on the time is in nobody's way, if so many are begun now.
        state = self._state(name)
        opens_us = limit.opens_us(limit.after(begun, state.next_at, self._now_us)) if limit.rate is not None else 0
        return max(opens_us, state.closed_until or 0)

    def _open_in_time(self, name: str, begun: int) -> None:
        opens_us = self._opening_us(name, self.of_value(name), begun)
        state = self._state(name)
        state.opens_at, state.is_changed = (opens_us if opens_us > self._now_us else None), True

    def _let_go(self, name: str) -> Iterator[int]:
        limit = self.of_value(name)
        room = int(min(_LET_GO_AT_ONCE, max(0, self._room(name, limit))))
        first = run(self._database, _PARKED_FROM, (name, 0)).fetchone()[0]
        if first is not None and room:
            place = first
            while place is not None:
                line = place // PLACES
                begin, end = bounds_of(line)
                run(self._database, _LET_GO, (name, begin, end, room))
                yield line
                place = run(self._database, _PARKED_FROM, (name, end)).fetchone()[0]
            first = run(self._database, _PARKED_FROM, (name, 0)).fetchone()[0]
        if first is None:
            state = self._state(name)
            if state.opens_at is not None:
                state.opens_at, state.is_changed = None, True
        else:
            self._open_in_time(name, room)
            if limit.is_none:
                self._opened.add(name)

    def _sweep(self) -> list[str]:
        # After a start, all that is parked is looked at: its limits may be others by now.
        names: list[str] = []
        while self._swept_to is not None and len(names) < _SWEPT_AT_ONCE:
            self._swept_to = run(self._database, _NEXT_NAME, (self._swept_to,)).fetchone()[0]
            if self._swept_to is not None:
                names.append(self._swept_to)
        return names

    def _write(self) -> None:
        changed = [(name, state) for name, state in self._states.items() if state.is_changed]
        rows = [(name, state.next_at, state.closed_until, state.opens_at) for name, state in changed]
        if rows:
            run_for_each(self._database, _WRITE, rows)
        for _, state in changed:
            state.is_changed = False


def obstacles(database: Database, order: Order, configured: Configured, now_us: int, ahead: int) -> Iterator[Wait]:
    """What keeps an order from being begun now although a processor be free.

    Args:
        database: connected in this thread.
        order: it.
        configured: the limits that hold where operators have set none.
        now_us: the queue's time, microseconds since 1970-01-01T00:00:00Z.
        ahead: how many orders of its line go first, which take what room there is in its queue.
    """
    limits = Limits(database, Queues(database), configured)
    limits.look(now_us)
    return limits.obstacles(order, ahead)
