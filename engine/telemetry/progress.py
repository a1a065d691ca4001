"""Progress: what one transaction has brought, for the numbers."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

from ...store.domain import lifecycle
from ...store.domain.failure import error_name
from ...store.domain.outcome import Recorded
from .durations import NOTHING, Measured

_FAILS = frozenset({lifecycle.RETURN, lifecycle.FAIL, lifecycle.PARK})
_ENDS_FAILED = (lifecycle.FAIL, lifecycle.SETTLE_FAILED)
_ENDS_COMPLETED = (lifecycle.COMPLETE, lifecycle.SETTLE_COMPLETED)


class Progress(NamedTuple):
    """What one transaction has brought. Durations are in microseconds."""

    at_us: int
    """When it was stored, on the queue's clock, in microseconds."""
    commit: Measured
    """How long that took."""
    steps: Measured
    """How many steps of orders it recorded."""
    accepted: int
    completed: int
    failed: int
    attempts: int
    """How many were begun."""
    retries: int
    """How many orders were made Pending again after an attempt had failed, or by an operator."""
    errors: Counter[str]
    """How many attempts have failed, by the class of the error."""
    queueing: Measured
    """From when orders could be processed to Processing; not of later attempts at orders that were not in memory, of
    which that is not known."""
    processing: Measured
    """From Processing to Completed, of the attempts that succeeded."""
    end_to_end: Measured
    """From the acceptance of the orders to Completed."""

    @classmethod
    def of(cls, recorded: Recorded, began_us: int, at_us: int) -> Progress:
        """What became of a transaction.

        Args:
            recorded: what it stored.
            began_us: when it began, on the queue's clock, in microseconds.
            at_us: when it was stored.
        """
        taken, moved = recorded.taken, recorded.moved
        queueing = processing = end_to_end = NOTHING
        if taken[lifecycle.ASSIGN]:
            assign = lifecycle.ASSIGN
            ready = [step.before.ready_us for step in moved if step.edge is assign]
            queueing = Measured.of([began_us - ready_us for ready_us in ready if ready_us is not None])
        if taken[lifecycle.COMPLETE]:
            complete = lifecycle.COMPLETE
            ended = [step for step in moved if step.edge is complete]
            processing = Measured.of([step.after.updated_us - step.before.updated_us for step in ended])
            end_to_end = Measured.of([step.after.updated_us - step.before.created_us for step in ended])
        retries = sum(taken[edge] for edge in lifecycle.RETRIES)
        errors: Counter[str] = Counter()
        if not _FAILS.isdisjoint(taken):
            failed = [step for step in moved if step.edge in _FAILS and step.after.failures > step.before.failures]
            retries += sum(step.edge is lifecycle.RETURN for step in failed)
            errors.update(error_name(step.after.last_error or "", step.after.order).kind for step in failed)
        return cls(
            at_us,
            Measured.of([at_us - began_us]),
            Measured.of([1_000 * taken.total()]),
            taken[lifecycle.ACCEPT],
            sum(taken[edge] for edge in _ENDS_COMPLETED),
            sum(taken[edge] for edge in _ENDS_FAILED),
            taken[lifecycle.ASSIGN],
            retries,
            errors,
            queueing,
            processing,
            end_to_end,
        )
