"""The queue: the Pending orders, which the database holds, and which of them are next.

An order that may be processed has a place in it, its `rank`; who is taken is taken in that sequence. One that waits for
its time has none: it gets one when `ready_at` has come, as if it arrived at that moment. One that was taken and comes
back without a failure has its own still.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from itertools import islice
from operator import itemgetter

from msgspec.structs import replace
from peewee import Database

from . import queries
from .domain import lifecycle
from .domain.claim import Claim
from .domain.lifecycle import OrderStatus
from .domain.record import Move, OrderRecord, keeps_place
from .queries import AMONG, IS_IN_LINE, as_json
from .statements import run, run_for_each
from .turns import Turns

_LET_IN_AT_ONCE = 1_000
_PENDING = OrderStatus.PENDING

_NEXT = f"SELECT sequence FROM orders WHERE {IS_IN_LINE} ORDER BY rank, sequence LIMIT ?"
_NEXT_BUT = (
    f"SELECT sequence FROM orders WHERE {IS_IN_LINE} AND sequence NOT IN {AMONG} ORDER BY rank, sequence LIMIT ?"
)
_IF_READY = (
    "SELECT sequence FROM orders WHERE sequence = ? AND ready_at IS NOT NULL AND (rank IS NOT NULL OR ready_at <= ?)"
)
_CLAIM_NEXT, _CLAIM_NEXT_BUT, _CLAIM_ONE = (
    f"""
    UPDATE orders SET status = 'Processing', attempts = attempts + 1, updated_at = {{greatest}}(updated_at, ?),
      ready_at = NULL
    WHERE sequence IN ({which}{{skip_locked}})
    RETURNING rank, sequence, attempts, failures, updated_at
    """
    for which in (_NEXT, _NEXT_BUT, _IF_READY)
)
_DUE = "SELECT sequence, user_id FROM orders WHERE rank IS NULL AND ready_at <= ? ORDER BY ready_at, sequence LIMIT ?"
_LET_IN = "UPDATE orders SET rank = ? WHERE sequence = ?"
_ENDS = f"""
    SELECT (SELECT rank FROM orders WHERE {IS_IN_LINE} AND attempts = 0 ORDER BY rank LIMIT 1),
      (SELECT min(rank) FROM orders WHERE {IS_IN_LINE}), (SELECT max(rank) FROM orders WHERE {IS_IN_LINE})
"""
_LAST_OF_USER = """
    SELECT rank FROM orders WHERE user_id = ? AND status = 'Pending' AND rank IS NOT NULL ORDER BY sequence DESC LIMIT 1
"""


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
        # The queue has come to the first that was never taken: those before it were, and came back.
        untaken, first, last = run(database, _ENDS).fetchone()
        begin = first if untaken is None else untaken
        self._turns = Turns(0 if begin is None else begin, -1 if last is None else last, self._last_of)
        self.next_ready_us: int | None = queries.next_ready_us(self._database)
        """When the next of those is ready that wait for their time, on the queue's clock; None where none waits."""

    def give_places(self, user_ids: Iterable[str]) -> list[int]:
        """The places of new orders, each given by its user, in the sequence of their arrival."""
        give = self._turns.give
        return [give(user_id) for user_id in user_ids]

    def take_back_places(self, places: Sequence[tuple[str, int]]) -> None:
        """Some of the latest places were not taken, each with its user; in the sequence in which they were given."""
        self._turns.give_back(places)

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
        waiting = [step.after.ready_us or 0 for step in returned if not keeps_place(step)]
        if waiting:
            self.next_ready_us = min(waiting) if self.next_ready_us is None else min(self.next_ready_us, *waiting)

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
        places = self.give_places(user_id for _, user_id in due)
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
        taken.sort(key=itemgetter(0, 1))
        if taken and claim.only is None:
            self._turns.come_to(taken[-1][0])
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
        return steps

    def _take(self, claim: Claim, at_us: int) -> list[tuple[int, ...]]:
        if claim.only is not None:
            cursor = run(self._database, _CLAIM_ONE, (at_us, claim.only, claim.now_us))
        elif claim.but_not:
            cursor = run(self._database, _CLAIM_NEXT_BUT, (at_us, as_json(claim.but_not), claim.room))
        else:
            cursor = run(self._database, _CLAIM_NEXT, (at_us, claim.room))
        rows: list[tuple[int, ...]] = cursor.fetchall()
        return rows

    def _read(self, sequences: Collection[int]) -> dict[int, OrderRecord]:
        return {record.sequence: record for record in queries.numbered(self._database, sequences)}

    def _last_of(self, user_id: str) -> int | None:
        row = run(self._database, _LAST_OF_USER, (user_id,)).fetchone()
        return None if row is None else int(row[0])
