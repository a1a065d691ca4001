"""A handler that stops where a test wants to look."""

from __future__ import annotations

import queue
import threading

from ...store.domain.order import Order

_SECONDS = 60.0


class Held:
    """A handler that holds every order until the test releases it, so that what happens meanwhile can be looked at.

    Release it before the engine stops, which waits for the handlers.

    Example:
        >>> handler = Held()
        >>> with OrderEngine("orders.db", handler=handler, processors=1) as engine:
        ...     receipt = engine.submit(make_order("o-1"))
        ...     handler.begun()
        ...     engine.status("o-1").value
        ...     handler.release()
        ...     receipt.wait(timeout=5).value
        'o-1'
        'Processing'
        'Completed'
    """

    def __init__(self) -> None:
        self._begun: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._released = threading.Event()

    def __call__(self, order: Order) -> None:
        """Wait for the release.

        Raises:
            TimeoutError: it has not come within a minute.
        """
        self._begun.put(order.order_id)
        if not self._released.wait(_SECONDS):
            raise TimeoutError("the test has not released the handler")

    def begun(self, timeout: float = 20.0) -> str:
        """The id of the next order that the handler was called with, waited for.

        Args:
            timeout: seconds to wait for it at most.

        Raises:
            TimeoutError: the handler was not called.
        """
        try:
            return self._begun.get(timeout=timeout)
        except queue.Empty:
            raise TimeoutError("the handler was not called with a further order") from None

    def has_begun_more(self) -> bool:
        """Whether the handler was called with an order that `begun` has not given yet."""
        return not self._begun.empty()

    def release(self) -> None:
        """Let all orders go, now and from now on."""
        self._released.set()
