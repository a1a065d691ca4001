"""1. Intake: admits orders while there is room in the backlog, and hands them on."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import partial
from typing import Any

from ...store import queries
from ...store.domain.errors import BacklogFull, EngineStopped, StoreUnavailable, UserBacklogFull
from ...store.domain.order import Order
from ...store.reader import Reader
from ..reply import fail
from ..requests import SubmitOrders
from .backlog import Backlog
from .base import EngineActor
from .context import EngineContext
from .messages import BacklogRead, BacklogReleased, Close, ReadTotals


class IntakeActor(EngineActor):
    """Admission. A submission is admitted whole or not at all.

    Args:
        context: the engine's actors and settings.
        backlog: unfinished orders.
        reader: for what is stored already, which needs no room.
    """

    def __init__(self, context: EngineContext, backlog: Backlog, reader: Reader) -> None:
        super().__init__(context)
        self._backlog = backlog
        self._reader = reader
        self._is_open = True
        self._lock = threading.Lock()
        context.admit = self.admit

    def admit(self, message: SubmitOrders) -> None:
        """Handle a submission at once, in the caller's thread: to wake up this one costs more.

        Where that would mean to wait, or to read, it is left to this one.

        Args:
            message: the submission.
        """
        if self._lock.acquire(blocking=False):
            try:
                self.catch_up()
                if self._backlog.has_room(message.orders):
                    self._handle(message)
                    return
            finally:
                self._lock.release()
        self.actor_ref.tell(message)

    def on_receive(self, message: Any) -> None:
        """As any actor."""
        with self._lock:
            super().on_receive(message)

    def rebuild(self) -> None:
        """Ask for the backlog: whether the order that it went wrong with is in it, nobody knows here."""
        self._context.recorder.tell(ReadTotals())

    def receive(self, message: SubmitOrders | BacklogReleased | BacklogRead | Close) -> None:
        """Admit what fits, refuse what does not."""
        match message:
            case SubmitOrders():
                self._submit(message)
            case BacklogReleased():
                self._backlog.release(message)
            case BacklogRead():
                self._backlog.begin_anew(message)
            case Close(reply):
                self._is_open = False
                reply.set()

    def _submit(self, message: SubmitOrders) -> None:
        if not self._is_open:
            fail(message.reply, EngineStopped())
            return
        try:
            self._check(message.orders)
        except (BacklogFull, UserBacklogFull, StoreUnavailable) as error:
            fail(message.reply, error)
            return
        self._context.recorder.tell(message)
        self._backlog.add(message.orders)

    def _check(self, orders: Sequence[Order]) -> None:
        try:
            self._backlog.check(orders)
        except (BacklogFull, UserBacklogFull):
            # What was sent before is answered all the same. Only here, since looking costs more than counting.
            first = {order.order_id: order for order in reversed(orders)}
            stored = self._reader.read(partial(queries.stored, order_ids=[*first]))
            self._backlog.check([order for order_id, order in first.items() if order_id not in stored])
