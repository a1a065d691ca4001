"""Receipt: what a client gets for an order that was handed in."""

from __future__ import annotations

from collections.abc import Callable

from ..store.domain.lifecycle import OrderStatus
from ..store.domain.outcome import Acceptance, Outcome, error_of
from ..store.domain.record import OrderRecord


class Receipt:
    """The answer to one order, given once the order is on disk.

    Example:
        >>> with OrderEngine("orders.db", handler=lambda order: None) as engine:
        ...     engine.submit(make_order("o-1", user_id="u-1"))
        ...     engine.submit(make_order("o-1", user_id="u-1"))
        ...     engine.submit_many([make_order("o-1", user_id="u-2")])
        <Receipt o-1 accepted>
        <Receipt o-1 duplicate>
        [<Receipt o-1 conflict>]
    """

    __slots__ = ("_error", "_wait", "confidence", "outcome", "record")

    def __init__(self, acceptance: Acceptance, wait: Callable[[str, float | None], OrderStatus]) -> None:
        self.outcome: Outcome = acceptance.outcome
        """Whether the order is new, was stored before, conflicts with the one of that id, or is unlikely to be in
        time."""
        self.record: OrderRecord = acceptance.record
        """The stored order of that id, as it was when the receipt was given; where the order is unlikely to be in
        time, what it would have been."""
        self.confidence: float | None = None if acceptance.promise is None else acceptance.promise.confidence
        """How likely it is that a new order is over by the time that it is to be; None where it says none, or where
        too little is known."""
        self._error = error_of(acceptance)
        self._wait = wait

    @property
    def order_id(self) -> str:
        """The order's id."""
        return self.record.order_id

    def wait(self, timeout: float | None = None) -> OrderStatus:
        """Wait until processing is over for the order.

        Args:
            timeout: seconds; None waits for ever.

        Returns:
            Completed, Failed or Cancelled.

        Raises:
            TimeoutError: it was not over in time.
            OrderConflict: the order was not accepted, since its id is taken.
            DeadlineUnlikely: it was not, since it is unlikely to be completed in time.
            EngineStopped: the engine stopped meanwhile.
        """
        if self._error is not None:
            raise self._error
        return self._wait(self.order_id, timeout)

    def __repr__(self) -> str:
        return f"<Receipt {self.order_id} {self.outcome}>"
