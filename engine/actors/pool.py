"""3. Pool: when the next orders are claimed, and who processes them."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from math import ceil

from pykka import Future

from ...store.domain.errors import TransitionRefused
from ...store.domain.lifecycle import OrderStatus
from ...store.domain.record import Attempt, OrderRecord
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
    CheckClaims,
    CheckTimeouts,
    ClaimOrders,
    ClaimsRunLow,
    ClaimsStopped,
    ControlChanged,
    EffectFound,
    HandlerLost,
    HandlerNotBegun,
    LeaseOver,
    OrderReleased,
    OrdersClaimed,
    OrdersHandled,
    OrdersLeft,
    ProcessorIdle,
    ProcessorUnfit,
    QueueChanged,
    ReleaseOrder,
    SlotsChanged,
    StopClaims,
    StopWork,
    TryOrder,
    TryProcessors,
    WakeUp,
)
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
_UNBEGUN = "the engine stopped before it was begun"
_ABANDONED = "the engine stopped before the handler returned"
_PAUSED = "the engine was paused before it was begun"
_QUEUE_PAUSED = "a queue was paused before it was begun"
_NOBODY_FREE = "no processor was free in time"
_RELEASED = "it was not begun yet"
_LEASE_OVER = "the engine lost its lease before it was begun"
_LEFT = "the engine that had it in hand was lost"

Message = (
    OrdersClaimed
    | ProcessorIdle
    | ProcessorUnfit
    | TryProcessors
    | SlotsChanged
    | ClaimsRunLow
    | CheckClaims
    | ControlChanged
    | QueueChanged
    | TryOrder
    | HandlerLost
    | HandlerNotBegun
    | EffectFound
    | LeaseOver
    | OrdersLeft
    | ReleaseOrder
    | WakeUp
    | CheckTimeouts
    | ClaimsStopped
    | StopWork
    | AbandonWork
)


class PoolActor(EngineActor):
    """Has orders claimed for processors: recorded first, begun afterwards.

    The recorder is told for how many there is room. An order comes from it into the claims (Processing, on disk), and
    from there to whichever processor is idle first.

    Args:
        context: the engine's actors and settings.
    """

    def __init__(self, context: EngineContext) -> None:
        super().__init__(context)
        self._given = 0  # orders by the recorder, since the start
        self._claimed: ClaimOrders | None = None  # what it was told last
        self._recalls = 0  # how often orders were returned since no processor was free
        self._claims = Claims(context.clock.monotonic_us, context.begun, self._run_low)
        self._roster = Roster(context, self._claims, self.tell_self_after, self._log)
        self._asking: dict[Attempt, OrderRecord] = {}  # whose handler was cut short, until their effect is known
        self._timeout_check: Timer | None = None
        self._claims_check: Timer | None = None
        self._end_check: Timer | None = None
        self._order_seconds = 1.0  # of the handler for one order: the recent mean, or the latest where that is longer
        self._may_claim_ahead = True
        self._most_ahead = _MOST_AHEAD * max(_LEAST_PROCESSORS, context.processors)  # however many there will be
        self._trial: int | None = None  # how many may be given although the engine is paused, all together
        self._is_stopping = False
        self._may_be_given_more = True
        self._stopping: Future[None] | None = None  # who waits for the stop

    def on_stop(self) -> None:
        """Stop the processors; one whose handler still runs ends with it."""
        self._roster.stop()

    def rebuild(self) -> None:
        """Take in what was given, and say again what there is room for."""
        for message in self._in_hand:
            if isinstance(message, OrdersClaimed):
                self._take_in(message)
        self.tell_self(WakeUp())

    def receive(self, message: Message) -> None:
        """Take note of what happened, then move on all that can be."""
        match message:
            case OrdersClaimed():
                self._take_in(message)
            case ProcessorIdle(processor):
                self._roster.note_idle(processor)
            case ProcessorUnfit(processor, trouble):
                is_missed = self._roster.note_unfit(processor, trouble)
                if is_missed and not self._roster.is_anybody_fit:
                    self._return(self._claims.take_back(), f"it was not begun: {trouble}")
            case TryProcessors():
                self._roster.try_again()
            case SlotsChanged():
                self._roster.note_slots()
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
            case LeaseOver():
                self._let_go()
            case OrdersLeft(records):
                for record in records:
                    self._find_out(record, _LEFT)
            case ReleaseOrder():
                self._release(message)
            case ControlChanged():
                self._trial = None
                self._roster.replace()
            case QueueChanged(state=state):
                if state.paused:  # those of other queues have their places still
                    self._return(self._claims.take_back(), _QUEUE_PAUSED)
            case TryOrder():
                if self._context.control.error is not None and not len(self._claims):
                    self._trial = self._given + 1
            case CheckTimeouts():
                self._timeout_check = None
                self._check_timeouts()
            case WakeUp():
                self._claimed = None
                # At the start, which has named all actors before it told this, none of them is there yet.
                self._roster.replace()
            case ClaimsStopped():
                self._may_be_given_more = False
            case StopWork(reply):
                self._stopping = reply
                self._is_stopping = True
                self._roster.close()
                self._context.recorder.tell(StopClaims())
            case AbandonWork():
                self._abandon()
        if self._is_stopping:
            self._wind_down()
        else:
            if self._context.control.is_paused and self._trial is None:
                self._return(self._claims.take_back(), _PAUSED)
            self._claim()
        self._dispatch()
        if isinstance(message, ControlChanged):
            answer(message.reply, message.control)
        elif isinstance(message, QueueChanged):
            answer(message.reply, message.state)

    def _take_in(self, claimed: OrdersClaimed) -> None:
        if claimed.given <= self._given:  # before an error that came afterwards
            return
        self._given = claimed.given
        self._claims.alone = claimed.alone
        if self._is_stopping:
            self._return(claimed.records, _UNBEGUN)
        elif claimed.recalls < self._recalls:  # those that were returned come before them
            self._return(claimed.records, _NOBODY_FREE)
        else:
            self._claims.put(claimed.records)

    def _claim(self) -> None:
        room, ahead = self._room()
        claim, told = ClaimOrders(self._given + room, self._recalls), self._claimed
        # Where there is room for a few more than were told of, that can wait: it would only wake the recorder up.
        if told is None or told.recalls != claim.recalls or not 0 <= claim.up_to - told.up_to <= ahead // 4:
            self._claimed = told = claim
            self._context.recorder.tell(claim)
        self._claims.low_water = ceil(ahead / 2) - (told.up_to - self._given)

    def _room(self) -> tuple[int, int]:
        """How many orders may be given that are not in hand yet, and how many of these are claimed ahead."""
        self._measure()
        if not self._roster.is_anybody_fit:
            return 0, 0
        if self._context.control.is_paused:
            return (0 if self._trial is None else max(0, self._trial - self._given)), 0
        ahead = self._ahead() if self._may_claim_ahead else 0
        return max(0, len(self._roster.idle) + ahead - len(self._claims)), ahead

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

    def _measure(self) -> None:
        ended = self._claims.ended()
        if ended.orders:
            latest = ended.seconds / ended.orders
            past = 0.8**ended.orders
            self._order_seconds = max(latest, past * self._order_seconds + (1 - past) * latest)
            self._may_claim_ahead = True

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
            self._recalls += 1
            self._return(late, _NOBODY_FREE)

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
        step = settle(record, effect, self._context.now(), error, self._context.config, pays=pays)
        self._context.recorder.tell(OrdersHandled(deque([step])))

    def _release(self, request: ReleaseOrder) -> None:
        record, command = request
        if (unbegun := self._claims.release(record.sequence)) is not None:
            step = put_back(unbegun, self._context.now(), _RELEASED)
            self._context.recorder.tell(OrderReleased(step, command))
        else:
            wanted = OrderStatus.CANCELLED if isinstance(command, CancelOrder) else OrderStatus.PENDING
            fail(command.reply, TransitionRefused(record.order_id, record.status, wanted))

    def _wind_down(self) -> None:
        self._return(self._claims.take_back(), _UNBEGUN)
        if self._stopping is not None and not (self._roster.busy or self._may_be_given_more or self._asking):
            self._stopping.set()
            self._stopping = None

    def _abandon(self) -> None:
        # The stop waits on for what is with the recorder: it comes back as Processing, and is returned then.
        for hand in self._roster.busy.values():
            self._claims.abandon(hand, None)
        in_hand = [hand.record for hand in self._roster.busy.values() if hand.record is not None]
        self._roster.abandon_all()
        self._leave(in_hand)

    def _let_go(self) -> None:
        # Others settle what was in hand. What was not begun comes back unharmed, if they have not come to it.
        self._return(self._claims.take_back(), _LEASE_OVER)
        for processor, hand in list(self._roster.busy.items()):
            self._claims.abandon(hand, None)
            self._roster.abandon(processor)
        self._asking.clear()
        self._roster.replace()

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
            steps = (put_back(record, now, reason) for record in records)
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
