"""3. Pool: which order is next, and when it is claimed. Keeps a bounded window of the work in memory."""

from __future__ import annotations

import logging
from bisect import insort
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from functools import partial
from math import ceil
from typing import Any

from pykka import ActorDeadError, ActorRef, Future

from ...store import queries
from ...store.domain import lifecycle
from ...store.domain.errors import EngineStopped, StoreUnavailable, TransitionRefused
from ...store.domain.lifecycle import OrderStatus
from ...store.domain.record import Attempt, Move, OrderRecord, move
from ...store.sqlite.reader import Reader
from ...store.statements import Database
from ..clock import Timer
from ..config import OnInterrupted
from ..execution.attempt import describe_overrun
from ..execution.handler import Effect, describe
from ..execution.retry import put_back
from ..execution.unknown_outcome import settle
from ..reply import fail
from ..requests import CancelOrder
from .base import EngineActor, some
from .claims import Claims, Hand
from .context import Crew
from .messages import (
    AbandonWork,
    AssignmentsFailed,
    AssignOrders,
    CheckClaims,
    CheckTimeouts,
    ClaimsRunLow,
    EffectFound,
    GetReady,
    HandlerLost,
    HandlerNotBegun,
    OrderDue,
    OrdersAssigned,
    OrdersHandled,
    OrdersReady,
    ProcessOrders,
    ProcessorIdle,
    ProcessorUnfit,
    ReleaseOrder,
    StopWork,
    TryProcessors,
    WakeUp,
)
from .processor import ProcessorActor

_MOST_AHEAD = 128
_ASSIGNMENT_SECONDS = 0.010
"""What recording an assignment may take: so much work of all processors is claimed ahead, to keep them busy."""
_SHARE_SECONDS = 0.005
"""Work that is enough for one processor."""
_UNBEGUN_SECONDS = 0.025
"""How long an order may be claimed before its handler begins."""
_ALONE_US = 10_000_000
"""How long the others wait for an order that has to run alone: a hanging one must not hold them up for ever."""
_PAUSE_SECONDS = 0.5
_LEFT_OUT_SECONDS = (0.5, 60.0)
"""How long an order is left out that cannot be recorded as Processing, at first and at last; that doubles each time."""
_TRY_SECONDS = (0.5, 30.0)
"""How soon a processor that is unfit tries again at first, and at last; that doubles from one to the next."""
_UNBEGUN = "the engine stopped before it was begun"
_ABANDONED = "the engine stopped before the handler returned"
_NOBODY_FREE = "no processor was free in time"
_RELEASED = "it was not begun yet"

Message = (
    OrdersReady
    | OrdersAssigned
    | AssignmentsFailed
    | OrderDue
    | ProcessorIdle
    | ProcessorUnfit
    | TryProcessors
    | ClaimsRunLow
    | CheckClaims
    | HandlerLost
    | HandlerNotBegun
    | EffectFound
    | ReleaseOrder
    | WakeUp
    | CheckTimeouts
    | StopWork
    | AbandonWork
)


class PoolActor(EngineActor):
    """Claims orders for processors: recorded first, begun afterwards.

    An order goes from `_ready` (Pending, in memory) to the recorder, comes back into the claims (Processing, on disk),
    and from there to whichever processor is idle first. What has no room in `_ready` waits in the database.

    Args:
        crew: the engine's actors and settings.
        reader: for the Pending orders that wait in the database.
    """

    def __init__(self, crew: Crew, reader: Reader) -> None:
        super().__init__(crew)
        self._reader = reader
        self._ready: deque[OrderRecord] = deque()
        self._suspected: deque[OrderRecord] = deque()  # likewise, but each of them runs alone
        # Sequences in these or with the recorder: Pending, but not to be read again.
        self._held: set[int] = set()
        self._left_out: dict[int, float] = {}  # by sequence: those that cannot be assigned, and for how many seconds
        self._assigning = 0
        self._recalled = 0  # the first so many of those that are being assigned go back as soon as they are
        self._returning: set[int] = set()  # sequences that go back for want of a processor: nobody overtakes them
        self._head_us: int | None = None  # of the latest claim, on the queue's clock: whoever waits is behind it
        self._claims = Claims(crew.clock.monotonic_us, crew.begun, self._run_low)
        self._absent: dict[ActorRef[Any], Hand] = {}  # not ready yet, or unfit
        self._troubles: dict[ActorRef[Any] | None, str] = {}  # of those that are unfit; None for those without a thread
        self._resting: deque[ActorRef[Any]] = deque()  # of those, the ones that do not try just now whether they are
        self._try: Timer | None = None
        self._try_seconds = _TRY_SECONDS[0]
        self._idle: dict[ActorRef[Any], Hand] = {}
        self._busy: dict[ActorRef[Any], Hand] = {}
        self._abandoned: dict[ActorRef[Any], Hand] = {}  # whose handler has overrun its time and runs on
        self._asking: dict[Attempt, OrderRecord] = {}  # whose handler was cut short, until their effect is known
        self._cancelling: dict[int, list[CancelOrder]] = {}  # by sequence, until the order is Pending again
        self._alone_by_us = 0  # until when the others wait for the order that has to run alone
        self._more_in_database = True
        self._is_paused = False
        self._wake_us: int | None = None  # on the queue's clock
        self._wake: Timer | None = None
        self._timeout_check: Timer | None = None
        self._claims_check: Timer | None = None
        self._end_check: Timer | None = None
        self._order_seconds = 1.0  # of the handler for one order: the recent mean, or the latest where that is longer
        self._may_claim_ahead = True
        self._is_stopping = False
        self._stopping: Future[None] | None = None  # who waits for the stop

    def on_stop(self) -> None:
        """Stop the processors; one whose handler still runs ends with it."""
        for processor in self._idle:
            processor.stop()
        for processor in (*self._absent, *self._busy, *self._abandoned):
            self._kill(processor)
            processor.stop(block=False)
        for commands in self._cancelling.values():
            for command in commands:
                fail(command.reply, EngineStopped())

    def rebuild(self) -> None:
        """Read what is Pending anew."""
        self._held.difference_update(record.sequence for record in (*self._ready, *self._suspected))
        self._ready.clear()
        self._suspected.clear()
        self._pause()

    def receive(self, message: Message) -> None:
        """Take note of what happened, then move on all that can be."""
        match message:
            case OrdersReady(records):
                self._take_in(records)
            case OrdersAssigned(assigned, refused):
                self._take_claimed(assigned, refused)
            case AssignmentsFailed(moves, is_their_fault):
                self._take_unclaimed(moves, is_their_fault=is_their_fault)
            case OrderDue(sequence):
                self._held.discard(sequence)
                self._more_in_database = True
            case ProcessorIdle(processor):
                self._take_back(processor)
            case ProcessorUnfit(processor, trouble):
                self._do_without(processor, trouble)
            case TryProcessors():
                self._try = None
                self._replace()
                self._try_processors(1)
            case ClaimsRunLow():
                pass
            case CheckClaims():
                self._claims_check = None
                self._help_claims()
            case HandlerLost(processor, record, error, pays):
                if processor not in self._abandoned:
                    self._find_out(record, error, pays=pays)
            case HandlerNotBegun(processor, record, reason):
                if processor not in self._abandoned:
                    self._return([record], reason)
            case EffectFound(record, error, effect, pays):
                if self._asking.pop(record.attempt, None) is not None:
                    self._settle(record, error, effect, pays=pays)
            case ReleaseOrder():
                self._release(message)
            case CheckTimeouts():
                self._timeout_check = None
                self._check_timeouts()
            case WakeUp():
                self._forget_wake()
                self._is_paused = False
                self._returning.clear()  # whatever has become of them
                self._more_in_database = True
                self._look_after_cancelled()
                self._replace()  # all of them at the start, which has found a name for everybody before this message
            case StopWork(reply):
                self._stopping = reply
                self._is_stopping = True
                for processor in (*self._absent, *self._busy):
                    self._withdraw(processor)
            case AbandonWork():
                self._abandon()
        if self._is_stopping:
            self._wind_down()
        elif not self._is_paused:
            self._read()
            self._claim()
        self._dispatch()

    def _take_in(self, records: Sequence[OrderRecord]) -> None:
        now = self._crew.queue_clock.now_us()
        for record in records:
            self._returning.discard(record.sequence)
            if (commands := self._cancelling.pop(record.sequence, None)) is not None:
                self._pass_on(commands)
                self._more_in_database = True  # it is there still, if these fail
            elif record.ready_us is not None and record.ready_us > now:
                self._wake_at(record.ready_us)
            elif record.sequence not in self._held:
                self._hold(record)

    def _hold(self, record: OrderRecord) -> None:
        if record.sequence in self._crew.suspects:
            self._suspected.append(record)
        elif self._ready and _place(record) < _place(self._ready[-1]):  # it has been here before
            insort(self._ready, record, key=_place)
        elif self._more_in_database or len(self._ready) >= self._crew.config.window:
            self._more_in_database = True
            return
        else:
            self._ready.append(record)
        self._held.add(record.sequence)

    def _read(self) -> None:
        window = self._crew.config.window
        if not self._more_in_database or len(self._ready) > window // 4:
            return
        now = self._crew.queue_clock.now_us()
        limit = window + len(self._held) + len(self._cancelling)
        try:
            found, next_us = self._reader.read(partial(_look, now_us=now, limit=limit))
        except StoreUnavailable as error:
            self._log.log_seldom(logging.ERROR, "no Pending orders could be read: %s", error)
            self._pause()
            return
        self._more_in_database = len(found) == limit
        if next_us is not None:
            self._wake_at(next_us)
        new = [
            record for record in found if record.sequence not in self._held and record.sequence not in self._cancelling
        ]
        if len(new) > window:  # some that are held were on their way to Processing when this was read
            new, self._more_in_database = new[:window], True
        self._held.update(record.sequence for record in new)
        suspects = self._crew.suspects
        self._suspected.extend(record for record in new if record.sequence in suspects)
        self._ready.extend(record for record in new if record.sequence not in suspects)

    def _claim(self) -> None:
        self._measure()
        if self._returning or not (self._idle or self._busy):  # nobody is fit
            return
        if not self._is_turn_of_the_others():
            return
        ahead = self._ahead() if self._may_claim_ahead else 0
        self._claims.low_water = ceil(ahead / 2)
        wanted = len(self._idle) + ahead - self._assigning - len(self._claims)
        self._assign([self._ready.popleft() for _ in range(min(wanted, len(self._ready)))])

    def _ahead(self) -> int:
        """How many orders may be claimed beyond what the idle processors take."""
        ahead = assigned_ahead(self._crew.config.processors, self._order_seconds)
        if not ahead or self._order_seconds <= _UNBEGUN_SECONDS:
            return ahead
        # Handlers that began together end together: only for those that are about to end.
        ending_us = round((self._order_seconds - _UNBEGUN_SECONDS) * 1e6)
        now = self._crew.clock.monotonic_us()
        ending, next_us = 0, None
        for began_us in self._begun_us():
            left_us = began_us + ending_us - now
            if left_us <= 0:
                ending += 1
                if ending == ahead:
                    return ahead
            elif next_us is None or left_us < next_us:
                next_us = left_us
        if self._end_check is not None:
            self._crew.clock.cancel(self._end_check)
        self._end_check = None if next_us is None else self.tell_self_after(next_us / 1e6, ClaimsRunLow())
        return ending

    def _assign(self, records: Sequence[OrderRecord]) -> None:
        if records:
            now = self._crew.clock.now_us()
            self._assigning += len(records)
            self._head_us = records[-1].ready_us
            self._crew.recorder.tell(AssignOrders([move(record, lifecycle.ASSIGN, now) for record in records]))

    def _is_turn_of_the_others(self) -> bool:
        """Whether orders may be claimed that are not suspected; those that are come first, one by one, each alone."""
        alone = self._claims.alone
        if alone is not None and self._is_over(alone):
            self._crew.suspects.discard(alone)
            self._claims.alone = alone = None
            self._alone_by_us = 0
        if alone is None and not self._suspected:
            return True
        now = self._crew.clock.monotonic_us()
        if not self._alone_by_us:
            self._alone_by_us = now + _ALONE_US
            self.tell_self_after(_ALONE_US / 1e6, CheckClaims())
        is_overdue = now >= self._alone_by_us
        if alone is None and (is_overdue or not (self._busy or self._assigning or len(self._claims))):
            suspect = self._suspected.popleft()
            self._claims.alone = suspect.sequence
            self._alone_by_us = 0
            self._assign([suspect])
            return self._is_turn_of_the_others()
        return alone is not None and is_overdue

    def _is_over(self, sequence: int) -> bool:
        return sequence not in self._held and not self._claims.has(sequence, self._busy.values())

    def _measure(self) -> None:
        ended = self._claims.ended()
        if ended.orders:
            latest = ended.seconds / ended.orders
            past = 0.8**ended.orders
            self._order_seconds = max(latest, past * self._order_seconds + (1 - past) * latest)
            self._may_claim_ahead = True

    def _take_claimed(self, assigned: Sequence[OrderRecord], refused: Sequence[OrderRecord]) -> None:
        is_recalled = self._count_assigned(len(assigned) + len(refused))
        for record in (*assigned, *refused):
            self._held.discard(record.sequence)
            self._left_out.pop(record.sequence, None)
        if self._is_stopping:
            self._return(assigned, _UNBEGUN)
        elif is_recalled:
            self._return_unattended(assigned)
        else:
            self._claims.put(assigned)

    def _count_assigned(self, orders: int) -> bool:
        """So many fewer are being assigned. Returns whether they are recalled."""
        self._assigning -= orders
        is_recalled = self._recalled > 0
        self._recalled = max(0, self._recalled - orders)
        return is_recalled

    def _take_unclaimed(self, moves: Sequence[Move], *, is_their_fault: bool) -> None:
        self._count_assigned(len(moves))
        for step in reversed(moves):
            is_suspected = step.before.sequence == self._claims.alone
            if is_suspected:
                self._claims.alone = None
            if is_their_fault and self._leave_out(step.before):
                continue
            (self._suspected if is_suspected else self._ready).appendleft(step.before)
            self._pause()

    def _leave_out(self, record: OrderRecord) -> bool:
        """Have an order wait for a while, longer each time, and no other one; False where too many do already."""
        window, sequence = self._crew.config.window, record.sequence
        if len(self._left_out) >= window:
            self._left_out = {one: seconds for one, seconds in self._left_out.items() if one in self._held}
        if len(self._left_out) >= window and sequence not in self._left_out:
            return False
        first, longest = _LEFT_OUT_SECONDS
        seconds = min(2 * self._left_out.get(sequence, first / 2), longest)
        self._left_out[sequence] = seconds
        self.tell_self_after(seconds, OrderDue(sequence))  # it is held until then, so it is not read
        return True

    def _dispatch(self) -> None:
        waiting = len(self._claims)
        if waiting:
            self._wake_up(self._hands_wanted(waiting))
            if self._claims_check is None:
                self._check_claims_later()
        self._watch()

    def _wake_up(self, processors: int) -> None:
        for _ in range(min(processors, len(self._idle))):
            processor, hand = self._idle.popitem()
            self._busy[processor] = hand
            processor.tell(ProcessOrders())

    def _hands_wanted(self, waiting: int) -> int:
        """How many more processors are to take part: where the handler is quick, fewer are in each other's way."""
        wanted = ceil(waiting * self._order_seconds / _SHARE_SECONDS)
        since_us = self._crew.clock.monotonic_us() - round(_SHARE_SECONDS * 1e6)
        for began_us in self._begun_us():
            if wanted <= 0:
                break
            wanted -= began_us > since_us  # it will be back for the next one in a moment
        return max(1, wanted)  # those that are at work may turn out to be slow

    def _check_claims_later(self) -> None:
        # One for each that is between two orders needs no look: a thread begins it, or the processor says it is idle.
        if (since_us := self._claims.unattended_us(self._busy.values())) is not None:
            patience = _SHARE_SECONDS if self._idle else _UNBEGUN_SECONDS
            waited = (self._crew.clock.monotonic_us() - since_us) / 1e6
            self._claims_check = self.tell_self_after(max(0.0, patience - waited), CheckClaims())

    def _begun_us(self) -> Iterator[int]:
        """Since when each of the handlers runs, as far as that is known."""
        for hand in self._busy.values():
            if (began_us := hand.began_us) is not None:  # read once: another thread may change it
                yield began_us

    def _run_low(self) -> None:
        self.tell_self(ClaimsRunLow())

    def _help_claims(self) -> None:
        if self._idle:
            self._wake_up(len(self._claims))
        else:
            self._return_late()

    def _return_late(self) -> None:
        # Handlers that were quick have become slow: what was claimed for them has to wait, and says so.
        now = self._crew.clock.monotonic_us()
        late = self._claims.take_back_late(now - round(_UNBEGUN_SECONDS * 1e6), self._busy.values())
        if late:
            longest_us = now - min(self._begun_us(), default=now)
            self._order_seconds = max(self._order_seconds, longest_us / 1e6)
            self._may_claim_ahead = False
            self._recalled = self._assigning
            self._return_unattended(late)

    def _return_unattended(self, records: Sequence[OrderRecord]) -> None:
        if any(record.sequence == self._claims.alone for record in records):
            self._claims.alone = None
        self._returning.update(record.sequence for record in records)
        self._wake_at(self._crew.queue_clock.now_us() + round(_PAUSE_SECONDS * 1e6))  # should nobody hear of them
        self._return(records, _NOBODY_FREE)

    def _take_back(self, processor: ActorRef[Any]) -> None:
        if (hand := self._busy.pop(processor, None)) is not None:
            self._idle[processor] = hand
        elif (hand := self._absent.pop(processor, None)) is not None:
            self._idle[processor] = hand
            if self._troubles.pop(processor, None) is not None:
                self._try_seconds = _TRY_SECONDS[0]
                self._try_processors(len(self._resting))  # what is over for one may be over for the others
                self._tell_troubles()
        elif self._abandoned.pop(processor, None) is not None:
            processor.stop(block=False)
            self._replace()

    def _do_without(self, processor: ActorRef[Any], trouble: str) -> None:
        hand = self._busy.pop(processor, None) or self._absent.pop(processor, None)
        if hand is None:
            self._take_back(processor)
            return
        self._absent[processor] = hand
        if self._is_stopping:
            return
        if processor not in self._troubles:
            self._log.warning("a processor cannot work: %s", trouble)
        self._troubles[processor] = trouble
        self._resting.append(processor)
        self._tell_troubles()
        self._try_later()
        if not self._idle and not self._busy:
            self._return(self._claims.take_back(), f"it was not begun: {trouble}")

    def _tell_troubles(self) -> None:
        self._crew.unfit = Counter(self._troubles.values())

    def _try_later(self) -> None:
        if self._try is None and not self._is_stopping:
            self._try = self.tell_self_after(self._try_seconds, TryProcessors())
            self._try_seconds = min(2 * self._try_seconds, _TRY_SECONDS[1])

    def _try_processors(self, count: int) -> None:
        for _ in range(min(count, len(self._resting))):
            self._resting.popleft().tell(GetReady())

    def _watch(self) -> None:
        timeout = self._crew.config.handler_timeout
        if timeout is not None and self._busy and self._timeout_check is None:
            now = self._crew.clock.monotonic_us()
            passed = (now - min(self._begun_us(), default=now)) / 1e6
            self._timeout_check = self.tell_self_after(timeout - passed, CheckTimeouts())

    def _check_timeouts(self) -> None:
        timeout = self._crew.config.handler_timeout
        if timeout is None:
            return
        now = self._crew.clock.monotonic_us()
        for processor, hand in list(self._busy.items()):
            record, began_us = hand.record, hand.began_us
            is_late = began_us is not None and now - began_us >= round(timeout * 1e6)
            if record is not None and is_late and self._claims.abandon(hand, record):
                # Nothing can end a thread: the order moves on without it, and its late result is refused by its
                # attempt. A worker process can be killed: its processor takes its leave as soon as it has noticed.
                self._abandoned[processor] = self._busy.pop(processor)
                self._kill(processor)
                self._find_out(record, describe_overrun(timeout))
                self._replace()

    def _find_out(self, record: OrderRecord, error: str, *, pays: bool = True) -> None:
        reply = self._crew.prober.ask(record.order)
        if reply.is_done:
            self._settle(record, error, reply.get(), pays=pays)
        else:
            self._asking[record.attempt] = record
            reply.when_done(lambda: self.tell_self(EffectFound(record, error, reply.get(), pays)))

    def _settle(self, record: OrderRecord, error: str, effect: Effect, *, pays: bool) -> None:
        if not pays and not self._is_stopping:
            self._crew.suspects.add(record.sequence)
        step = settle(record, effect, self._crew.now(), error, self._crew.config, self._head_us, pays=pays)
        self._crew.recorder.tell(OrdersHandled(deque([step])))

    def _replace(self) -> None:
        config = self._crew.config
        self._crew.abandoned = len(self._abandoned)
        self._crew.missing = min(config.processors, max(0, len(self._abandoned) - config.max_abandoned))
        wanted = config.processors - self._crew.missing
        self._troubles.pop(None, None)
        while not self._is_stopping and len(self._absent) + len(self._idle) + len(self._busy) < wanted:
            hand = Hand()
            try:
                processor = ProcessorActor.start(self._crew, self._claims, hand)
            except RuntimeError as error:
                self._troubles[None] = f"no thread can be started for more processors: {describe(error)}"
                self._try_later()
                break
            self._absent[processor] = hand
            processor.tell(GetReady())
        self._tell_troubles()

    def _release(self, wish: ReleaseOrder) -> None:
        record, command = wish
        if record.sequence in self._cancelling:
            self._cancelling[record.sequence].append(command)
        elif (unbegun := self._claims.release(record.sequence)) is not None:
            self._cancelling[record.sequence] = [command]
            self._return([unbegun], _RELEASED)
        else:
            fail(command.reply, TransitionRefused(record.order_id, record.status, OrderStatus.CANCELLED))

    def _look_after_cancelled(self) -> None:
        # After trouble, for one: what was to make an order Pending may have been stored, and nobody was told.
        try:
            for sequence, commands in list(self._cancelling.items()):
                stored = self._reader.read(partial(queries.find, order_id=commands[0].order_id))
                if stored is None or stored.status is not OrderStatus.PROCESSING:
                    self._pass_on(self._cancelling.pop(sequence))
        except StoreUnavailable:
            self._pause()

    def _pass_on(self, commands: Sequence[CancelOrder]) -> None:
        for command in commands:
            try:
                self._crew.recorder.tell(command)
            except ActorDeadError:
                fail(command.reply, EngineStopped())

    def _wind_down(self) -> None:
        self._return(self._claims.take_back(), _UNBEGUN)
        if self._stopping is not None and not self._busy and not self._assigning and not self._asking:
            self._stopping.set()
            self._stopping = None

    def _abandon(self) -> None:
        # The stop waits on for what is with the recorder: it comes back as Processing, and is returned then.
        for hand in self._busy.values():
            self._claims.abandon(hand, None)
        in_hand = [hand.record for hand in self._busy.values() if hand.record is not None]
        self._abandoned.update(self._busy)
        self._busy.clear()
        for processor in self._abandoned:
            self._kill(processor)
        self._leave(in_hand)

    def _leave(self, in_hand: Sequence[OrderRecord]) -> None:
        left = [*in_hand, *self._asking.values()]
        self._asking.clear()
        if not left:
            return
        if self._crew.prober.has_probe:
            # The effect may happen as long as the handler runs, so it ends with the process. The file of what has
            # begun says that no crash was the reason.
            fate = "stay Processing until the next start asks the probe"
        else:
            for record in left:
                self._settle(record, _ABANDONED, self._crew.prober.ask(record.order).get(), pays=False)
            is_retried = self._crew.config.on_interrupted is OnInterrupted.RETRY
            fate = "go back to Pending" if is_retried else "wait in Review"
        order_ids = ", ".join(some([record.order_id for record in left]))
        self._log.warning("handlers did not return in time: %s %s", order_ids, fate)

    def _withdraw(self, processor: ActorRef[Any]) -> None:
        if (bench := self._crew.benches.get(processor.actor_urn)) is not None:
            bench.withdraw()

    def _kill(self, processor: ActorRef[Any]) -> None:
        if (bench := self._crew.benches.get(processor.actor_urn)) is not None:
            bench.kill()

    def _return(self, records: Sequence[OrderRecord], reason: str) -> None:
        if records:
            now = self._crew.now()
            steps = (put_back(record, now, reason, self._head_us) for record in records)
            self._crew.recorder.tell(OrdersHandled(deque(steps)))

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


def _place(record: OrderRecord) -> tuple[int, int]:
    """Where an order stands in the queue."""
    return record.ready_us or 0, record.sequence


def assigned_ahead(processors: int, order_seconds: float) -> int:
    """How many orders are claimed beyond those in hand, so that no processor waits for an assignment's commit.

    As many as end while one is recorded: the number in a system is its rate times the time that each one spends in it
    (J. D. C. Little, "A Proof for the Queuing Formula: L = λW", Operations Research 9, 1961). None where it would be
    less than one in ten: an order that is Processing and not in hand yet tells a lie, if a short one.

    Args:
        processors: each with one order in hand.
        order_seconds: what the handler takes for one, in seconds.
    """
    ending = processors * _ASSIGNMENT_SECONDS / max(order_seconds, 1e-9)
    return min(_MOST_AHEAD * processors, ceil(ending - 0.1))


def most_processing(processors: int) -> int:
    """How many orders are Processing at once at the most, with room to spare."""
    # In hand, claimed, and with results that are not recorded: nothing more is claimed before these are.
    return 4 * (_MOST_AHEAD + 1) * processors


def _look(database: Database, now_us: int, limit: int) -> tuple[list[OrderRecord], int | None]:
    """Orders that may be processed, and when the next one may be, where these are all."""
    found = queries.ready(database, now_us, limit)
    return found, None if len(found) == limit else queries.next_ready_us(database, now_us)
