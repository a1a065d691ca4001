"""The queue: the Pending orders, which the database holds, and which of them are next.

The orders of each priority stand in a line of their own. An order that may be processed has a place in its line, its
`rank`, and of a line they are taken in that sequence. The places of each line are a range of numbers of their own, so
that one index holds all lines, and is as small as if there were one. An order that waits for its time has no place: it
gets one when `ready_at` has come, as if it arrived at that moment. One that was taken and comes back without a failure
has its own still.

Between the lines, the next is the one whose first order has waited longest, where each priority counts as so much
time: so what is urgent goes first, and nothing starves. Where all have the same priority there is one line, and a claim
is one statement, which reads as many entries of an index as it takes orders. Otherwise each line is read so far.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from functools import partial
from heapq import merge
from itertools import islice
from operator import itemgetter

from msgspec.structs import replace
from peewee import Database

from . import queries
from .domain import lifecycle
from .domain.claim import Claim
from .domain.lifecycle import OrderStatus
from .domain.order import HIGHEST_PRIORITY, LOWEST_PRIORITY, PRIORITY
from .domain.record import Move, OrderRecord, keeps_place
from .queries import AMONG, IS_IN_LINE, as_json
from .statements import run, run_for_each
from .turns import PLACES, Turns

_LET_IN_AT_ONCE = 1_000
_PENDING = OrderStatus.PENDING

_CLAIM = """
    UPDATE orders SET status = 'Processing', attempts = attempts + 1, updated_at = {{greatest}}(updated_at, ?),
      ready_at = NULL
    WHERE sequence IN {}
    RETURNING rank, sequence, attempts, failures, updated_at
"""
_LINE = f"FROM orders WHERE rank >= ? AND rank < ? AND {IS_IN_LINE}"
_NEXT = f"SELECT sequence {_LINE} ORDER BY rank, sequence LIMIT ?"
_NEXT_BUT = f"SELECT sequence {_LINE} AND sequence NOT IN {AMONG} ORDER BY rank, sequence LIMIT ?"
# Since when it waits; not since a client says that it may be begun, who would say long ago.
_FRONT = f"""
    SELECT {{greatest}}(created_at, coalesce(not_before, 0)) - ?, sequence {_LINE} AND sequence NOT IN {AMONG}
    ORDER BY rank, sequence LIMIT ?
"""
_IF_READY = """
    SELECT sequence FROM orders
    WHERE sequence = ? AND ready_at IS NOT NULL AND held IS NULL AND (rank IS NOT NULL OR ready_at <= ?)
"""
_CLAIM_NEXT, _CLAIM_NEXT_BUT, _CLAIM_ONE = (
    _CLAIM.format(f"({which}{{skip_locked}})") for which in (_NEXT, _NEXT_BUT, _IF_READY)
)
_CLAIM_THESE = _CLAIM.format(AMONG)
_DUE = """
    SELECT sequence, user_id, priority FROM orders WHERE rank IS NULL AND held IS NULL AND ready_at <= ?
    ORDER BY ready_at, sequence LIMIT ?
"""
_LET_IN = "UPDATE orders SET rank = ? WHERE sequence = ?"
_ENDS = f"""
    SELECT (SELECT rank {_LINE} AND attempts = 0 ORDER BY rank LIMIT 1), (SELECT min(rank) {_LINE}),
      (SELECT max(rank) {_LINE})
"""
LAST_OF_USER = """
    SELECT rank FROM orders WHERE user_id = ? AND status = 'Pending' AND rank >= ? AND rank < ?
    ORDER BY sequence DESC LIMIT 1
"""
_PRIORITIES = range(LOWEST_PRIORITY, HIGHEST_PRIORITY + 1)


class OrderQueue:
    """Takes orders into the queue and out of it, in the ledger's transactions. Used by one thread.

    What it remembers spares reading, and is as the database has it after each commit. After a rollback it is not: make
    another one.

    Args:
        database: connected in this thread.
        kept: how many Pending orders are remembered at the most, so that they need not be read.
    """

    def __init__(self, database: Database, kept: int) -> None:
        self._database = database
        self._kept = kept
        self._pending: dict[int, OrderRecord] = {}  # by sequence: those that became Pending last
        self._in_use: set[int] = set()  # the priorities of which orders may be in line
        self._lines = {priority: self._line(priority) for priority in _PRIORITIES}
        self.next_ready_us: int | None = queries.next_ready_us(self._database)
        """When the next of those is ready that wait for their time, on the queue's clock; None where none waits."""

    def give_places(self, user_ids: Sequence[str], priorities: Sequence[int] | None = None) -> list[int]:
        """The places of new orders, each given by its user, in the sequence of their arrival.

        Args:
            user_ids: theirs.
            priorities: theirs; the usual one by default.
        """
        lines = self._lines
        if priorities is None:
            if user_ids:
                self._in_use.add(PRIORITY)
            give = lines[PRIORITY].give
            return [give(user_id) for user_id in user_ids]
        self._in_use.update(priorities)
        return [lines[priority].give(user_id) for user_id, priority in zip(user_ids, priorities, strict=True)]

    def take_back_places(self, places: Sequence[tuple[str, int, int]]) -> None:
        """Some of the latest places were not taken, each with its user and priority; in the sequence in which
        they were given."""
        for priority in {priority for _, priority, _ in places}:
            self._lines[priority].give_back([(user_id, place) for user_id, of, place in places if of == priority])

    def note(self, records: Sequence[OrderRecord]) -> None:
        """These orders are Pending now."""
        pending = self._pending
        for record in records:
            pending[record.sequence] = record
        if len(pending) > self._kept:
            for sequence in list(islice(pending, len(pending) - self._kept)):
                del pending[sequence]

    def note_moves(self, moves: Iterable[Move]) -> None:
        """Steps of orders were recorded."""
        returned = [step for step in moves if step.edge.target is _PENDING]
        if not returned:
            return
        self.note([step.after for step in returned])
        self._in_use.update([step.after.order.priority for step in returned if keeps_place(step)])
        self.note_waiting([step.after.ready_us or 0 for step in returned if not keeps_place(step)])

    def note_waiting(self, ready_us: Sequence[int]) -> None:
        """Orders wait for these times, on the queue's clock."""
        if ready_us:
            self.next_ready_us = min(ready_us) if self.next_ready_us is None else min(self.next_ready_us, *ready_us)

    def let_in(self, now_us: int, room: int) -> None:
        """Give places to orders whose time has come; as many as there is room for, if there are so many.

        Args:
            now_us: the queue's time.
            room: how many orders are to be taken next.
        """
        if self.next_ready_us is None or self.next_ready_us > now_us:
            return
        limit = max(room, _LET_IN_AT_ONCE)
        due = run(self._database, _DUE, (now_us, limit)).fetchall()
        places = self.give_places([user_id for _, user_id, _ in due], [priority for _, _, priority in due])
        run_for_each(self._database, _LET_IN, [(place, row[0]) for place, row in zip(places, due, strict=True)])
        if len(due) < limit:
            self.next_ready_us = queries.next_ready_us(self._database)

    def claim(self, claim: Claim, at_us: int) -> list[Move]:
        """Take those that are next: they are Processing now, with one attempt more.

        Args:
            claim: how many.
            at_us: the stamp of their step, microseconds since 1970-01-01T00:00:00Z.

        Returns:
            Their steps, in the sequence of their places.
        """
        taken = self._take(claim, at_us)
        known = [self._pending.pop(sequence, None) for _, sequence, *_ in taken]
        unknown = [
            row[1]
            for row, before in zip(taken, known, strict=True)
            if before is None or (before.attempts + 1, before.failures) != row[2:4]
        ]
        read = self._read(unknown) if unknown else {}
        steps = []
        for (_, sequence, attempts, failures, updated_us), before in zip(taken, known, strict=True):
            after = read.get(sequence)
            if after is None:
                assert before is not None
                after = OrderRecord(
                    before.order,
                    sequence,
                    OrderStatus.PROCESSING,
                    attempts,
                    failures,
                    before.created_us,
                    updated_us,
                    None,
                    before.last_error,
                )
            else:
                ready_us = after.created_us if attempts == 1 else None  # since when it was ready, nobody knows any more
                before = replace(after, status=OrderStatus.PENDING, attempts=attempts - 1, ready_us=ready_us)
            steps.append(Move(lifecycle.ASSIGN, before, after, lifecycle.ASSIGN.why))
        if steps and claim.only is None:
            self._come_to(taken, steps)
        return steps

    def _come_to(self, taken: Sequence[tuple[int, ...]], steps: Sequence[Move]) -> None:
        if len(self._in_use) == 1:
            ends = {steps[-1].after.order.priority: taken[-1][0]}
        else:
            ends = {step.after.order.priority: row[0] for step, row in zip(steps, taken, strict=True)}
        for priority, place in ends.items():
            self._lines[priority].come_to(place)

    def _take(self, claim: Claim, at_us: int) -> list[tuple[int, ...]]:
        # Those of one line in the sequence of their places.
        if claim.only is not None:
            return self._run(_CLAIM_ONE, at_us, claim.only, claim.now_us)
        if len(self._in_use) > 1:
            return self._take_from_lines(claim, at_us)
        taken: list[tuple[int, ...]] = []
        for priority in self._in_use:
            if claim.but_not:
                taken = self._run(_CLAIM_NEXT_BUT, at_us, *bounds_of(priority), as_json(claim.but_not), claim.room)
            else:
                taken = self._run(_CLAIM_NEXT, at_us, *bounds_of(priority), claim.room)
        taken.sort(key=itemgetter(0, 1))
        return taken

    def _take_from_lines(self, claim: Claim, at_us: int) -> list[tuple[int, ...]]:
        fronts = {priority: _front(self._database, claim, priority) for priority in self._in_use}
        if not claim.but_not:
            self._in_use = {priority for priority, line in fronts.items() if line}
        following = {sequence: index for index, sequence in enumerate(_merged(fronts.values(), claim.room))}
        taken = self._run(_CLAIM_THESE, at_us, as_json(following)) if following else []
        taken.sort(key=lambda row: following[row[1]])
        return taken

    def _run(self, statement: str, *parameters: object) -> list[tuple[int, ...]]:
        rows: list[tuple[int, ...]] = run(self._database, statement, parameters).fetchall()
        return rows

    def _read(self, sequences: Collection[int]) -> dict[int, OrderRecord]:
        return {record.sequence: record for record in queries.numbered(self._database, sequences)}

    def _line(self, priority: int) -> Turns:
        # It has come to the first that was never taken: those before it were, and came back.
        bounds = bounds_of(priority)
        untaken, first, last = run(self._database, _ENDS, 3 * bounds).fetchone()
        begin = first if untaken is None else untaken
        if begin is None or last is None:
            begin, last = bounds[0], bounds[0] - 1
        else:
            self._in_use.add(priority)
        return Turns(begin, last, partial(self._last_of, priority))

    def _last_of(self, priority: int, user_id: str) -> int | None:
        row = run(self._database, LAST_OF_USER, (user_id, *bounds_of(priority))).fetchone()
        return None if row is None else int(row[0])


def bounds_of(priority: int) -> tuple[int, int]:
    """The lowest place of a line, and the end of its places: those of other lines are before or behind."""
    number = (priority - PRIORITY) % len(_PRIORITIES)  # the usual line is the first, and its places are short numbers
    return number * PLACES, (number + 1) * PLACES


def next_in_line(database: Database, claim: Claim) -> int | None:
    """The sequence of the order that a claim takes first; None where it takes none."""
    if claim.only is not None:
        return claim.only
    fronts = [_front(database, claim._replace(room=1), priority) for priority in _PRIORITIES]
    return next(iter(_merged(fronts, 1)), None)


def _front(database: Database, claim: Claim, priority: int) -> list[tuple[int, int]]:
    parameters = (claim.aging_us * priority, *bounds_of(priority), as_json(claim.but_not), claim.room)
    front: list[tuple[int, int]] = run(database, _FRONT, parameters).fetchall()
    return front


def _merged(fronts: Iterable[Sequence[tuple[int, int]]], room: int) -> list[int]:
    # By the first of each line at a time: `merge` looks at no other, so that no line has to be sorted by its time.
    return [sequence for _, sequence in islice(merge(*fronts, key=itemgetter(0)), room)]
