"""Pending: the orders that may be claimed next. A bounded window of them is in memory, the rest is in the database."""

from __future__ import annotations

import logging
from bisect import insort
from collections import deque
from collections.abc import Callable, Collection, Iterable
from functools import partial

from ...store import queries
from ...store.domain.errors import StoreUnavailable
from ...store.domain.record import OrderRecord
from ...store.reader import Reader
from ...store.statements import Database
from ..clock import Timer
from ..logger import EngineLogger
from .context import EngineContext
from .messages import OrderDue, WakeUp

_WAKE_SOON_SECONDS = 0.5
_LEFT_OUT_SECONDS = (0.5, 60.0)
"""How long an order is left out that cannot be recorded as Processing, at first and at last; that doubles each time."""


class Pending:
    """The window of Pending orders, in the sequence in which their turn comes.

    Args:
        context: the engine's settings, clocks and suspects.
        reader: for the orders that wait in the database.
        tell_after: tells the pool a message after some seconds.
        log: for what goes wrong.
    """

    def __init__(
        self, context: EngineContext, reader: Reader, tell_after: Callable[[float, object], Timer], log: EngineLogger
    ) -> None:
        self._context = context
        self._reader = reader
        self._tell_after = tell_after
        self._log = log
        self._ready: deque[OrderRecord] = deque()
        self._suspected: deque[OrderRecord] = deque()  # likewise, but each of them runs alone
        # Sequences in these or with the recorder: Pending, but not to be read again.
        self._held: set[int] = set()
        self._left_out: dict[int, float] = {}  # by sequence: those that cannot be assigned, and for how many seconds
        self._more_in_database = True
        self._wake_us: int | None = None  # on the queue's clock
        self._wake: Timer | None = None
        self.is_paused = False
        """Whether nothing is to be read or claimed before the next wake-up, since the database has not answered."""

    def __len__(self) -> int:
        return len(self._ready)

    @property
    def has_suspects(self) -> bool:
        """Whether an order waits that has to run alone."""
        return bool(self._suspected)

    def holds(self, sequence: int) -> bool:
        """Whether an order is here, or with the recorder to become Processing."""
        return sequence in self._held

    def add(self, record: OrderRecord, now_us: int) -> None:
        """An order is Pending now.

        Args:
            record: the order.
            now_us: the time, on the queue's clock.
        """
        if record.ready_us is not None and record.ready_us > now_us:
            self._wake_at(record.ready_us)
        elif record.sequence not in self._held:
            self._hold(record)

    def read(self, but_not: Collection[int]) -> None:
        """Read orders from the database if few are left here.

        Args:
            but_not: the sequences of orders that are not to be claimed.
        """
        window = self._context.config.window
        if not self._more_in_database or len(self._ready) > window // 4:
            return
        now = self._context.queue_clock.now_us()
        limit = window + len(self._held) + len(but_not)
        try:
            found, next_us = self._reader.read(partial(_look, now_us=now, limit=limit))
        except StoreUnavailable as error:
            self._log.log_seldom(logging.ERROR, "no Pending orders could be read: %s", error)
            self.pause()
            return
        self._more_in_database = len(found) == limit
        if next_us is not None:
            self._wake_at(next_us)
        new = [record for record in found if record.sequence not in self._held and record.sequence not in but_not]
        if len(new) > window:  # some that are held were on their way to Processing when this was read
            new, self._more_in_database = new[:window], True
        self._held.update(record.sequence for record in new)
        suspects = self._context.suspects
        self._suspected.extend(record for record in new if record.sequence in suspects)
        self._ready.extend(record for record in new if record.sequence not in suspects)

    def read_again(self) -> None:
        """The database may have orders that nobody has told of."""
        self._more_in_database = True

    def take(self, count: int) -> list[OrderRecord]:
        """The next orders that need not run alone, so many at the most. They are held until `let_go`."""
        return [self._ready.popleft() for _ in range(min(count, len(self._ready)))]

    def take_suspect(self) -> OrderRecord:
        """The next order that has to run alone. It is held until `let_go`."""
        return self._suspected.popleft()

    def let_go(self, records: Iterable[OrderRecord]) -> None:
        """These are not Pending any more."""
        for record in records:
            self._held.discard(record.sequence)
            self._left_out.pop(record.sequence, None)

    def put_back(self, record: OrderRecord, *, is_suspected: bool) -> None:
        """An order that was taken is Pending still, since the database does not take that it is Processing: pause."""
        (self._suspected if is_suspected else self._ready).appendleft(record)
        self.pause()

    def leave_out(self, record: OrderRecord) -> bool:
        """Have an order wait for a while, longer each time, and no other one; False where too many do already."""
        window, sequence = self._context.config.window, record.sequence
        if len(self._left_out) >= window:
            self._left_out = {one: seconds for one, seconds in self._left_out.items() if one in self._held}
        if len(self._left_out) >= window and sequence not in self._left_out:
            return False
        first, longest = _LEFT_OUT_SECONDS
        seconds = min(2 * self._left_out.get(sequence, first / 2), longest)
        self._left_out[sequence] = seconds
        self._tell_after(seconds, OrderDue(record))  # it is held until then, so it is not read
        return True

    def end_leaving_out(self, record: OrderRecord) -> None:
        """An order that was left out may be claimed again, at its old place."""
        # It is not read anew: one that was stored as Processing, although that was said to have failed, is not found.
        self._put_in_place(record)

    def begin_anew(self) -> None:
        """Forget what is here, and read it again after a pause."""
        self._held.difference_update(record.sequence for record in (*self._ready, *self._suspected))
        self._ready.clear()
        self._suspected.clear()
        self.pause()

    def pause(self) -> None:
        """Have nothing read or claimed for a moment."""
        self.is_paused = True
        self.wake_soon()

    def wake_soon(self) -> None:
        """Have the pool woken up in a moment, whatever happens before."""
        self._wake_at(self._context.queue_clock.now_us() + round(_WAKE_SOON_SECONDS * 1e6))

    def wake_up(self) -> None:
        """The time has come that was waited for: read, whatever was known of the database."""
        self._forget_wake()
        self.is_paused = False
        self._more_in_database = True

    def _hold(self, record: OrderRecord) -> None:
        is_suspected = record.sequence in self._context.suspects
        has_been_here = self._ready and _place(record) < _place(self._ready[-1])
        is_full = self._more_in_database or len(self._ready) >= self._context.config.window
        if is_full and not is_suspected and not has_been_here:
            self._more_in_database = True
        else:
            self._held.add(record.sequence)
            self._put_in_place(record)

    def _put_in_place(self, record: OrderRecord) -> None:
        if record.sequence in self._context.suspects:
            self._suspected.append(record)
        else:
            insort(self._ready, record, key=_place)

    def _wake_at(self, at_us: int) -> None:
        if self._wake_us is None or at_us < self._wake_us:
            self._forget_wake()
            self._wake_us = at_us
            self._wake = self._tell_after((at_us - self._context.queue_clock.now_us()) / 1e6, WakeUp())

    def _forget_wake(self) -> None:
        if self._wake is not None:
            self._context.clock.cancel(self._wake)
        self._wake_us = self._wake = None


def _place(record: OrderRecord) -> tuple[int, int]:
    """Where an order stands in the queue."""
    return record.ready_us or 0, record.sequence


def _look(database: Database, now_us: int, limit: int) -> tuple[list[OrderRecord], int | None]:
    """Orders that may be processed, and when the next one may be, where these are all."""
    found = queries.ready(database, now_us, limit)
    return found, None if len(found) == limit else queries.next_ready_us(database, now_us)
