"""The order engine: everything that a program needs to embed it."""

from __future__ import annotations

from ..store.domain.act import Action, AuditEntry
from ..store.domain.bulk_action import ActionPreview, ActionState, BulkAction
from ..store.domain.durability import Durability
from ..store.domain.errors import (
    ActionNotFound,
    BacklogFull,
    DatabaseRefused,
    DeadlineUnlikely,
    EngineStopped,
    EventsGone,
    FieldFault,
    IdempotencyKeyReused,
    InvalidArgument,
    InvalidConfiguration,
    InvalidOrder,
    InvalidWebhook,
    OrderConflict,
    OrdermillError,
    OrderNotFound,
    RehearsalFailed,
    RehearsalsBusy,
    StoreUnavailable,
    SubmissionTooLarge,
    TooManyQueues,
    TransitionRefused,
    UserBacklogFull,
    UserSubmissionTooLarge,
    WebhookNotFound,
)
from ..store.domain.event import Event
from ..store.domain.failure import FailureGroup
from ..store.domain.idempotency_key import IdempotencyKey
from ..store.domain.lifecycle import OrderStatus
from ..store.domain.order import Order
from ..store.domain.order_filter import OrderFilter, OrderPage
from ..store.domain.outcome import Outcome
from ..store.domain.outlook import Accuracy, Expected, Outlook, Wait, WaitReason
from ..store.domain.queue_settings import QueueChange, QueueState
from ..store.domain.record import Cause, HistoryPage, OrderRecord, Transition
from ..store.domain.rehearsal import Outage, Rehearsal, Scenario
from ..store.domain.webhook import Delivery, DeliveryState, NewSecret, Webhook, WebhookEvent
from .config import EngineConfig, OnInterrupted, Settings
from .event_stream import EventStream
from .execution.handler import Effect, Handler, Probe, Reject, Retry
from .interface import Engine
from .order_engine import OrderEngine
from .receipt import Receipt
from .recovery import Recovered
from .reply import Reply
from .snapshot import Chart, ControlSnapshot, MetricsSnapshot, ProcessorSnapshot
from .telemetry.history import Window

__all__ = [
    "Accuracy",
    "Action",
    "ActionNotFound",
    "ActionPreview",
    "ActionState",
    "AuditEntry",
    "BacklogFull",
    "BulkAction",
    "Cause",
    "Chart",
    "ControlSnapshot",
    "DatabaseRefused",
    "DeadlineUnlikely",
    "Delivery",
    "DeliveryState",
    "Durability",
    "Effect",
    "Engine",
    "EngineConfig",
    "EngineStopped",
    "Event",
    "EventStream",
    "EventsGone",
    "Expected",
    "FailureGroup",
    "FieldFault",
    "Handler",
    "HistoryPage",
    "IdempotencyKey",
    "IdempotencyKeyReused",
    "InvalidArgument",
    "InvalidConfiguration",
    "InvalidOrder",
    "InvalidWebhook",
    "MetricsSnapshot",
    "NewSecret",
    "OnInterrupted",
    "Order",
    "OrderConflict",
    "OrderEngine",
    "OrderFilter",
    "OrderNotFound",
    "OrderPage",
    "OrderRecord",
    "OrderStatus",
    "OrdermillError",
    "Outage",
    "Outcome",
    "Outlook",
    "Probe",
    "ProcessorSnapshot",
    "QueueChange",
    "QueueState",
    "Receipt",
    "Recovered",
    "Rehearsal",
    "RehearsalFailed",
    "RehearsalsBusy",
    "Reject",
    "Reply",
    "Retry",
    "Scenario",
    "Settings",
    "StoreUnavailable",
    "SubmissionTooLarge",
    "TooManyQueues",
    "Transition",
    "TransitionRefused",
    "UserBacklogFull",
    "UserSubmissionTooLarge",
    "Wait",
    "WaitReason",
    "Webhook",
    "WebhookEvent",
    "WebhookNotFound",
    "Window",
]
