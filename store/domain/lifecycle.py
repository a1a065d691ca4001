"""The statuses of an order and every legal edge between them: who moves an order along it, and why."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple


class OrderStatus(StrEnum):
    """Where an order is. Each member says who moves the order on."""

    PENDING = "Pending"
    """Accepted and waiting. The pool gives it to a processor; a client or an operator may cancel it. An operator may
    hurry one that waits for its next attempt."""
    PROCESSING = "Processing"
    """With a processor, or about to be. The processor moves it on; the pool does where the handler was cut short or was
    not begun in time, and recovery where the engine died meanwhile."""
    COMPLETED = "Completed"
    """Done. Nobody moves it on."""
    FAILED = "Failed"
    """Rejected by the handler, or out of attempts. An operator may retry it."""
    CANCELLED = "Cancelled"
    """Cancelled before work began. Nobody moves it on."""
    REVIEW = "Review"
    """The handler was cut short, and nobody can tell whether its effect happened. An operator settles or retries."""

    @property
    def is_terminal(self) -> bool:
        """Whether processing is over (an operator may still retry a Failed order).

        Example:
            >>> OrderStatus("Completed").is_terminal
            True
            >>> with OrderEngine("orders.db", handler=lambda order: None) as engine:
            ...     engine.submit(make_order("o-1")).wait(timeout=30)
            ...     [step.to_status.value for step in engine.history("o-1")]
            <OrderStatus.COMPLETED: 'Completed'>
            ['Pending', 'Processing', 'Completed']
        """
        return self in _TERMINAL


_TERMINAL = frozenset({OrderStatus.COMPLETED, OrderStatus.FAILED, OrderStatus.CANCELLED})


class Edge(NamedTuple):
    """One legal way from a status to another. Callers name an edge; nobody assigns a status."""

    source: OrderStatus | None
    """The status that the order must have; None where the order is not there yet."""
    target: OrderStatus
    """The status that it gets."""
    mover: str
    """Who moves an order along this edge."""
    why: str
    """The reason recorded where the mover gives no better one."""


ACCEPT = Edge(None, OrderStatus.PENDING, "intake", "accepted")
ASSIGN = Edge(OrderStatus.PENDING, OrderStatus.PROCESSING, "pool", "assigned to a processor")
CANCEL = Edge(OrderStatus.PENDING, OrderStatus.CANCELLED, "client or operator", "cancelled before work began")
COMPLETE = Edge(OrderStatus.PROCESSING, OrderStatus.COMPLETED, "processor, pool or recovery", "the handler returned")
RETURN = Edge(OrderStatus.PROCESSING, OrderStatus.PENDING, "processor, pool or recovery", "to be tried again")
FAIL = Edge(OrderStatus.PROCESSING, OrderStatus.FAILED, "processor, pool or recovery", "rejected, or out of attempts")
PARK = Edge(OrderStatus.PROCESSING, OrderStatus.REVIEW, "pool or recovery", "the handler was cut short")
RETRY_REVIEWED = Edge(OrderStatus.REVIEW, OrderStatus.PENDING, "operator", "retried by an operator")
RETRY_FAILED = Edge(OrderStatus.FAILED, OrderStatus.PENDING, "operator", "retried by an operator")
HURRY = Edge(OrderStatus.PENDING, OrderStatus.PENDING, "operator", "hurried by an operator")
RESCHEDULE = Edge(OrderStatus.PENDING, OrderStatus.PENDING, "operator", "rescheduled")
SETTLE_COMPLETED = Edge(OrderStatus.REVIEW, OrderStatus.COMPLETED, "operator", "settled by an operator")
SETTLE_FAILED = Edge(OrderStatus.REVIEW, OrderStatus.FAILED, "operator", "settled by an operator")

EDGES: tuple[Edge, ...] = (
    ACCEPT,
    ASSIGN,
    CANCEL,
    COMPLETE,
    RETURN,
    FAIL,
    PARK,
    RETRY_REVIEWED,
    RETRY_FAILED,
    HURRY,
    RESCHEDULE,
    SETTLE_COMPLETED,
    SETTLE_FAILED,
)

RETRIES = frozenset({RETRY_REVIEWED, RETRY_FAILED, HURRY})
"""An operator's retries: the order is ready at once, and none of its failures counts any more."""

SETTLE = {edge.target: edge for edge in (SETTLE_COMPLETED, SETTLE_FAILED)}
"""An operator's ways to end a Review, by the status that the order gets."""
SETTLED_RULE = " or ".join(SETTLE)

BACKLOG = frozenset({OrderStatus.PENDING, OrderStatus.PROCESSING})
"""The statuses of orders that the engine still has to work on."""
FINISHES = frozenset(edge for edge in EDGES if edge.source in BACKLOG and edge.target not in BACKLOG)
"""The edges out of the backlog."""
BEGINS_ANEW = frozenset(edge for edge in EDGES if edge.source not in {None, *BACKLOG} and edge.target in BACKLOG)
"""The edges back into the backlog."""
