"""Webhooks: made, changed and deleted between two transactions of the recorder."""

from __future__ import annotations

import logging
from collections.abc import Callable

from ...store.domain.errors import NotLeading, OrdermillError, StoreUnavailable
from ...store.domain.webhook import DeleteWebhook
from ...store.outbox import Outbox
from ...store.webhooks import change_webhooks, remove_some
from ...store.writer import Writer
from ..logger import EngineLogger
from ..reply import answer, fail
from ..requests import ChangeWebhooks
from .context import EngineContext
from .messages import PruneDeliveries

_log = EngineLogger("ordermill.engine.webhooks")


class Webhooks:
    """Does what people want of webhooks, and removes what was sent to those that were deleted, a little at a time.

    Args:
        context: the engine's clock, and whom to wake.
        database: the connection that writes.
        tell: tells the recorder a message.
    """

    def __init__(self, context: EngineContext, database: Writer, tell: Callable[[object], None]) -> None:
        self._context = context
        self._tell = tell
        self._changes: list[ChangeWebhooks] = []
        self._has_to_remove = True  # the last engine may not have come to an end with it
        self.use(database)

    def use(self, database: Writer) -> None:
        """From now on, this connection is the one that writes."""
        self._database = database

    def note(self, message: ChangeWebhooks | PruneDeliveries) -> None:
        """The recorder was told this: it is done between two of its transactions."""
        if isinstance(message, ChangeWebhooks):
            self._changes.append(message)
        else:
            self._has_to_remove = True

    def work(self, outbox: Outbox) -> None:
        """Do what was noted.

        Args:
            outbox: learns which events are wanted.
        """
        changes, self._changes = self._changes, []
        for change in changes:
            self._change(change)
        if changes:
            outbox.load()
            self._context.wake_sender()
        if self._has_to_remove and self._context.leads:
            self._has_to_remove = False
            self._remove()

    def _change(self, message: ChangeWebhooks) -> None:
        at_us, queue_us = self._context.now()
        try:
            result = change_webhooks(self._database, message.change, message.cause, at_us, queue_us)
        except OrdermillError as error:
            fail(message.reply, error)
            return
        self._has_to_remove = self._has_to_remove or isinstance(message.change, DeleteWebhook)
        answer(message.reply, result)

    def _remove(self) -> None:
        try:
            with self._database.leading():
                is_more = remove_some(self._database)
            if is_more:
                self._tell(PruneDeliveries())
        except NotLeading:
            self._has_to_remove = True
        except StoreUnavailable as error:
            _log.log_seldom(logging.ERROR, "what was sent to deleted webhooks was not removed: %s", error)
