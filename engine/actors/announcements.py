"""Announcements: from what was recorded to the messages that tell the other actors of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any

from pykka import ActorRef

from ...store.domain import lifecycle
from ...store.domain.lifecycle import OrderStatus
from ...store.domain.order import Order
from ...store.domain.outcome import Recorded
from ..logger import EngineLogger
from ..telemetry.progress import Progress
from .backlog import users_released
from .context import EngineContext
from .messages import BacklogRead, BacklogReleased, LedgerCommitted, TotalsRead

_PROCESSING = OrderStatus.PROCESSING  # to look it up in the enumeration takes longer than what it is needed for


class Announcements:
    """Tells the other actors what a transaction has done.

    Args:
        context: whom to tell.
        tell: tells an actor a message.
        tell_unhurried: likewise, and does not wake it up for that.
        log: for what is worth a line.
    """

    def __init__(
        self,
        context: EngineContext,
        tell: Callable[[ActorRef[Any], object], None],
        tell_unhurried: Callable[[ActorRef[Any], object], None],
        log: EngineLogger,
    ) -> None:
        self._context = context
        self._tell = tell
        # All that intake and the metrics actor hear from here, so that they hear it in sequence.
        self._tell_unhurried = tell_unhurried
        self._log = log
        self._counts_users = context.config.user_backlog is not None
        self.received = 0
        """How many orders the recorder has got from intake, whatever became of them."""

    def tell_totals(self, orders: Sequence[Order], recorded: Recorded, began_us: int) -> None:
        """Tell intake and the metrics actor what the transaction has changed for them.

        Args:
            orders: those that were to be stored.
            recorded: what was.
            began_us: when the transaction began, on the queue's clock, in microseconds.
        """
        worked_off = sum(count for edge, count in recorded.taken.items() if edge in lifecycle.FINISHES)
        taken_up = sum(count for edge, count in recorded.taken.items() if edge in lifecycle.BEGINS_ANEW)
        not_new = len(recorded.acceptances) - recorded.taken[lifecycle.ACCEPT]
        released = not_new + worked_off - taken_up
        # Intake before the metrics: whoever learns from them that an order is over finds its room in the backlog free.
        users = users_released(orders, recorded) if self._counts_users else None
        if released or worked_off or users:
            self._tell_intake(released, worked_off, users)
        self.tell_metrics(recorded.changes, Progress.of(recorded, began_us, self._context.queue_clock.now_us()))

    def tell_metrics(self, changes: Counter[str], progress: Progress | None = None) -> None:
        """Tell the metrics actor what a transaction has brought.

        Args:
            changes: what it added to each of the running totals.
            progress: what became of orders; None where it only removed some.
        """
        self._tell_unhurried(self._context.metrics, LedgerCommitted(changes, progress))

    def _tell_intake(self, released: int, worked_off: int, users: Counter[str] | None) -> None:
        now_us = self._context.clock.monotonic_us()
        message = BacklogReleased(released, now_us, worked_off, users, self.received)
        self._tell_unhurried(self._context.intake, message)

    def wake(self, recorded: Recorded) -> None:
        """Wake those who wait for these orders, those who follow all of them, and the sender of webhooks."""
        late = [step.after for step in recorded.refused]
        for record in late:
            self._log.info("order %s moved on before: not recorded as %s", record.order_id, record.status)
        finished = (step.after for step in recorded.moved if step.after.status not in lifecycle.BACKLOG)
        self._context.waiters.wake(chain(finished, late))  # these may be over as well: whoever waits looks again
        self._context.event_waiters.wake()
        if recorded.has_events:
            self._context.wake_sender()

    def forget_begun(self, recorded: Recorded) -> None:
        """What was noted of these attempts when they began is needed no more."""
        if (begun := self._context.begun) is not None:
            steps = chain(recorded.moved, recorded.refused)  # who is refused has moved on before
            begun.forget([step.before for step in steps if step.edge.source is _PROCESSING])

    def release(self, orders: Sequence[Order]) -> None:
        """Tell intake of orders that were not stored."""
        users = Counter(order.user_id for order in orders) if self._counts_users else None
        self._tell_intake(len(orders), 0, users)

    def begin_anew(self, totals: Counter[str], users: Counter[str] | None) -> None:
        """Tell all how things are, whatever they were told before.

        Args:
            totals: the running totals.
            users: the unfinished orders of each user; None where they are not limited.
        """
        backlog = sum(totals[status] for status in lifecycle.BACKLOG)
        self._tell_unhurried(self._context.intake, BacklogRead(backlog, self.received, users))
        self._tell_unhurried(self._context.metrics, TotalsRead(totals))
