"""5. Metrics: running aggregates, told of each transaction, exact at any moment that it is asked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import TypeVar

from pykka import Future

from ...store.domain import lifecycle
from ...store.domain.errors import EngineStopped, OrderNotFound, StoreUnavailable
from ...store.reader import Reader
from ..reply import Reply, answer, fail
from ..requests import Drain, DrawChart, ListProcessors, TakeExposition, TakeOutlook, TakePromises, TakeSnapshot
from ..snapshot import Chart, Exposition, MetricsSnapshot
from ..telemetry.history import Point, Window
from ..telemetry.telemetry import Telemetry
from .base import EngineActor
from .context import EngineContext
from .messages import LedgerCommitted, ReadTotals, TotalsRead
from .outlooks import Outlooks

T = TypeVar("T")

Inquiry = TakeSnapshot | TakeExposition | DrawChart | ListProcessors | TakeOutlook | TakePromises


class MetricsActor(EngineActor):
    """Keeps the totals of the database in memory, and adds up what was done since the start.

    Args:
        context: the engine's actors and settings.
        totals: the totals at the start, by their names in the database.
        reader: for what is told of single orders.
    """

    def __init__(self, context: EngineContext, totals: Counter[str], reader: Reader) -> None:
        super().__init__(context)
        self._totals = totals
        self._outlooks = Outlooks(context, reader)
        self._started_us = context.clock.monotonic_us()
        self._telemetry = Telemetry(context.queue_clock.now_us())
        self._draining: list[Future[MetricsSnapshot]] = []

    def rebuild(self) -> None:
        """Ask for the totals."""
        self._context.recorder.tell(ReadTotals())

    def on_stop(self) -> None:
        """Tell those who wait that it will not happen."""
        for reply in self._draining:
            fail(reply, EngineStopped())

    def receive(self, message: LedgerCommitted | TotalsRead | Inquiry | Drain) -> None:
        """Add what was recorded, or answer."""
        match message:
            case LedgerCommitted(changes, progress):
                self._totals.update(changes)
                if progress is not None:
                    self._telemetry.add(progress)
                self._answer_drained()
            case TotalsRead(totals):
                self._totals = totals
                self._answer_drained()
            case TakeSnapshot(reply):
                answer(reply, self._snapshot())
            case TakeExposition(reply):
                answer(reply, Exposition(self._snapshot(), self._telemetry.done, self._telemetry.histograms()))
            case DrawChart(window, reply):
                answer(reply, Chart(window, self._points(window)))
            case ListProcessors(reply):
                answer(reply, self._context.processor_snapshots())
            case TakeOutlook(order_id, reply):
                _answer_with(reply, partial(self._outlooks.of, order_id))
            case TakePromises(orders, reply):
                _answer_with(reply, partial(self._outlooks.promises, orders))
            case Drain(reply):
                self._draining = [waiting for waiting in self._draining if not _has_left(waiting)]
                self._draining.append(reply)
                self._mailbox.is_in_a_hurry = True
                self.catch_up()  # with what came before that, which wakes nobody up
                self._answer_drained()

    def _answer_drained(self) -> None:
        if not self._draining or self._backlog():
            return
        drained, self._draining = self._draining, []
        self._mailbox.is_in_a_hurry = False
        try:
            snapshot = self._snapshot()
        except BaseException as error:
            for reply in drained:
                fail(reply, error)
            raise
        for reply in drained:
            answer(reply, snapshot)

    def _backlog(self) -> int:
        return sum(self._totals[status] for status in lifecycle.BACKLOG)

    def _points(self, window: Window) -> list[Point]:
        return self._telemetry.points(window, self._context.queue_clock.now_us(), self._context.clock.now_us())

    def _snapshot(self) -> MetricsSnapshot:
        context, telemetry = self._context, self._telemetry
        now_us = context.queue_clock.now_us()
        return MetricsSnapshot.of(
            self._totals,
            simulated=context.is_simulated,
            backlog=self._backlog(),
            processors=context.processors,
            processors_busy=context.busy(),
            paused=context.control.is_paused,
            rates=telemetry.rates(now_us),
            timings=telemetry.timings(now_us),
            attempts=telemetry.attempts(),
            commits=telemetry.commits(now_us),
            mailboxes=context.mailboxes(),
            wal_bytes=None if context.database is None else context.database.log_bytes(),
            abandoned_handlers=context.abandoned,
            incidents=context.incidents.counts().total(),
            outlooks=context.accuracy,
            uptime_seconds=(context.clock.monotonic_us() - self._started_us) / 1e6,
        )


def _answer_with(reply: Future[T], of: Callable[[], T]) -> None:
    try:
        told = of()
    except (OrderNotFound, StoreUnavailable) as error:
        fail(reply, error)
    else:
        answer(reply, told)


def _has_left(waiting: Future[MetricsSnapshot]) -> bool:
    return isinstance(waiting, Reply) and waiting.is_done
