"""Retry: the steps of an order that is to be handled again, and when its turn comes."""

from __future__ import annotations

import random
from collections.abc import Callable

from msgspec.structs import replace

from ...store.domain import lifecycle
from ...store.domain.record import Move, OrderRecord, move
from ..clock import Moment
from ..config import EngineConfig

Draw = Callable[[float, float], float]

_TRIED_AGAIN, _USED_UP = "; tried again in ", "; failed attempt "


def after_failure(
    record: OrderRecord, now: Moment, error: str, config: EngineConfig, retry_after: float | None = None
) -> Move:
    """The step that follows a failed attempt: tried again later, or Failed when the attempts are used up.

    Args:
        record: an order that is Processing.
        now: when the attempt ended.
        error: what went wrong.
        config: for the number of attempts and the delays.
        retry_after: after how many seconds the next attempt is due, since the handler has said so: until then the
            limits that the order is under let none begin. None where it has not.
    """
    slowed_until_us = None if retry_after is None else now.queue_us + round(retry_after * 1e6)
    failures = record.failures + 1
    delay = next_attempt_seconds(failures, config)
    if delay is None:
        reason = f"{error}{_USED_UP}{failures} of {config.max_attempts}"
        step = move(record, lifecycle.FAIL, now.at_us, reason, error=error)
        return step if slowed_until_us is None else replace(step, slowed_until_us=slowed_until_us)
    delay = delay if retry_after is None else retry_after
    reason = f"{error}{_TRIED_AGAIN}{delay:.1f} s"
    ready_us = now.queue_us + round(delay * 1e6)
    step = move(record, lifecycle.RETURN, now.at_us, reason, ready_us=ready_us, error=error)
    return step if slowed_until_us is None else replace(step, slowed_until_us=slowed_until_us)


def is_failure(reason: str) -> bool:
    """Whether a step was that of `after_failure`, by its reason."""
    return _TRIED_AGAIN in reason or _USED_UP in reason


def put_back(record: OrderRecord, now: Moment, reason: str) -> Move:
    """The step back to Pending without a failure, to the order's old place in the queue.

    Args:
        record: an order that is Processing.
        now: when.
        reason: why.
    """
    return move(record, lifecycle.RETURN, now.at_us, reason, ready_us=now.queue_us)


def next_attempt_seconds(failures: int, config: EngineConfig, draw: Draw = random.uniform) -> float | None:
    """How long to wait before the next attempt, in seconds; None where there is none.

    Args:
        failures: failed attempts so far, 1 or more.
        config: for the number of attempts and the delays.
        draw: gives a number between two at random.
    """
    return None if failures >= config.max_attempts else retry_delay_seconds(failures, config, draw)


def retry_delay_seconds(failures: int, config: EngineConfig, draw: Draw = random.uniform) -> float:
    """How long to wait before the next attempt, in seconds.

    Exponential backoff with "equal jitter": half of the delay is fixed, half is random, so that orders that failed
    together do not come back together (M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015).

    Args:
        failures: failed attempts so far, 1 or more.
        config: for the first and the longest delay.
        draw: gives a number between two at random.
    """
    delay = min(config.retry_max_seconds, config.retry_seconds * 2.0 ** (failures - 1))
    return delay * draw(0.5, 1.0)  # spreads load, keeps no secret
