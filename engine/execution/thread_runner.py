"""Thread runner: the handler runs in the processor's own thread."""

from __future__ import annotations

from ...store.domain.order import Order
from .attempt import Outcome, attempt
from .handler import Handler
from .runner import Begin, Runner


class ThreadRunner(Runner):
    """In the processor's own thread.

    Args:
        handler: called with each order.
    """

    def __init__(self, handler: Handler) -> None:
        self._handler = handler

    def run(self, order: Order, begin: Begin) -> Outcome:  # noqa: ARG002  # it begins at once
        """Put an order through the handler."""
        return attempt(self._handler, order)
