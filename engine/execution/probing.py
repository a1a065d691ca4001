"""Probing: asks the user's probe whether an order's effect has happened, in threads that nothing waits for."""

from __future__ import annotations

import logging
import threading
from collections import deque
from functools import partial

from ...store.domain.order import Order
from ..clock import Clock
from ..config import EngineConfig, OnInterrupted
from ..reply import Reply, answer
from .handler import Effect, Probe

_log = logging.getLogger("ordermill.engine.execution.probing")


class Prober:
    """Finds out about the effects of handlers that were cut short.

    Each order is asked about for a bounded time, and a bounded number at once. Where all of these hang, the others are
    unknown at once.

    Args:
        probe: what to ask; without one, `on_interrupted` says what to assume.
        clock: for the bound.
        config: the bounds.
    """

    def __init__(self, probe: Probe | None, clock: Clock, config: EngineConfig) -> None:
        self._probe = probe
        self._clock = clock
        self._config = config
        self._lock = threading.Lock()
        self._waiting: deque[tuple[Order, Reply[Effect]]] = deque()
        self._asked: set[Reply[Effect]] = set()
        self._hanging: set[Reply[Effect]] = set()
        self._threads = 0

    @property
    def has_probe(self) -> bool:
        """Whether anybody can be asked."""
        return self._probe is not None

    def ask(self, order: Order) -> Reply[Effect]:
        """Find out about an order. The reply comes in any thread, and never fails."""
        reply: Reply[Effect] = Reply()
        if self._probe is None:
            retries = self._config.on_interrupted is OnInterrupted.RETRY
            reply.set(Effect.NOT_DONE if retries else Effect.UNKNOWN)
            return reply
        with self._lock:
            is_hopeless = len(self._hanging) >= self._config.processors
            if not is_hopeless:
                self._waiting.append((order, reply))
                needs_thread = self._threads < self._config.processors
                self._threads += needs_thread
        if is_hopeless:
            reply.set(Effect.UNKNOWN)
        elif needs_thread:
            self._start_thread()
        return reply

    def _start_thread(self) -> None:
        try:
            # Nobody waits for it at the end of the program: it may hang.
            threading.Thread(target=self._run, name="ordermill-probe", daemon=True).start()
        except RuntimeError:
            _log.exception("no thread could be started to ask the probe")
            with self._lock:
                self._threads -= 1
                left = [] if self._threads else [reply for _, reply in self._waiting]
                if not self._threads:
                    self._waiting.clear()
            for reply in left:
                answer(reply, Effect.UNKNOWN)

    def _run(self) -> None:
        while True:
            with self._lock:
                if not self._waiting:
                    self._threads -= 1
                    return
                order, reply = self._waiting.popleft()
                self._asked.add(reply)
            timer = self._clock.call_after(self._config.probe_timeout, partial(self._give_up, order, reply))
            effect = self._ask(order)
            self._clock.cancel(timer)
            with self._lock:
                self._asked.discard(reply)
                self._hanging.discard(reply)
            answer(reply, effect)

    def _ask(self, order: Order) -> Effect:
        assert self._probe is not None
        try:
            return Effect(self._probe(order))
        except BaseException:  # a library's sys.exit() must not end anything either
            _log.exception("the probe failed for order %s: it waits in Review", order.order_id)
            return Effect.UNKNOWN

    def _give_up(self, order: Order, reply: Reply[Effect]) -> None:
        left = [reply]
        with self._lock:
            if reply not in self._asked:
                return
            self._asked.remove(reply)
            self._hanging.add(reply)
            if len(self._hanging) >= self._config.processors:
                left += [waiting for _, waiting in self._waiting]
                self._waiting.clear()
        _log.error(
            "the probe did not answer within %g s for order %s: it waits in Review",
            self._config.probe_timeout,
            order.order_id,
        )
        for unanswered in left:
            answer(unanswered, Effect.UNKNOWN)
