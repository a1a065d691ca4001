"""Service times: how long the processors were taken by each attempt, from what the histories of orders say.

An order is Processing from its claim on, and may have waited for a processor after that; and a processor may have
waited for the next order to be recorded. Both are told apart by going through the attempts as the processors did, each
by the one that was free first (R. C. Larson, "The queue inference engine: deducing queue statistics from transactional
data", Management Science 36(5), 1990).
"""

from __future__ import annotations

from collections.abc import Sequence
from heapq import heapify, heapreplace
from random import Random
from typing import NamedTuple

from ...store.attempts import Attempted
from ...store.domain.lifecycle import OrderStatus
from ..execution.retry import is_failure

LEAST_ATTEMPTS = 20
"""With fewer measured ones nothing is foretold."""

COMPLETED, FAILED, OVER = range(3)
"""How an attempt ends: as it should, with an error after which it is tried again, or for good in some other way."""

_LONGEST_GAP_US = 100_000
"""A processor that was free for longer had not been waiting for a commit: the engine was paused, or not running."""
_NEVER = -(1 << 62)


class Service(NamedTuple):
    """What an attempt took of a processor, in microseconds, and how it ended."""

    took_us: int
    end: int


def service_times(attempts: Sequence[Attempted], processors: int) -> list[Service]:
    """What attempts took.

    Args:
        attempts: in the sequence in which they were begun. Those that were taken back before their handler began are
            passed over.
        processors: how many there were.
    """
    free = [_NEVER] * processors
    heapify(free)
    found = []
    for attempt in attempts:
        end = _end_of(attempt)
        if end is None:
            continue
        free_us = free[0]
        has_waited = attempt.ready_us is not None and attempt.ready_us <= free_us
        is_recorded_late = has_waited and free_us >= attempt.began_us - _LONGEST_GAP_US
        begin_us = free_us if is_recorded_late else max(attempt.began_us, free_us)
        found.append(Service(max(0, attempt.ended_us - begin_us), end))
        heapreplace(free, max(free_us, attempt.ended_us))
    return found


def _end_of(attempt: Attempted) -> int | None:
    if attempt.status is OrderStatus.COMPLETED:
        return COMPLETED
    if is_failure(attempt.reason):
        return FAILED
    return None if attempt.status is OrderStatus.PENDING else OVER


def resampled(services: Sequence[Service], random: Random) -> list[Service]:
    """As many service times as these, such as might have been measured as well.

    They are drawn in blocks, since what follows one after another is alike: the moving block bootstrap (H. R. Künsch,
    "The jackknife and the bootstrap for general stationary observations", Annals of Statistics 17(3), 1989), whose
    blocks grow with the cube root of their number.

    Args:
        services: those that were measured, in the sequence in which they were begun.
        random: decides.
    """
    count = len(services)
    length = max(1, round(count ** (1 / 3)))
    drawn: list[Service] = []
    while len(drawn) < count:
        begin = random.randrange(count)
        drawn += services[begin : begin + length]
    return drawn[:count]
