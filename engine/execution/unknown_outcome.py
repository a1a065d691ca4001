"""Unknown outcome: what becomes of an order whose handler was cut short, so that nobody can tell how far it was."""

from __future__ import annotations

from ...store.domain import lifecycle
from ...store.domain.record import Move, OrderRecord, move
from ..clock import Moment
from ..config import EngineConfig
from .handler import Effect
from .retry import after_failure, put_back


def settle(
    record: OrderRecord,
    effect: Effect,
    now: Moment,
    reason: str,
    config: EngineConfig,
    *,
    pays: bool,
) -> Move:
    """The step of an order whose handler was cut short, wherever that happened.

    Args:
        record: an order that is Processing.
        effect: what is known about its effect.
        now: when.
        reason: what happened.
        config: for the number of attempts and the delays.
        pays: whether the attempt counts as failed if the effect is not done.
    """
    match effect:
        case Effect.DONE:
            return move(record, lifecycle.COMPLETE, now.at_us, f"{reason}; the probe found its effect done")
        case Effect.NOT_DONE if pays:
            return after_failure(record, now, reason, config)
        case Effect.NOT_DONE:
            return put_back(record, now, reason)
        case Effect.UNKNOWN:
            return move(record, lifecycle.PARK, now.at_us, reason, error=reason)
