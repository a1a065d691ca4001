"""4. Processors: each puts one order at a time through the handler and says how that ended."""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from functools import partial

from pykka import ActorDeadError

from ...store.domain import lifecycle
from ...store.domain.record import Move, OrderRecord, move
from ..execution.attempt import Failed, Lost, NotBegun, Outcome, Overran, Rejected, Returned, describe_overrun
from ..execution.handler import describe
from ..execution.retry import after_failure
from .base import EngineActor
from .claims import Claims, Hand
from .context import EngineContext
from .messages import (
    GetReady,
    HandlerLost,
    HandlerNotBegun,
    OrdersHandled,
    ProcessOrders,
    ProcessorIdle,
    ProcessorUnfit,
)

_TAKEN_BACK = "the engine stopped before it was begun"


class ProcessorActor(EngineActor):
    """Runs the handler. Whatever the handler raises is a result, never the end of the processor.

    Args:
        context: the engine's actors and settings.
        claims: where it gets its orders.
        hand: where it says what it works at.
    """

    def __init__(self, context: EngineContext, claims: Claims, hand: Hand) -> None:
        super().__init__(context)
        self._claims = claims
        self._hand = hand
        self._results: deque[Move] = deque()
        self._runner = context.runners[self.actor_urn] = context.make_runner()

    def on_stop(self) -> None:
        """Let go of where the handler ran."""
        self._context.runners.pop(self.actor_urn, None)
        self._runner.close()

    def receive(self, message: ProcessOrders | GetReady) -> None:
        """Put orders through the handler until none is left, and tell each result at once."""
        if isinstance(message, GetReady):
            self._get_ready()
            return
        trouble = None
        while trouble is None and (record := self._claims.take(self._hand, begins=self._runner.begins_at_once)):
            trouble = self._put_through(record)
        self._claims.put_down(self._hand)
        self._be_there(trouble)

    def rebuild(self) -> None:
        """Be there for more."""
        self._claims.put_down(self._hand)
        self._get_ready()

    def _get_ready(self) -> None:
        self._be_there(self._prepare())

    def _prepare(self) -> str | None:
        try:
            return self._runner.prepare()
        except BaseException as error:
            self.note_incident(error)
            return describe(error)

    def _be_there(self, trouble: str | None) -> None:
        processor = self.actor_ref
        self._tell_pool(ProcessorIdle(processor) if trouble is None else ProcessorUnfit(processor, trouble))

    def _tell_pool(self, message: ProcessorIdle | ProcessorUnfit | HandlerLost | HandlerNotBegun) -> None:
        with suppress(ActorDeadError):  # where the engine did not wait for this handler any longer
            self._context.pool.tell(message)

    def _put_through(self, record: OrderRecord) -> str | None:
        """Put an order through the handler; what keeps others from being put through it afterwards."""
        try:
            run = partial(self._runner.run, record.order, partial(self._claims.begin, self._hand, record))
            tracing = self._context.tracing
            outcome = run() if tracing is None else tracing.attempt(record, run)
            step = self._step(record, outcome)
        except BaseException as error:  # not the handler's: without a result the order would be in hand for ever
            self.note_incident(error)
            reason = f"its result cannot be told: {type(error).__name__}"
            self._tell(move(record, lifecycle.FAIL, self._context.clock.now_us(), reason, error=reason))
            return None
        if isinstance(step, Move):
            self._tell(step)
        else:
            self._tell_pool(step)
        if isinstance(outcome, Lost):
            return self._prepare()
        return outcome.trouble if isinstance(outcome, NotBegun) else None

    def _step(self, record: OrderRecord, outcome: Outcome) -> Move | HandlerLost | HandlerNotBegun:
        if isinstance(outcome, Returned):
            return move(record, lifecycle.COMPLETE, self._context.clock.now_us())
        now, config = self._context.now(), self._context.config
        match outcome:
            case Rejected(text):
                reason = f"rejected: {text}"
                return move(record, lifecycle.FAIL, now.at_us, reason, error=reason)
            case Failed(error, traceback, retry_after):
                self._log.debug("order %s, attempt %d: %s", record.order_id, record.attempts, traceback)
                return after_failure(record, now, error, config, retry_after)
            case Overran(seconds):
                return HandlerLost(self.actor_ref, record, describe_overrun(seconds))
            case Lost(why, has_company):
                return HandlerLost(self.actor_ref, record, why, pays=not has_company)
            case NotBegun(trouble):
                reason = _TAKEN_BACK if trouble is None else f"it was not begun: {trouble}"
                return HandlerNotBegun(self.actor_ref, record, reason)

    def _tell(self, result: Move) -> None:
        # One message stands for all results until the recorder takes them: while it is busy they gather by themselves.
        self._results.append(result)
        if len(self._results) == 1:
            try:
                self._context.recorder.tell(OrdersHandled(self._results))
            except ActorDeadError:
                self._log.warning(
                    "order %s ended after the engine had stopped: its result is lost", result.after.order_id
                )
