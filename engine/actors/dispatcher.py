"""Dispatcher: which orders are claimed for the pool, in the recorder's transactions.

The pool says how many it has room for, all in all since the start, and so does what it is given: what is under way
between the two is counted by that. (Credit, as it controls the flow in networks: H. T. Kung, R. Morris, "Credit-based
flow control for ATM networks", IEEE Network 9, 1995.)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain

from ...store import queries
from ...store.domain import lifecycle
from ...store.domain.claim import Claim
from ...store.domain.lifecycle import OrderStatus
from ...store.domain.outcome import Recorded
from ...store.domain.record import Move, OrderRecord, keeps_place
from ...store.statements import Database
from ..clock import Timer
from .context import EngineContext
from .messages import ClaimOrders, OrdersClaimed, OrdersDue

_ALONE_US = 10_000_000
"""How long the others wait for an order that has to run alone: a hanging one must not hold them up for ever."""
_LEFT_OUT_US = (500_000, 60_000_000)
"""How long an order is left out that cannot be recorded as Processing, at first and at last; that doubles each time."""
_MOST_LEFT_OUT = 100
_PAUSE_US = 500_000
_LONGEST_SLEEP_US = 86_400_000_000
"""An order may wait for a time that is further away than a timer can be set: it is looked at again in between."""
_PENDING, _PROCESSING = OrderStatus.PENDING, OrderStatus.PROCESSING


class Dispatcher:
    """The rule by which Pending orders become Processing. Used by the recorder.

    Args:
        context: the engine's settings, clocks and suspects.
        tell_after: tells the recorder a message after some seconds.
    """

    def __init__(self, context: EngineContext, tell_after: Callable[[float, object], Timer]) -> None:
        self._context = context
        self._tell_after = tell_after
        self._aging_us = round(context.config.aging_seconds * 1e6)
        self._wanted = 0  # by the pool, since the start
        self._given = 0  # to the pool, since the start
        self._recalls = 0  # as the pool has counted them
        self._is_closed = False
        self._in_hand: dict[int, int] = {}  # by sequence: the attempts that were given, and are not over
        self._may_be_more = True  # orders that are ready, than were claimed
        self._held: set[int] = set()
        self._left_out: dict[int, tuple[int, int]] = {}  # by sequence: for how long, and until when
        self._alone: int | None = None  # the order in hand that has to run alone
        self._others_wait_until_us = 0  # for it, or for the end of those before it; 0 where they do not wait
        self._paused_until_us = 0
        self._planned_us = 0
        self._wakes_us = 0
        self._timer: Timer | None = None

    @property
    def may_be_more(self) -> bool:
        """Whether a claim is worth a transaction of its own."""
        return self._may_be_more

    def want(self, message: ClaimOrders) -> None:
        """The pool has said what it has room for."""
        self._wanted, self._recalls = message

    def close(self) -> None:
        """Give nothing any more."""
        self._is_closed = True

    def note_none(self) -> None:
        """Nothing is in line."""
        self._may_be_more = False

    def wake_up(self) -> None:
        """Some time is over that orders had to wait for."""
        self._may_be_more = True

    def hold(self, sequence: int) -> None:
        """Do not give this order to anybody."""
        self._held.add(sequence)

    def let_go(self, sequence: int) -> None:
        """That order may be given again."""
        self._held.discard(sequence)
        self._may_be_more = True

    def pause(self) -> None:
        """Give nothing for a moment: what cannot be recorded is tried again then."""
        self._paused_until_us = self._now_us() + _PAUSE_US

    def leave_out(self, sequence: int) -> None:
        """Do not give an order for a while, longer each time, since it cannot be recorded as Processing."""
        now_us = self._now_us()
        if len(self._left_out) >= 2 * _MOST_LEFT_OUT:
            self._left_out = {one: left for one, left in self._left_out.items() if left[1] > now_us}
        first, longest = _LEFT_OUT_US
        wait_us = min(2 * self._left_out.get(sequence, (first // 2, 0))[0], longest)
        self._left_out[sequence] = (wait_us, now_us + wait_us)
        self._may_be_more = True

    def plan(self, database: Database) -> Claim | None:
        """What is to be claimed in the next transaction; None for nothing.

        Raises:
            StoreUnavailable, peewee.DatabaseError: the database did not answer.
        """
        room = self._wanted - self._given
        if room <= 0 or self._is_closed or not self._context.may_start:
            return None
        self._planned_us = now_us = self._now_us()
        left_out = {one for one, (_, until_us) in self._left_out.items() if until_us > now_us}
        if len(left_out) >= _MOST_LEFT_OUT or self._paused_until_us > now_us:
            return None
        passed_over = self._held | left_out
        suspects = frozenset(self._context.suspects)
        claim = Claim(room, now_us, passed_over | suspects, aging_us=self._aging_us)
        first = queries.first_ready(database, suspects - passed_over, now_us) if suspects and not self._alone else None
        if first is None and self._alone is None:
            self._others_wait_until_us = 0
            return claim
        # One that has to run alone is in hand, or comes next, when nothing else is in hand any more.
        if not self._others_wait_until_us:
            self._have_others_wait()
        is_overdue = now_us >= self._others_wait_until_us
        if first is not None and (is_overdue or not self._in_hand):
            return Claim(1, now_us, only=first)
        self._may_be_more = True
        return claim if is_overdue else None

    def note(self, claim: Claim | None, recorded: Recorded) -> OrdersClaimed | None:
        """A transaction was committed.

        Args:
            claim: what was planned for it.
            recorded: what was stored.

        Returns:
            What to tell the pool.
        """
        in_hand, has_suspects = len(self._in_hand), bool(self._context.suspects)
        for step in chain(recorded.refused, recorded.moved):  # who is refused has moved on before
            if step.edge.source is _PROCESSING:
                self._take_back(step)
        assign = lifecycle.ASSIGN
        claimed = [step.after for step in recorded.moved if step.edge is assign] if recorded.taken[assign] else []
        if claim is not None:
            self._may_be_more = len(claimed) == claim.room
            if claim.only is not None and not claimed:  # it is at a limit, or its queue is paused
                self.leave_out(claim.only)
        if (claim is None or has_suspects) and any(edge.target is _PENDING for edge in recorded.taken):
            self._may_be_more = True  # who has to run alone is passed over in the transaction that it is Pending with
        if has_suspects and len(self._in_hand) < in_hand:
            self._may_be_more = True
        return self._give(claimed)

    def find_lost(self, database: Database) -> OrdersClaimed | None:
        """Orders that are Processing, and that nobody was given: the transaction that claimed them said it had failed.

        Likewise, one that said so may have stored others that are in line now.

        Returns:
            What to tell the pool.

        Raises:
            StoreUnavailable, peewee.DatabaseError: the database did not answer.
        """
        self._may_be_more = True
        found = queries.attempts_in_hand(database)
        lost = [attempt.sequence for attempt in found if self._in_hand.get(attempt.sequence) != attempt.number]
        return self._give(queries.numbered(database, lost)) if lost else None

    def wake_later(self, next_ready_us: int | None) -> None:
        """Have the recorder woken up when another order may be given, if the pool waits for one.

        Args:
            next_ready_us: when the next order is ready of those that wait for their time.
        """
        if self._wanted <= self._given or self._is_closed:
            return
        times = [until_us for _, until_us in self._left_out.values()]
        times += [self._others_wait_until_us, self._paused_until_us, next_ready_us or 0]
        # What was before the last plan is taken into account there.
        if (next_us := min((time for time in times if time > self._planned_us), default=None)) is not None:
            self._wake_at(next_us)

    def _have_others_wait(self) -> None:
        self._others_wait_until_us = self._now_us() + _ALONE_US
        self._wake_at(self._others_wait_until_us)

    def _wake_at(self, at_us: int) -> None:
        now_us = self._now_us()
        if not now_us < self._wakes_us <= at_us:
            if self._timer is not None:
                self._context.clock.cancel(self._timer)
            self._wakes_us = at_us
            self._timer = self._tell_after(min(max(0, at_us - now_us), _LONGEST_SLEEP_US) / 1e6, OrdersDue())

    def _give(self, records: Sequence[OrderRecord]) -> OrdersClaimed | None:
        if not records:
            return None
        for record in records:
            self._in_hand[record.sequence] = record.attempts
        if self._left_out or self._context.suspects:
            for record in records:
                self._left_out.pop(record.sequence, None)
                if record.sequence in self._context.suspects:
                    self._alone = record.sequence
                    self._have_others_wait()
        self._given += len(records)
        return OrdersClaimed(records, self._given, self._recalls, self._alone)

    def _take_back(self, step: Move) -> None:
        sequence = step.before.sequence
        if self._in_hand.get(sequence) != step.before.attempts:
            return
        del self._in_hand[sequence]
        if sequence == self._alone:
            self._alone, self._others_wait_until_us = None, 0
            if not (step.edge is lifecycle.RETURN and keeps_place(step)):  # its handler has ended once
                self._context.suspects.discard(sequence)

    def _now_us(self) -> int:
        return self._context.queue_clock.now_us()
