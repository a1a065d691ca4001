"""The journal: a line of the log for each transition, for whoever wants to read along."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from itertools import repeat

from ..store import lifecycle
from ..store.ledger import Outcome, Recorded
from ..store.record import ENGINE, Cause, OrderRecord
from .logger import EngineLogger

_log = EngineLogger("ordermill.engine.transitions")


def log_transitions(recorded: Recorded, causes: Sequence[Cause]) -> None:
    """Log what a transaction stored, at the level of debugging.

    Args:
        recorded: what was stored.
        causes: who brought each of the orders handed in; empty where nothing is known.
    """
    if not _log.isEnabledFor(logging.DEBUG):
        return
    for (outcome, record), cause in zip(recorded.acceptances, causes or repeat(ENGINE), strict=False):
        if outcome is Outcome.ACCEPTED:
            _log_transition(record, lifecycle.ACCEPT.why, cause)
    for step in recorded.moved:
        _log_transition(step.after, step.reason, step.cause)


def _log_transition(after: OrderRecord, reason: str, cause: Cause) -> None:
    extra = {"request_id": cause.request_id, "order_id": after.order_id, "attempt": after.attempts}
    _log.debug("order %s is %s: %s", after.order_id, after.status, reason, extra=extra)
