"""Transition log: a line of the log for each transition, for whoever wants to read along."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from itertools import repeat

from ...store.domain import lifecycle
from ...store.domain.lifecycle import OrderStatus
from ...store.domain.outcome import Outcome, Recorded
from ...store.domain.record import ENGINE, Cause, Move, OrderRecord
from ..logger import EngineLogger

_GIVEN_UP = (OrderStatus.FAILED, OrderStatus.REVIEW)
"""Where an order waits for a person."""

_log = EngineLogger("ordermill.engine.transitions")


def log_transitions(recorded: Recorded, causes: Sequence[Cause]) -> None:
    """Log what a transaction stored: an order that the engine gives up as a warning, a failed attempt as information,
    any other step for debugging.

    Args:
        recorded: what was stored.
        causes: who brought each of the orders handed in; empty where nothing is known.
    """
    if _log.isEnabledFor(logging.DEBUG):
        for (outcome, record), cause in zip(recorded.acceptances, causes or repeat(ENGINE), strict=False):
            if outcome is Outcome.ACCEPTED:
                _log_transition(logging.DEBUG, record, lifecycle.ACCEPT.why, cause)
    for step in recorded.moved:
        level = _level(step)
        if _log.isEnabledFor(level):
            _log_transition(level, step.after, step.reason, step.cause)


def _level(step: Move) -> int:
    if step.before.status is OrderStatus.PROCESSING and step.after.status in _GIVEN_UP:
        return logging.WARNING
    return logging.INFO if step.after.failures > step.before.failures else logging.DEBUG


def _log_transition(level: int, after: OrderRecord, reason: str, cause: Cause) -> None:
    extra = {"request_id": cause.request_id, "order_id": after.order_id, "attempt": after.attempts}
    _log.log(level, "order %s is %s: %s", after.order_id, after.status, reason, extra=extra)
