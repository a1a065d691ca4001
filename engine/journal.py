"""The journal: a line of the log for each transition, for whoever wants to read along."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from itertools import zip_longest

from ..store import lifecycle
from ..store.ledger import Outcome, Recorded
from ..store.lifecycle import OrderStatus
from ..store.record import Move, OrderRecord

_GIVEN_UP = (OrderStatus.FAILED, OrderStatus.REVIEW)
"""Where an order waits for a person."""

_log = logging.getLogger("ordermill.engine.transitions")


def log_transitions(recorded: Recorded, request_ids: Sequence[str | None]) -> None:
    """Log what a transaction stored: an order that the engine gives up as a warning, a failed attempt as information,
    any other step for debugging.

    Args:
        recorded: what was stored.
        request_ids: the request that brought each of the orders handed in; empty where none did.
    """
    if _log.isEnabledFor(logging.DEBUG):
        for (outcome, record), request_id in zip_longest(recorded.acceptances, request_ids):
            if outcome is Outcome.ACCEPTED:
                _log_transition(logging.DEBUG, record, lifecycle.ACCEPT.why, request_id)
    for step in recorded.moved:
        level = _level(step)
        if _log.isEnabledFor(level):
            _log_transition(level, step.after, step.reason, step.request_id)


def _level(step: Move) -> int:
    if step.before.status is OrderStatus.PROCESSING and step.after.status in _GIVEN_UP:
        return logging.WARNING
    return logging.INFO if step.after.failures > step.before.failures else logging.DEBUG


def _log_transition(level: int, after: OrderRecord, reason: str, request_id: str | None) -> None:
    extra = {"request_id": request_id, "order_id": after.order_id, "attempt": after.attempts}
    _log.log(level, "order %s is %s: %s", after.order_id, after.status, reason, extra=extra)
