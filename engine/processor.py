"""4. Processors: each puts one order at a time through the handler and says how that ended."""

from __future__ import annotations

import random
import time
from collections import deque
from contextlib import suppress

from pykka import ActorDeadError

from ..store import lifecycle
from ..store.record import Move, OrderRecord, move
from .actor import EngineActor
from .clock import Moment
from .config import EngineConfig
from .crew import Crew
from .executor import HandlerFailed, WorkerDied
from .handler import Reject, describe, shorten
from .messages import OrdersHandled, ProcessOrders, ProcessorIdle


class ProcessorActor(EngineActor):
    """Runs the handler. Whatever the handler raises is a result, never the end of the processor.

    Args:
        crew: the engine's actors and settings.
    """

    def __init__(self, crew: Crew) -> None:
        super().__init__(crew)
        self._results: deque[Move] = deque()
        self._bench = crew.benches[self.actor_urn] = crew.make_bench()

    def on_start(self) -> None:
        """Get ready."""
        self._bench.prepare()

    def on_stop(self) -> None:
        """Let go of where the handler ran."""
        self._crew.benches.pop(self.actor_urn, None)
        self._bench.close()

    def receive(self, message: ProcessOrders) -> None:
        """Put the orders through the handler, and tell each result at once."""
        handled = 0
        began = time.perf_counter()
        clock = self._crew.clock
        while (record := message.work.begin(clock.monotonic_us())) is not None:
            self._tell(self._result(record))
            handled += 1
        self._be_idle(handled, time.perf_counter() - began)

    def rebuild(self) -> None:
        """Be there for more; the pool takes back what was not begun."""
        self._be_idle(0, 0.0)

    def _be_idle(self, handled: int, seconds: float) -> None:
        with suppress(ActorDeadError):  # where the engine did not wait for this handler any longer
            self._crew.pool.tell(ProcessorIdle(self.actor_ref, handled, seconds))

    def _result(self, record: OrderRecord) -> Move:
        try:
            return self._handle(record)
        except BaseException as error:  # not the handler's: without a result the order would be in hand for ever
            self.note_incident(error)
            reason = f"its result cannot be told: {type(error).__name__}"
            return move(record, lifecycle.FAIL, self._crew.clock.now_us(), reason, error=reason)

    def _handle(self, record: OrderRecord) -> Move:
        clock = self._crew.clock
        try:
            self._bench.run(record.order)
        except Reject as rejection:
            reason = f"rejected: {shorten(rejection.reason)}"
            return move(record, lifecycle.FAIL, clock.now_us(), reason, error=reason)
        except (HandlerFailed, WorkerDied) as error:
            return after_failure(record, self._crew.now(), str(error), self._crew.config)
        except BaseException as error:  # a handler's SystemExit is a failed attempt like any other
            extra = {"order_id": record.order_id, "attempt": record.attempts}
            self._log.debug("the handler raised", exc_info=True, extra=extra)
            return after_failure(record, self._crew.now(), describe(error), self._crew.config)
        return move(record, lifecycle.COMPLETE, clock.now_us())

    def _tell(self, result: Move) -> None:
        # One message stands for all results until the recorder takes them: while it is busy they gather by themselves.
        self._results.append(result)
        if len(self._results) == 1:
            try:
                self._crew.recorder.tell(OrdersHandled(self._results))
            except ActorDeadError:
                self._log.warning(
                    "order %s ended after the engine had stopped: it is Pending again", result.after.order_id
                )


def after_failure(record: OrderRecord, now: Moment, error: str, config: EngineConfig, *, at_once: bool = False) -> Move:
    """The step that follows a failed attempt: tried again later, or Failed when the attempts are used up.

    Args:
        record: an order that is Processing.
        now: when the attempt ended.
        error: what went wrong.
        config: for the number of attempts and the delays.
        at_once: whether it is tried again at its old place in the sequence, without delay.
    """
    failures = record.failures + 1
    if failures >= config.max_attempts:
        reason = f"{error}; failed attempt {failures} of {config.max_attempts}"
        return move(record, lifecycle.FAIL, now.at_us, reason, error=error)
    if at_once:
        return put_back(record, now, error, error=error)
    delay = retry_delay_seconds(failures, config)
    reason = f"{error}; tried again in {delay:.1f} s"
    ready_us = now.queue_us + round(delay * 1e6)
    return move(record, lifecycle.RETURN, now.at_us, reason, ready_us=ready_us, error=error)


def put_back(record: OrderRecord, now: Moment, reason: str, *, error: str | None = None) -> Move:
    """The step back to Pending, at the order's old place in the sequence: it has waited long enough.

    Args:
        record: an order that is Processing.
        now: when.
        reason: why.
        error: what went wrong in the attempt, which counts as failed; None where it does not.
    """
    # Its stamp may be of a clock that was ahead.
    ready_us = min(record.created_us, now.queue_us)
    return move(record, lifecycle.RETURN, now.at_us, reason, ready_us=ready_us, error=error)


def retry_delay_seconds(failures: int, config: EngineConfig) -> float:
    """How long to wait before the next attempt, in seconds.

    Exponential backoff with "equal jitter": half of the delay is fixed, half is random, so that orders that failed
    together do not come back together (M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015).

    Args:
        failures: failed attempts so far, 1 or more.
        config: for the first and the longest delay.
    """
    delay = min(config.retry_max_seconds, config.retry_seconds * 2.0 ** (failures - 1))
    return delay * random.uniform(0.5, 1.0)  # spreads load, keeps no secret
