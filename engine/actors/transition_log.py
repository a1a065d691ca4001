"""Transition log: a line of the log for each transition, for whoever wants to read along."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from itertools import repeat

from ...store.domain import lifecycle
from ...store.domain.outcome import Outcome, Recorded
from ...store.domain.record import ENGINE, Cause, Move, OrderRecord
from ..logger import EngineLogger

_GIVES_UP = frozenset({lifecycle.FAIL, lifecycle.PARK})
"""The edges to where an order waits for a person."""
_ENDS_BADLY = _GIVES_UP | {lifecycle.RETURN}
"""The edges that may be more than a detail."""

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
    elif _ENDS_BADLY.isdisjoint(recorded.taken):
        return
    for step in recorded.moved:
        level = _level(step)
        if _log.isEnabledFor(level):
            _log_transition(level, step.after, step.reason, step.cause)


def _level(step: Move) -> int:
    if step.edge in _GIVES_UP:
        return logging.WARNING
    is_failure = step.edge in _ENDS_BADLY and step.after.failures > step.before.failures
    return logging.INFO if is_failure else logging.DEBUG


def _log_transition(level: int, after: OrderRecord, reason: str, cause: Cause) -> None:
    extra = {"request_id": cause.request_id, "order_id": after.order_id, "attempt": after.attempts}
    _log.log(level, "order %s is %s: %s", after.order_id, after.status, reason, extra=extra)
