"""The engine's errors as problems."""

from __future__ import annotations

from http import HTTPStatus

from ...engine import (
    ActionNotFound,
    BacklogFull,
    DeadlineUnlikely,
    EngineStopped,
    IdempotencyKeyReused,
    InvalidOrder,
    InvalidWebhook,
    OrderConflict,
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
from ..framework.problems import ProblemKinds
from ..wire.problem_details import ProblemKind

PROBLEM_KINDS: ProblemKinds = {
    OrderNotFound: ProblemKind(HTTPStatus.NOT_FOUND, "order-not-found", "There is no such order"),
    WebhookNotFound: ProblemKind(HTTPStatus.NOT_FOUND, "webhook-not-found", "There is no such webhook"),
    InvalidWebhook: ProblemKind(HTTPStatus.UNPROCESSABLE_ENTITY, "invalid-webhook", "The webhook is not valid"),
    ActionNotFound: ProblemKind(HTTPStatus.NOT_FOUND, "action-not-found", "There is no such action"),
    OrderConflict: ProblemKind(HTTPStatus.CONFLICT, "order-conflict", "The order id is taken by another order"),
    TransitionRefused: ProblemKind(HTTPStatus.CONFLICT, "transition-refused", "The order's status does not allow this"),
    TooManyQueues: ProblemKind(HTTPStatus.CONFLICT, "too-many-queues", "There are too many queues"),
    SubmissionTooLarge: ProblemKind(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "submission-too-large", "More orders at once than may be unfinished"
    ),
    UserSubmissionTooLarge: ProblemKind(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        "user-submission-too-large",
        "More orders of a user at once than it may have unfinished",
    ),
    InvalidOrder: ProblemKind(HTTPStatus.UNPROCESSABLE_ENTITY, "invalid-order", "The order is not valid"),
    IdempotencyKeyReused: ProblemKind(
        HTTPStatus.UNPROCESSABLE_ENTITY, "idempotency-key-reused", "The idempotency key was used for another request"
    ),
    UserBacklogFull: ProblemKind(
        HTTPStatus.TOO_MANY_REQUESTS, "user-backlog-full", "Too many orders of the user are unfinished"
    ),
    BacklogFull: ProblemKind(HTTPStatus.SERVICE_UNAVAILABLE, "backlog-full", "Too many orders are unfinished"),
    DeadlineUnlikely: ProblemKind(
        HTTPStatus.SERVICE_UNAVAILABLE, "deadline-unlikely", "The order is unlikely to be completed in time"
    ),
    EngineStopped: ProblemKind(HTTPStatus.SERVICE_UNAVAILABLE, "stopping", "The service is stopping"),
    RehearsalsBusy: ProblemKind(HTTPStatus.SERVICE_UNAVAILABLE, "rehearsals-busy", "Too many rehearsals are under way"),
    RehearsalFailed: ProblemKind(
        HTTPStatus.SERVICE_UNAVAILABLE, "rehearsal-failed", "The rehearsal has come to no end"
    ),
    StoreUnavailable: ProblemKind(HTTPStatus.SERVICE_UNAVAILABLE, "store-unavailable", "The database fails"),
}
"""The one table: what each error of the engine is over HTTP."""
