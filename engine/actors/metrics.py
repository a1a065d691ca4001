"""5. Metrics: running aggregates, told of each transaction, exact at any moment that it is asked."""

from __future__ import annotations

from collections import Counter

from pykka import Future

from ...store.domain import lifecycle
from ...store.domain.errors import EngineStopped
from ..reply import Reply, answer, fail
from ..requests import Drain, TakeSnapshot
from ..snapshot import MetricsSnapshot
from .base import EngineActor
from .context import EngineContext
from .messages import LedgerCommitted, ReadTotals, TotalsRead


class MetricsActor(EngineActor):
    """Keeps the totals of the database in memory.

    Args:
        context: the engine's actors and settings.
        totals: the totals at the start, by their names in the database.
    """

    def __init__(self, context: EngineContext, totals: Counter[str]) -> None:
        super().__init__(context)
        self._totals = totals
        self._started_us = context.clock.monotonic_us()
        self._draining: list[Future[MetricsSnapshot]] = []

    def rebuild(self) -> None:
        """Ask for the totals."""
        self._context.recorder.tell(ReadTotals())

    def on_stop(self) -> None:
        """Tell those who wait that it will not happen."""
        for reply in self._draining:
            fail(reply, EngineStopped())

    def receive(self, message: LedgerCommitted | TotalsRead | TakeSnapshot | Drain) -> None:
        """Add what was recorded, or answer."""
        match message:
            case LedgerCommitted(changes):
                self._totals.update(changes)
                self._answer_drained()
            case TotalsRead(totals):
                self._totals = totals
                self._answer_drained()
            case TakeSnapshot(reply):
                answer(reply, self._snapshot())
            case Drain(reply):
                self._draining = [waiting for waiting in self._draining if not _has_left(waiting)]
                self._draining.append(reply)
                self._mailbox.is_in_a_hurry = True
                self.catch_up()  # with what came before that, which wakes nobody up
                self._answer_drained()

    def _answer_drained(self) -> None:
        if self._draining and not self._backlog():
            for reply in self._draining:
                answer(reply, self._snapshot())
            self._draining.clear()
            self._mailbox.is_in_a_hurry = False

    def _backlog(self) -> int:
        return sum(self._totals[status] for status in lifecycle.BACKLOG)

    def _snapshot(self) -> MetricsSnapshot:
        return MetricsSnapshot.of(
            self._totals,
            simulated=self._context.is_simulated,
            backlog=self._backlog(),
            processors=self._context.processors,
            paused=self._context.control.is_paused,
            abandoned_handlers=self._context.abandoned,
            incidents=self._context.incidents.counts().total(),
            uptime_seconds=(self._context.clock.monotonic_us() - self._started_us) / 1e6,
        )


def _has_left(waiting: Future[MetricsSnapshot]) -> bool:
    return isinstance(waiting, Reply) and waiting.is_done
