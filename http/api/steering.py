"""The calls that steer the engine, and that say who did."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, TypeAlias

from msgspec.structs import replace

from ...engine import (
    ActionNotFound,
    AuditEntry,
    BulkAction,
    ControlSnapshot,
    Engine,
    EngineState,
    QueueState,
    Reply,
)
from ...store.domain.order import IDENTIFIER
from ...store.domain.record import rfc3339
from ..framework.body import B
from ..framework.deferred import Deferred
from ..framework.parameters import NoParameters
from ..framework.request import PlainRequest, Request
from ..framework.request_headers import RequestHeaders
from ..framework.response import Response
from ..wire.errors import NoSuchResource
from .fields import ACTION_ID
from .parameters import EntryQuery, order_filter
from .rehearsal_responses import rehearsed_action_payload
from .rehearsals import when_rehearsed
from .requests import decode_cursor
from .responses import (
    ActionPagePayload,
    AuditEntryPayload,
    AuditPagePayload,
    ControlPayload,
    EnginePayload,
    EnginesPayload,
    PreviewPayload,
    QueuePayload,
    QueuesPayload,
    StartedActionPayload,
    action_payload,
    cut_page,
    encode,
    order_payload,
)
from .steering_requests import (
    ActionRequest,
    PauseRequest,
    ProcessorsRequest,
    QueueRequest,
    ResumeRequest,
    SettleAllRequest,
    StopRequest,
)

Act: TypeAlias = Request[NoParameters, RequestHeaders, B]


class SteeringCalls:
    """Pausing, resuming and resizing, and the audit log.

    Args:
        engine: running.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def read(self, _: PlainRequest) -> Deferred[Response]:
        """What operators have set."""
        return _control(self._engine.begin_control())

    def pause(self, request: Act[PauseRequest]) -> Deferred[Response]:
        """Take orders and start none."""
        wanted = request.body
        return _control(self._engine.begin_pause(wanted.seconds or None, wanted.reason or None, request.cause))

    def resume(self, request: Act[ResumeRequest]) -> Deferred[Response]:
        """Start orders again."""
        return _control(self._engine.begin_resume(request.body.reason or None, request.cause))

    def set_processors(self, request: Act[ProcessorsRequest]) -> Deferred[Response]:
        """Have so many processors from now on."""
        wanted = request.body
        return _control(self._engine.begin_set_processors(wanted.processors, wanted.reason or None, request.cause))

    def list_engines(self, _: PlainRequest) -> Response:
        """The engines that work over the database."""
        return Response(encode(EnginesPayload([engine_payload(state) for state in self._engine.engines()])))

    def list_queues(self, _: PlainRequest) -> Deferred[Response]:
        """How all queues are set and doing."""
        queues = self._engine.begin_queues()
        return Deferred(queues, lambda: Response(encode(QueuesPayload([queue_payload(one) for one in queues.get()]))))

    def set_queue(self, request: Act[QueueRequest]) -> Deferred[Response]:
        """Pause or resume a queue, or give it other limits."""
        queue, wanted = request.path["queue"], request.body
        if IDENTIFIER.fullmatch(queue) is None:
            raise NoSuchResource
        state = self._engine.begin_set_queue(queue, wanted.change, wanted.reason or None, request.cause)
        return Deferred(state, lambda: Response(encode(queue_payload(state.get()))))

    def start_action(self, request: Act[ActionRequest]) -> Response | Deferred[Response]:
        """Move all orders that a filter means, or tell how many these are."""
        wanted = request.body
        action = str(wanted.__struct_config__.tag)
        orders, status = order_filter(wanted.where), wanted.status if isinstance(wanted, SettleAllRequest) else None
        if wanted.dry_run or wanted.rehearse:
            preview = self._engine.preview_action(action, orders, status)
            payload = PreviewPayload(preview.matched, [order_payload(one) for one in preview.examples])
            if not wanted.rehearse:
                return Response(encode(payload))
            return when_rehearsed(
                self._engine.begin_rehearse_action(action, orders, status),
                lambda told: replace(payload, rehearsal=rehearsed_action_payload(told)),
            )
        started = self._engine.begin_action(action, orders, wanted.reason or None, status, request.cause)
        return Deferred(started, lambda: _started(started.get()))

    def list_actions(self, request: Request[EntryQuery, RequestHeaders, None]) -> Response:
        """What was done to many orders at once, newest first, a page at a time."""
        query = request.query
        before = decode_cursor(query.cursor) if query.cursor else None
        page, cursor = cut_page(self._engine.actions(before=before, limit=query.limit + 1), query.limit)
        return Response(encode(ActionPagePayload([action_payload(action) for action in page], cursor)))

    def read_action(self, request: PlainRequest) -> Response:
        """How far an action on many orders is."""
        return Response(encode(action_payload(self._engine.action(_action_id(request)))))

    def stop_action(self, request: Act[StopRequest]) -> Deferred[Response]:
        """Carry an action out no further; what it has moved stays moved."""
        stopped = self._engine.begin_stop_action(_action_id(request), request.body.reason or None, request.cause)
        return Deferred(stopped, lambda: Response(encode(action_payload(stopped.get()))))

    def audit(self, request: Request[EntryQuery, RequestHeaders, None]) -> Response:
        """What people have done to the engine and its orders, newest first, a page at a time."""
        query = request.query
        before = decode_cursor(query.cursor) if query.cursor else None
        page, cursor = cut_page(self._engine.audit(before=before, limit=query.limit + 1), query.limit)
        return Response(encode(AuditPagePayload([audit_entry_payload(entry) for entry in page], cursor)))


def _action_id(request: Request[Any, Any, Any]) -> int:
    text = request.path["action_id"]
    if ACTION_ID.fullmatch(text) is None:
        raise ActionNotFound(text)
    return int(text)


def _started(action: BulkAction) -> Response:
    body = encode(StartedActionPayload(str(action.id), action.matched))
    return Response(body, HTTPStatus.ACCEPTED, (("Location", f"/orders/actions/{action.id}"),))


def _control(reply: Reply[ControlSnapshot]) -> Deferred[Response]:
    return Deferred(reply, lambda: Response(encode(control_payload(reply.get()))))


def control_payload(control: ControlSnapshot) -> ControlPayload:
    """What operators have set, as clients see it."""
    until_us = control.paused_until_us
    return ControlPayload(
        control.paused,
        None if until_us is None else rfc3339(until_us),
        control.reason,
        control.error,
        control.processors,
    )


def engine_payload(state: EngineState) -> EnginePayload:
    """An engine, as clients see it."""
    return EnginePayload(
        str(state.engine_id),
        state.host,
        rfc3339(state.started_us),
        rfc3339(state.heartbeat_us),
        "stopping" if state.state == "stopping" else "running",
        state.processors,
        state.processing,
    )


def queue_payload(state: QueueState) -> QueuePayload:
    """A queue, as clients see it."""
    return QueuePayload(
        state.queue,
        state.paused,
        state.concurrency,
        state.rate,
        state.pending,
        state.processing,
        None if state.slowed_until_us is None else rfc3339(state.slowed_until_us),
        state.reason,
        None if state.changed_us is None else rfc3339(state.changed_us),
        state.changed_by,
    )


def audit_entry_payload(entry: AuditEntry) -> AuditEntryPayload:
    """An entry of the audit log, as clients see it."""
    return AuditEntryPayload(
        entry.id,
        rfc3339(entry.at_us),
        entry.action,
        entry.target,
        entry.reason,
        entry.orders,
        entry.acted_by,
        entry.request_id,
    )
