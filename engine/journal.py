"""The journal: a line of the log for each transition, for whoever wants to read along."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from itertools import zip_longest

from ..store import lifecycle
from ..store.ledger import Outcome, Recorded
from ..store.record import OrderRecord
from .logger import EngineLogger

_log = EngineLogger("ordermill.engine.transitions")


def log_transitions(recorded: Recorded, request_ids: Sequence[str | None]) -> None:
    """Log what a transaction stored, at the level of debugging.

    Args:
        recorded: what was stored.
        request_ids: the request that brought each of the orders handed in; empty where none did.
    """
    if not _log.isEnabledFor(logging.DEBUG):
        return
    for (outcome, record), request_id in zip_longest(recorded.acceptances, request_ids):
        if outcome is Outcome.ACCEPTED:
            _log_transition(record, lifecycle.ACCEPT.why, request_id)
    for step in recorded.moved:
        _log_transition(step.after, step.reason, step.request_id)


def _log_transition(after: OrderRecord, reason: str, request_id: str | None) -> None:
    extra = {"request_id": request_id, "order_id": after.order_id, "attempt": after.attempts}
    _log.debug("order %s is %s: %s", after.order_id, after.status, reason, extra=extra)
