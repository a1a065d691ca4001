"""3. Pool: when the next orders are claimed, and who processes them."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from functools import partial
from math import ceil

from pykka import ActorDeadError, Future

from ...store import queries
from ...store.domain import lifecycle
from ...store.domain.errors import EngineStopped, StoreUnavailable, TransitionRefused
from ...store.domain.lifecycle import OrderStatus
from ...store.domain.record import Attempt, Move, OrderRecord, move
from ...store.reader import Reader
from ..clock import Timer
from ..config import OnInterrupted
from ..execution.attempt import describe_overrun
from ..execution.handler import Effect
from ..execution.retry import put_back
from ..execution.unknown_outcome import settle
from ..reply import answer, fail
from ..requests import CancelOrder
from .base import EngineActor, some
from .claims import Claims
from .context import EngineContext
from .messages import (
    AbandonWork,
    AssignmentsFailed,
    AssignOrders,
    CheckClaims,
    CheckTimeouts,
    ClaimsRunLow,
    ControlChanged,
    EffectFound,
    HandlerLost,
    HandlerNotBegun,
    OrderDue,
    OrdersAssigned,
    OrdersHandled,
    OrdersReady,
    ProcessorIdle,
    ProcessorUnfit,
    ReleaseOrder,
    StopWork,
    TryProcessors,
    WakeUp,
)
from .pending import Pending
from .roster import Roster

_MOST_AHEAD = 128
_LEAST_PROCESSORS = 8
"""There is room for what so many have in hand, and for a thousand that operators may have later."""
_ASSIGNMENT_SECONDS = 0.010
"""What recording an assignment may take: so much work of all processors is claimed ahead, to keep them busy."""
_SHARE_SECONDS = 0.005
"""Work that is enough for one processor."""
_UNBEGUN_SECONDS = 0.025
"""How long an order may be claimed before its handler begins."""
_ALONE_US = 10_000_000
"""How long the others wait for an order that has to run alone: a hanging one must not hold them up for ever."""
_UNBEGUN = "the engine stopped before it was begun"
_ABANDONED = "the engine stopped before the handler returned"
_PAUSED = "the engine was paused before it was begun"
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
    | ControlChanged
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

    An order goes from the pending ones to the recorder, comes back into the claims (Processing, on disk), and from
    there to whichever processor is idle first.

    Args:
        context: the engine's actors and settings.
        reader: for the Pending orders that wait in the database.
    """

    def __init__(self, context: EngineContext, reader: Reader) -> None:
        super().__init__(context)
        self._reader = reader
        self._pending = Pending(context, reader, self.tell_self_after, self._log)
        self._assigning = 0
        self._recalled = 0  # the first so many of those that are being assigned go back as soon as they are
        self._returning: set[int] = set()  # sequences that go back for want of a processor: nobody overtakes them
        self._head_us: int | None = None  # of the latest claim, on the queue's clock: whoever waits is behind it
        self._claims = Claims(context.clock.monotonic_us, context.begun, self._run_low)
        self._roster = Roster(context, self._claims, self.tell_self_after, self._log)
        self._asking: dict[Attempt, OrderRecord] = {}  # whose handler was cut short, until their effect is known
        self._cancelling: dict[int, list[CancelOrder]] = {}  # by sequence, until the order is Pending again
        self._alone_by_us = 0  # until when the others wait for the order that has to run alone
        self._timeout_check: Timer | None = None
        self._claims_check: Timer | None = None
        self._end_check: Timer | None = None
        self._order_seconds = 1.0  # of the handler for one order: the recent mean, or the latest where that is longer
        self._may_claim_ahead = True
        self._most_ahead = _MOST_AHEAD * max(_LEAST_PROCESSORS, context.processors)  # however many there will be
        self._is_stopping = False
        self._stopping: Future[None] | None = None  # who waits for the stop

    def on_stop(self) -> None:
        """Stop the processors; one whose handler still runs ends with it."""
        self._roster.stop()
        for commands in self._cancelling.values():
            for command in commands:
                fail(command.reply, EngineStopped())

    def rebuild(self) -> None:
        """Read what is Pending anew."""
        self._pending.begin_anew()

    def receive(self, message: Message) -> None:
        """Take note of what happened, then move on all that can be."""
        match message:
            case OrdersReady(records):
                self._take_in(records)
            case OrdersAssigned(assigned, refused):
                self._take_claimed(assigned, refused)
            case AssignmentsFailed(moves, is_their_fault):
                self._take_unclaimed(moves, is_their_fault=is_their_fault)
            case OrderDue(record):
                self._pending.end_leaving_out(record)
            case ProcessorIdle(processor):
                self._roster.note_idle(processor)
            case ProcessorUnfit(processor, trouble):
                is_missed = self._roster.note_unfit(processor, trouble)
                if is_missed and not self._roster.is_anybody_fit:
                    self._return(self._claims.take_back(), f"it was not begun: {trouble}")
            case TryProcessors():
                self._roster.try_again()
            case ClaimsRunLow():
                pass
            case CheckClaims():
                self._claims_check = None
                self._help_claims()
            case HandlerLost(processor, record, error, pays):
                if not self._roster.is_abandoned(processor):
                    self._find_out(record, error, pays=pays)
            case HandlerNotBegun(processor, record, reason):
                if not self._roster.is_abandoned(processor):
                    self._return([record], reason)
            case EffectFound(record, error, effect, pays):
                if self._asking.pop(record.attempt, None) is not None:
                    self._settle(record, error, effect, pays=pays)
            case ReleaseOrder():
                self._release(message)
            case ControlChanged():
                self._roster.replace()
            case CheckTimeouts():
                self._timeout_check = None
                self._check_timeouts()
            case WakeUp():
                self._returning.clear()  # whatever has become of them
                self._pending.wake_up()
                self._look_after_cancelled()
                # At the start, which has named all actors before it told this, none of them is there yet.
                self._roster.replace()
            case StopWork(reply):
                self._stopping = reply
                self._is_stopping = True
                self._roster.close()
            case AbandonWork():
                self._abandon()
        if self._is_stopping:
            self._wind_down()
        elif self._context.control.is_paused:
            self._return_unbegun()
        elif not self._pending.is_paused:
            self._pending.read(self._cancelling.keys())
            self._claim()
        self._dispatch()
        if isinstance(message, ControlChanged):
            answer(message.reply, message.control)

    def _take_in(self, records: Sequence[OrderRecord]) -> None:
        now = self._context.queue_clock.now_us()
        for record in records:
            self._returning.discard(record.sequence)
            if (commands := self._cancelling.pop(record.sequence, None)) is not None:
                self._pass_on(commands)
                self._pending.read_again()  # it is there still, if these fail
            else:
                self._pending.add(record, now)

    def _claim(self) -> None:
        self._measure()
        if self._returning or not self._roster.is_anybody_fit or not self._is_turn_of_the_others():
            return
        ahead = self._ahead() if self._may_claim_ahead else 0
        self._claims.low_water = ceil(ahead / 2)
        wanted = len(self._roster.idle) + ahead - self._assigning - len(self._claims)
        self._assign(self._pending.take(wanted))

    def _ahead(self) -> int:
        """How many orders may be claimed beyond what the idle processors take."""
        ahead = min(self._most_ahead, assigned_ahead(self._context.processors, self._order_seconds))
        if not ahead or self._order_seconds <= _UNBEGUN_SECONDS:
            return ahead
        # Handlers that began together end together: only for those that are about to end.
        ending_us = round((self._order_seconds - _UNBEGUN_SECONDS) * 1e6)
        now = self._context.clock.monotonic_us()
        ending, next_us = 0, None
        for began_us in self._roster.begun_us():
            left_us = began_us + ending_us - now
            if left_us <= 0:
                ending += 1
                if ending == ahead:
                    return ahead
            elif next_us is None or left_us < next_us:
                next_us = left_us
        if self._end_check is not None:
            self._context.clock.cancel(self._end_check)
        self._end_check = None if next_us is None else self.tell_self_after(next_us / 1e6, ClaimsRunLow())
        return ending

    def _assign(self, records: Sequence[OrderRecord]) -> None:
        if records:
            now = self._context.clock.now_us()
            self._assigning += len(records)
            self._head_us = records[-1].ready_us
            self._context.recorder.tell(AssignOrders([move(record, lifecycle.ASSIGN, now) for record in records]))

    def _is_turn_of_the_others(self) -> bool:
        """Whether orders may be claimed that are not suspected; those that are come first, one by one, each alone."""
        alone = self._claims.alone
        if alone is not None and self._is_over(alone):
            self._context.suspects.discard(alone)
            self._claims.alone = alone = None
            self._alone_by_us = 0
        if alone is None and not self._pending.has_suspects:
            return True
        now = self._context.clock.monotonic_us()
        if not self._alone_by_us:
            self._alone_by_us = now + _ALONE_US
            self.tell_self_after(_ALONE_US / 1e6, CheckClaims())
        is_overdue = now >= self._alone_by_us
        if alone is None and (is_overdue or not (self._roster.busy or self._assigning or len(self._claims))):
            suspect = self._pending.take_suspect()
            self._claims.alone = suspect.sequence
            self._alone_by_us = 0
            self._assign([suspect])
            return self._is_turn_of_the_others()
        return alone is not None and is_overdue

    def _is_over(self, sequence: int) -> bool:
        return not self._pending.holds(sequence) and not self._claims.has(sequence, self._roster.busy.values())

    def _measure(self) -> None:
        ended = self._claims.ended()
        if ended.orders:
            latest = ended.seconds / ended.orders
            past = 0.8**ended.orders
            self._order_seconds = max(latest, past * self._order_seconds + (1 - past) * latest)
            self._may_claim_ahead = True

    def _take_claimed(self, assigned: Sequence[OrderRecord], refused: Sequence[OrderRecord]) -> None:
        is_recalled = self._count_assigned(len(assigned) + len(refused))
        self._pending.let_go((*assigned, *refused))
        if self._is_stopping:
            self._return(assigned, _UNBEGUN)
        elif self._context.control.is_paused:
            self._let_others_run(assigned)
            self._return(assigned, _PAUSED)
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
            if not (is_their_fault and self._pending.leave_out(step.before)):
                self._pending.put_back(step.before, is_suspected=is_suspected)

    def _dispatch(self) -> None:
        waiting = len(self._claims)
        if waiting:
            self._roster.wake_up(self._hands_wanted(waiting))
            if self._claims_check is None:
                self._check_claims_later()
        self._watch()

    def _hands_wanted(self, waiting: int) -> int:
        """How many more processors are to take part: where the handler is quick, fewer are in each other's way."""
        wanted = ceil(waiting * self._order_seconds / _SHARE_SECONDS)
        since_us = self._context.clock.monotonic_us() - round(_SHARE_SECONDS * 1e6)
        for began_us in self._roster.begun_us():
            if wanted <= 0:
                break
            wanted -= began_us > since_us  # it will be back for the next one in a moment
        return max(1, wanted)  # those that are at work may turn out to be slow

    def _check_claims_later(self) -> None:
        # One for each that is between two orders needs no look: a thread begins it, or the processor says it is idle.
        if (since_us := self._claims.unattended_us(self._roster.busy.values())) is not None:
            patience = _SHARE_SECONDS if self._roster.idle else _UNBEGUN_SECONDS
            waited = (self._context.clock.monotonic_us() - since_us) / 1e6
            self._claims_check = self.tell_self_after(max(0.0, patience - waited), CheckClaims())

    def _run_low(self) -> None:
        self.tell_self(ClaimsRunLow())

    def _help_claims(self) -> None:
        if self._roster.idle:
            self._roster.wake_up(len(self._claims))
        else:
            self._return_late()

    def _return_late(self) -> None:
        # Handlers that were quick have become slow: what was claimed for them has to wait, and says so.
        now = self._context.clock.monotonic_us()
        late = self._claims.take_back_late(now - round(_UNBEGUN_SECONDS * 1e6), self._roster.busy.values())
        if late:
            longest_us = now - min(self._roster.begun_us(), default=now)
            self._order_seconds = max(self._order_seconds, longest_us / 1e6)
            self._may_claim_ahead = False
            self._recalled = self._assigning
            self._return_unattended(late)

    def _return_unbegun(self) -> None:
        if unbegun := self._claims.take_back():
            self._let_others_run(unbegun)
            self._return(unbegun, _PAUSED)

    def _let_others_run(self, returned: Sequence[OrderRecord]) -> None:
        if any(record.sequence == self._claims.alone for record in returned):
            self._claims.alone = None

    def _return_unattended(self, records: Sequence[OrderRecord]) -> None:
        self._let_others_run(records)
        self._returning.update(record.sequence for record in records)
        self._pending.wake_soon()  # should nobody hear of them
        self._return(records, _NOBODY_FREE)

    def _watch(self) -> None:
        timeout = self._context.config.handler_timeout
        if timeout is not None and self._roster.busy and self._timeout_check is None:
            now = self._context.clock.monotonic_us()
            passed = (now - min(self._roster.begun_us(), default=now)) / 1e6
            self._timeout_check = self.tell_self_after(timeout - passed, CheckTimeouts())

    def _check_timeouts(self) -> None:
        timeout = self._context.config.handler_timeout
        if timeout is None:
            return
        now = self._context.clock.monotonic_us()
        for processor, hand in list(self._roster.busy.items()):
            record, began_us = hand.record, hand.began_us
            is_late = began_us is not None and now - began_us >= round(timeout * 1e6)
            if record is not None and is_late and self._claims.abandon(hand, record):
                # Nothing can end a thread: the order moves on without it, and its late result is refused by its
                # attempt. A worker process can be killed: its processor takes its leave as soon as it has noticed.
                self._roster.abandon(processor)
                self._find_out(record, describe_overrun(timeout))
                self._roster.replace()

    def _find_out(self, record: OrderRecord, error: str, *, pays: bool = True) -> None:
        reply = self._context.prober.ask(record.order)
        if reply.is_done:
            self._settle(record, error, reply.get(), pays=pays)
        else:
            self._asking[record.attempt] = record
            reply.when_done(lambda: self.tell_self(EffectFound(record, error, reply.get(), pays)))

    def _settle(self, record: OrderRecord, error: str, effect: Effect, *, pays: bool) -> None:
        if not pays and not self._is_stopping:
            self._context.suspects.add(record.sequence)
        step = settle(record, effect, self._context.now(), error, self._context.config, self._head_us, pays=pays)
        self._context.recorder.tell(OrdersHandled(deque([step])))

    def _release(self, request: ReleaseOrder) -> None:
        record, command = request
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
            self._pending.pause()

    def _pass_on(self, commands: Sequence[CancelOrder]) -> None:
        for command in commands:
            try:
                self._context.recorder.tell(command)
            except ActorDeadError:
                fail(command.reply, EngineStopped())

    def _wind_down(self) -> None:
        self._return(self._claims.take_back(), _UNBEGUN)
        if self._stopping is not None and not self._roster.busy and not self._assigning and not self._asking:
            self._stopping.set()
            self._stopping = None

    def _abandon(self) -> None:
        # The stop waits on for what is with the recorder: it comes back as Processing, and is returned then.
        for hand in self._roster.busy.values():
            self._claims.abandon(hand, None)
        in_hand = [hand.record for hand in self._roster.busy.values() if hand.record is not None]
        self._roster.abandon_all()
        self._leave(in_hand)

    def _leave(self, in_hand: Sequence[OrderRecord]) -> None:
        left = [*in_hand, *self._asking.values()]
        self._asking.clear()
        if not left:
            return
        if self._context.prober.has_probe:
            # The effect may happen as long as the handler runs, so it ends with the process. The file of what has
            # begun says that no crash was the reason.
            fate = "stay Processing until the next start asks the probe"
        else:
            for record in left:
                self._settle(record, _ABANDONED, self._context.prober.ask(record.order).get(), pays=False)
            is_retried = self._context.config.on_interrupted is OnInterrupted.RETRY
            fate = "go back to Pending" if is_retried else "wait in Review"
        order_ids = ", ".join(some([record.order_id for record in left]))
        self._log.warning("handlers did not return in time: %s %s", order_ids, fate)

    def _return(self, records: Sequence[OrderRecord], reason: str) -> None:
        if records:
            now = self._context.now()
            steps = (put_back(record, now, reason, self._head_us) for record in records)
            self._context.recorder.tell(OrdersHandled(deque(steps)))


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
    return 4 * (_MOST_AHEAD + 1) * max(_LEAST_PROCESSORS, processors)
