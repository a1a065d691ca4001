"""Requests: what callers want of an engine, in this process or in another one; each has a `reply`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from pykka import Future

from ..store.domain.bulk_action import BulkAction, BulkRequest
from ..store.domain.idempotency_key import IdempotencyKey
from ..store.domain.lifecycle import OrderStatus
from ..store.domain.order import Order
from ..store.domain.outcome import Acceptance
from ..store.domain.outlook import Outlook, Promised
from ..store.domain.queue_settings import QueueChange, QueueState
from ..store.domain.record import ENGINE, Cause, OrderRecord
from ..store.domain.rehearsal import Rehearsal, Scenario
from ..store.domain.schedule import Schedule
from ..store.domain.webhook import WebhookChange
from .reply import Reply
from .snapshot import Chart, ControlSnapshot, Exposition, MetricsSnapshot, ProcessorSnapshot
from .telemetry.history import Window


class SubmitOrders(NamedTuple):
    """To intake, to the recorder: store these new orders in one transaction."""

    orders: Sequence[Order]
    """As they were handed in, duplicates and conflicts among them."""
    reply: Future[list[Acceptance]]
    """Set once they are on disk: an answer for each order, in the same sequence."""
    causes: Sequence[Cause] = ()
    """Who brings each of them; empty where nothing is known."""
    idempotency: IdempotencyKey | None = None
    """The client's name for that request, if it has one; it is one then."""


class CancelOrder(NamedTuple):
    """To the recorder: cancel an order that no handler has begun."""

    order_id: str
    """Which one."""
    reply: Future[OrderRecord]
    """Set with the order as it is afterwards, once that is on disk."""
    reason: str | None = None
    """Why, in words for people; None for the usual ones."""
    cause: Cause = ENGINE
    """Who wants it."""


class RetryOrder(NamedTuple):
    """To the recorder: have an order that is Failed, in Review, or Pending for a later time handled at once."""

    order_id: str
    """Which one."""
    reply: Future[OrderRecord]
    """Set with the order as it is afterwards, once that is on disk."""
    reason: str | None = None
    """Why, in words for people; None for the usual ones."""
    cause: Cause = ENGINE
    """Who wants it."""


class SettleOrder(NamedTuple):
    """To the recorder: end the Review of an order."""

    order_id: str
    """Which one."""
    status: OrderStatus
    """Completed or Failed."""
    reply: Future[OrderRecord]
    """Set with the order as it is afterwards, once that is on disk."""
    reason: str | None = None
    """Why, in the operator's words; None for the usual ones."""
    cause: Cause = ENGINE
    """Who wants it."""


class RescheduleOrder(NamedTuple):
    """To the recorder: give an order that no handler has begun another schedule."""

    order_id: str
    """Which one."""
    schedule: Schedule
    """What is to be another one."""
    reply: Future[OrderRecord]
    """Set with the order as it is afterwards, once that is on disk."""
    reason: str | None = None
    """Why, in words for people; None where nothing was said."""
    cause: Cause = ENGINE
    """Who wants it."""


class AwaitOrder(NamedTuple):
    """To the waiters, and to the recorder where the order is terminal already: tell when it may be terminal."""

    order_id: str
    """Which one."""
    timeout: float | None
    """Seconds after which to tell anyway; None tells nothing before something happens."""
    reply: Reply[None]
    """Set when the order is worth a look. Who waits no longer sets it before that."""


class AwaitEvents(NamedTuple):
    """To those who wait for events: tell when the log of all transitions has gone on."""

    after: int
    """Beyond which id."""
    reply: Reply[None]
    """Set when there is more. Who waits no longer sets it before that."""


class Rehearse(NamedTuple):
    """To a process of its own: say what is likely to become of the backlog."""

    scenario: Scenario
    """What is to be rehearsed."""
    reply: Reply[Rehearsal]
    """Set with what came of it. Who wants to know no longer sets it before that."""


Wait = AwaitOrder | AwaitEvents | Rehearse
"""A request that may be answered late, or never."""


class Drain(NamedTuple):
    """To the metrics actor: tell when nothing is Pending or Processing."""

    reply: Future[MetricsSnapshot]
    """Set with the metrics of that moment."""


class TakeSnapshot(NamedTuple):
    """To the metrics actor: say how things are."""

    reply: Future[MetricsSnapshot]
    """Set with the metrics of that moment."""


class TakeExposition(NamedTuple):
    """To the metrics actor: say how things are, for a system that records it."""

    reply: Future[Exposition]
    """Set with that."""


class DrawChart(NamedTuple):
    """To the metrics actor: say what was done when."""

    window: Window
    """How far back."""
    reply: Future[Chart]
    """Set with that."""


class TakeOutlook(NamedTuple):
    """To the metrics actor: say when an order will be over, and why it waits."""

    order_id: str
    """Which one."""
    reply: Future[Outlook]
    """Set with that."""


class TakePromises(NamedTuple):
    """To the metrics actor: say how likely new orders are completed by the times that they are to be."""

    orders: Sequence[Order]
    """Which ones; they may be stored already."""
    reply: Future[list[Promised | None]]
    """Set with that; None for each that says no time, and where it is too low, for each that is stored already."""


class ListProcessors(NamedTuple):
    """To the metrics actor: say what each processor is up to."""

    reply: Future[list[ProcessorSnapshot]]
    """Set with that."""


class PauseEngine(NamedTuple):
    """To the recorder: start no order any more."""

    reply: Future[ControlSnapshot]
    """Set with how things are once no order is started."""
    seconds: float | None = None
    """How long; None until somebody resumes."""
    reason: str | None = None
    """Why, in words for people."""
    cause: Cause = ENGINE
    """Who wants it."""


class ResumeEngine(NamedTuple):
    """To the recorder: start orders again."""

    reply: Future[ControlSnapshot]
    """Set with how things are then."""
    reason: str | None = None
    """Why, in words for people."""
    cause: Cause = ENGINE
    """Who wants it."""


class SetProcessors(NamedTuple):
    """To the recorder: have so many processors from now on."""

    processors: int | None
    """How many; None for as many as are configured."""
    reply: Future[ControlSnapshot]
    """Set with how things are then."""
    reason: str | None = None
    """Why, in words for people."""
    cause: Cause = ENGINE
    """Who wants it."""


class SetQueue(NamedTuple):
    """To the recorder: pause or resume a queue, or give it other limits."""

    queue: str
    """Which one."""
    change: QueueChange
    """What is to be another one about it."""
    reply: Future[QueueState]
    """Set with how things are then."""
    reason: str | None = None
    """Why, in words for people."""
    cause: Cause = ENGINE
    """Who wants it."""


class ReadQueues(NamedTuple):
    """To the recorder: say how all queues are set and doing."""

    reply: Future[list[QueueState]]
    """Set with that."""


class StartAction(NamedTuple):
    """To the recorder: do something to all orders that a filter means, some at a time."""

    request: BulkRequest
    """What, and to which orders."""
    matched: int
    """How many these are."""
    reply: Future[BulkAction]
    """Set once it is written down."""
    reason: str | None = None
    """Why, in words for people."""
    cause: Cause = ENGINE
    """Who wants it."""


class StopAction(NamedTuple):
    """To the recorder: carry a bulk action out no further."""

    action_id: int
    """Which one."""
    reply: Future[BulkAction]
    """Set with the action as it is then."""
    reason: str | None = None
    """Why, in words for people."""
    cause: Cause = ENGINE
    """Who wants it."""


class ReadControl(NamedTuple):
    """To the recorder: say what operators have set."""

    reply: Future[ControlSnapshot]
    """Set with it."""


class ChangeWebhooks(NamedTuple):
    """To the recorder: make, change, delete, replay or test a webhook."""

    change: WebhookChange
    """What is wanted."""
    reply: Future[Any]
    """Set with what has come of it, once that is on disk."""
    cause: Cause = ENGINE
    """Who wants it."""


Request = (
    SubmitOrders
    | CancelOrder
    | RetryOrder
    | SettleOrder
    | RescheduleOrder
    | Wait
    | TakeSnapshot
    | TakeExposition
    | DrawChart
    | ListProcessors
    | TakeOutlook
    | TakePromises
    | Drain
    | PauseEngine
    | ResumeEngine
    | SetProcessors
    | SetQueue
    | ReadQueues
    | ReadControl
    | ChangeWebhooks
    | StartAction
    | StopAction
)
"""Any of them."""
