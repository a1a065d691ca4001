"""3. Pool: which order is next, and which idle processor gets it. Keeps a bounded window of the work in memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from math import ceil
from typing import Any

from peewee import Database
from pykka import ActorRef, Future

from ..store import lifecycle, queries
from ..store.record import OrderRecord, move
from .actor import EngineActor, some
from .clock import Timer
from .crew import Crew
from .messages import (
    AbandonWork,
    AssignmentsFailed,
    AssignOrders,
    CheckTimeouts,
    OrdersAssigned,
    OrdersHandled,
    OrdersReady,
    ProcessOrders,
    ProcessorIdle,
    StopWork,
    WakeUp,
)
from .processor import ProcessorActor, after_failure, put_back
from .work import Work

_SHARE_SECONDS = 0.005
"""Work that a processor is given at a time: more than one order only where the handler is quick."""
_MAX_SHARE = 64
_ASSIGNMENT_SECONDS = 0.010
"""What recording an assignment may take: so much work of all processors is assigned ahead, to keep them busy."""
_PAUSE_SECONDS = 0.5
_UNBEGUN = "the engine stopped before it was begun"
_ABANDONED = "the engine stopped before the handler returned"

Message = (
    OrdersReady | OrdersAssigned | AssignmentsFailed | ProcessorIdle | WakeUp | CheckTimeouts | StopWork | AbandonWork
)


class PoolActor(EngineActor):
    """Assigns orders to processors: recorded first, begun afterwards.

    An order goes from `_ready` (Pending, in memory) to the recorder, comes back into `_assigned` (Processing, on
    disk), and from there to a processor. What has no room in `_ready` waits in the database.

    Args:
        crew: the engine's actors and settings.
        database: a pool of connections to read with.
    """

    def __init__(self, crew: Crew, database: Database) -> None:
        super().__init__(crew)
        self._database = database
        self._ready: deque[OrderRecord] = deque()
        self._held: set[int] = set()  # sequences in _ready or with the recorder: Pending, but not to be read again
        self._assigning = 0
        self._assigned: deque[OrderRecord] = deque()
        self._idle: list[ActorRef[Any]] = []
        self._busy: dict[ActorRef[Any], Work] = {}
        self._abandoned: set[ActorRef[Any]] = set()  # whose handler has overrun its time and runs on
        self._more_in_database = True
        self._is_paused = False
        self._wake_us: int | None = None  # on the queue's clock
        self._wake: Timer | None = None
        self._check: Timer | None = None
        self._order_seconds = 1.0  # of the handler for one order: the recent mean, or the latest where that is longer
        self._is_stopping = False
        self._stopping: Future[None] | None = None  # who waits for the stop

    def on_start(self) -> None:
        """Start the processors."""
        self._idle = [ProcessorActor.start(self._crew) for _ in range(self._crew.config.processors)]

    def on_stop(self) -> None:
        """Stop the processors; one whose handler still runs ends with it."""
        for processor in self._idle:
            processor.stop()
        for processor in (*self._busy, *self._abandoned):
            processor.stop(block=False)

    def rebuild(self) -> None:
        """Read what is Pending anew."""
        self._held.difference_update(record.sequence for record in self._ready)
        self._ready.clear()
        self._pause()

    def receive(self, message: Message) -> None:
        """Take note of what happened, then move on all that can be."""
        match message:
            case OrdersReady(records):
                self._take_in(records)
            case OrdersAssigned(assigned, refused):
                self._assigning -= len(assigned) + len(refused)
                self._held.difference_update(record.sequence for record in (*assigned, *refused))
                self._assigned.extend(assigned)
            case AssignmentsFailed(moves):
                self._assigning -= len(moves)
                self._ready.extendleft(step.before for step in reversed(moves))
                self._pause()
            case ProcessorIdle(processor) if processor in self._abandoned:
                self._take_leave(processor)
            case ProcessorIdle():
                self._take_back(message)
            case CheckTimeouts():
                self._check = None
                self._check_timeouts()
            case WakeUp():
                self._forget_wake()
                self._is_paused = False
                self._more_in_database = True
            case StopWork(reply):
                self._stopping = reply
                self._is_stopping = True
            case AbandonWork():
                self._abandon()
        if self._is_stopping:
            self._wind_down()
        elif not self._is_paused:
            self._read()
            self._assign()
            self._dispatch()

    def _take_in(self, records: Sequence[OrderRecord]) -> None:
        now = self._crew.queue_clock.now_us()
        for record in records:
            if record.ready_us is not None and record.ready_us > now:
                self._wake_at(record.ready_us)
            elif self._more_in_database or len(self._ready) >= self._crew.config.window:
                self._more_in_database = True
            elif record.sequence not in self._held:
                self._held.add(record.sequence)
                self._ready.append(record)

    def _read(self) -> None:
        window = self._crew.config.window
        if not self._more_in_database or len(self._ready) > window // 4:
            return
        now = self._crew.queue_clock.now_us()
        limit = window + len(self._held)
        with self._database.connection_context():
            found = queries.ready(self._database, now, limit)
            self._more_in_database = len(found) == limit
            if not self._more_in_database and (next_us := queries.next_ready_us(self._database, now)) is not None:
                self._wake_at(next_us)
        new = [record for record in found if record.sequence not in self._held]
        if len(new) > window:  # some that are held were on their way to Processing when this was read
            new, self._more_in_database = new[:window], True
        self._held.update(record.sequence for record in new)
        self._ready.extend(new)

    def _assign(self) -> None:
        wanted = len(self._idle) * self._share() + assigned_ahead(self._crew.config.processors, self._order_seconds)
        count = min(wanted - self._assigning - len(self._assigned), len(self._ready))
        if count > 0:
            now = self._crew.clock.now_us()
            moves = [move(self._ready.popleft(), lifecycle.ASSIGN, now) for _ in range(count)]
            self._assigning += count
            self._crew.recorder.tell(AssignOrders(moves))

    def _dispatch(self) -> None:
        most = self._share()
        while self._idle and self._assigned:
            share = min(most, -(-len(self._assigned) // len(self._idle)))
            work = Work([self._assigned.popleft() for _ in range(share)])
            processor = self._idle.pop()
            self._busy[processor] = work
            processor.tell(ProcessOrders(work))
        self._watch()

    def _share(self) -> int:
        return max(1, min(_MAX_SHARE, int(_SHARE_SECONDS / max(self._order_seconds, 1e-9))))

    def _take_back(self, idle: ProcessorIdle) -> None:
        work = self._busy.pop(idle.processor)
        self._assigned.extendleft(reversed(work.take_back()))
        self._idle.append(idle.processor)
        if idle.handled:
            latest = idle.seconds / idle.handled
            self._order_seconds = max(latest, 0.8 * self._order_seconds + 0.2 * latest)

    def _watch(self) -> None:
        timeout = self._crew.config.handler_timeout
        if timeout is not None and self._busy and self._check is None:
            now = self._crew.clock.monotonic_us()
            begun = [work.in_hand.began_us for work in self._busy.values() if work.in_hand is not None]
            passed = (now - min(begun, default=now)) / 1e6
            self._check = self.tell_self_after(timeout - passed, CheckTimeouts())

    def _check_timeouts(self) -> None:
        timeout = self._crew.config.handler_timeout
        if timeout is None:
            return
        now = self._crew.clock.monotonic_us()
        for processor, work in list(self._busy.items()):
            in_hand = work.in_hand
            if in_hand is not None and now - in_hand.began_us >= round(timeout * 1e6):
                self._give_up(processor, work, in_hand.record, timeout)

    def _give_up(self, processor: ActorRef[Any], work: Work, record: OrderRecord, timeout: float) -> None:
        # Nothing can end a thread: the order moves on without it, and its late result is refused by its attempt. A
        # worker process can be killed: its processor takes its leave as soon as it has noticed.
        error = f"TimeoutError: the handler did not return within {timeout:g} s"
        self._crew.recorder.tell(
            OrdersHandled(deque([after_failure(record, self._crew.now(), error, self._crew.config)]))
        )
        del self._busy[processor]
        self._assigned.extendleft(reversed(work.take_back()))
        self._abandoned.add(processor)
        self._kill(processor)
        self._replace()

    def _take_leave(self, processor: ActorRef[Any]) -> None:
        self._abandoned.remove(processor)
        processor.stop(block=False)
        self._replace()

    def _replace(self) -> None:
        config = self._crew.config
        self._crew.abandoned = len(self._abandoned)
        self._crew.missing = min(config.processors, max(0, len(self._abandoned) - config.max_abandoned))
        while not self._is_stopping and len(self._idle) + len(self._busy) < config.processors - self._crew.missing:
            self._idle.append(ProcessorActor.start(self._crew))

    def _wind_down(self) -> None:
        unbegun = [*self._assigned, *(record for work in self._busy.values() for record in work.take_back())]
        self._assigned.clear()
        self._return(unbegun, _UNBEGUN)
        if self._stopping is not None and not self._busy and not self._assigning:
            self._stopping.set()
            self._stopping = None

    def _abandon(self) -> None:
        # The stop waits on for what is with the recorder: it comes back as Processing, and is returned then.
        in_hand = [work.in_hand.record for work in self._busy.values() if work.in_hand is not None]
        if in_hand:
            order_ids = ", ".join(some([record.order_id for record in in_hand]))
            self._log.warning("handlers did not return in time: %s go back to Pending", order_ids)
        self._return(in_hand, _ABANDONED)
        self._abandoned.update(self._busy)
        self._busy.clear()
        for processor in self._abandoned:
            self._kill(processor)

    def _kill(self, processor: ActorRef[Any]) -> None:
        if (bench := self._crew.benches.get(processor.actor_urn)) is not None:
            bench.kill()

    def _return(self, records: list[OrderRecord], reason: str) -> None:
        if records:
            now = self._crew.now()
            self._crew.recorder.tell(OrdersHandled(deque(put_back(record, now, reason) for record in records)))

    def _pause(self) -> None:
        self._is_paused = True
        self._wake_at(self._crew.queue_clock.now_us() + round(_PAUSE_SECONDS * 1e6))

    def _wake_at(self, at_us: int) -> None:
        if self._wake_us is None or at_us < self._wake_us:
            self._forget_wake()
            self._wake_us = at_us
            self._wake = self.tell_self_after((at_us - self._crew.queue_clock.now_us()) / 1e6, WakeUp())

    def _forget_wake(self) -> None:
        if self._wake is not None:
            self._crew.clock.cancel(self._wake)
        self._wake_us = self._wake = None


def assigned_ahead(processors: int, order_seconds: float) -> int:
    """How many orders lie assigned beyond those in hand, so that no processor waits for an assignment's commit.

    As many as end while one is recorded: the number in a system is its rate times the time that each one spends in it
    (J. D. C. Little, "A Proof for the Queuing Formula: L = λW", Operations Research 9, 1961). None where it would be
    less than one in ten: an order that is Processing and not in hand yet tells a lie, if a short one.

    Args:
        processors: each with one order in hand.
        order_seconds: what the handler takes for one, in seconds.
    """
    ending = processors * _ASSIGNMENT_SECONDS / max(order_seconds, 1e-9)
    return min(_MAX_SHARE * processors, ceil(ending - 0.1))
