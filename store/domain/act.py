"""What people do to an engine and its orders, as the audit log has it."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

import msgspec

from . import lifecycle
from .lifecycle import Edge, OrderStatus
from .record import ENGINE, Cause, OrderRecord, utc


class Action(StrEnum):
    """What somebody has done."""

    PAUSE = "pause"
    """No order is started any more."""
    RESUME = "resume"
    """Orders are started again."""
    SET_PROCESSORS = "set processors"
    """There are so many from now on."""
    SET_QUEUE = "set queue"
    """A queue is paused, resumed, or has other limits from now on."""
    OPEN_BREAKER = "open breaker"
    """The engine has paused itself, since so many attempts have failed in a row."""
    CLOSE_BREAKER = "close breaker"
    """It has gone on, since an order has succeeded that it tried."""
    CANCEL = "cancel"
    RETRY = "retry"
    SETTLE = "settle"
    RESCHEDULE = "reschedule"
    CREATE_WEBHOOK = "create webhook"
    UPDATE_WEBHOOK = "update webhook"
    DELETE_WEBHOOK = "delete webhook"
    ROTATE_SECRET = "rotate secret of webhook"
    REPLAY_WEBHOOK = "replay webhook"
    TEST_WEBHOOK = "test webhook"


def edge_of(action: Action, record: OrderRecord, settled: OrderStatus | None = None) -> Edge:
    """The edge that an act takes an order along; whether the order is where it begins is up to `move`.

    Args:
        action: CANCEL, RETRY or SETTLE.
        record: the order.
        settled: what a SETTLE settles it as.
    """
    match action:
        case Action.CANCEL:
            return lifecycle.CANCEL
        case Action.SETTLE if settled is not None:
            return lifecycle.SETTLE[settled]
        case _ if record.status is OrderStatus.REVIEW:
            return lifecycle.RETRY_REVIEWED
        case _ if record.failures and record.status is OrderStatus.PENDING:
            return lifecycle.HURRY  # though it be ready by now: none of its failures counts any more
        case _:
            return lifecycle.RETRY_FAILED


class Act(NamedTuple):
    """Something that was done, not recorded yet."""

    action: Action
    target: str | None = None
    """What to: the order's id, or what was set; None for the engine as a whole."""
    reason: str | None = None
    """Why, in the words of whoever did it; None where nothing was said."""
    orders: int | None = None
    """How many orders it moved; None where it is not about orders."""
    cause: Cause = ENGINE
    """Who did it."""


class AuditEntry(msgspec.Struct, frozen=True):
    """Something that was done, as it is recorded."""

    id: int
    """Rises in the order of recording."""
    at_us: int
    """When, in microseconds since 1970-01-01T00:00:00Z."""
    action: str
    """A member of `Action`."""
    target: str | None
    """What to: the order's id, or what was set; None for the engine as a whole."""
    reason: str | None
    """Why, in the words of whoever did it; None where nothing was said."""
    orders: int | None
    """How many orders it moved; None where it is not about orders."""
    request_id: str | None
    """The request that it came with; None where none did."""
    acted_by: str | None
    """The name of the key that the request was sent with; None for the engine itself, and without a key."""

    @property
    def at(self) -> datetime:
        """When, in UTC."""
        return utc(self.at_us)
