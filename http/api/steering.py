"""The calls that steer the engine, and that say who did."""

from __future__ import annotations

from typing import TypeAlias

from ...engine import AuditEntry, ControlSnapshot, Engine, Reply
from ...store.domain.record import rfc3339
from ..framework.body import B
from ..framework.deferred import Deferred
from ..framework.parameters import NoParameters
from ..framework.request import PlainRequest, Request
from ..framework.request_headers import RequestHeaders
from ..framework.response import Response
from .parameters import AuditQuery
from .requests import decode_cursor
from .responses import AuditEntryPayload, AuditPagePayload, ControlPayload, encode, encode_cursor
from .steering_requests import PauseRequest, ProcessorsRequest, ResumeRequest

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

    def audit(self, request: Request[AuditQuery, RequestHeaders, None]) -> Response:
        """What people have done to the engine and its orders, newest first, a page at a time."""
        query = request.query
        before = decode_cursor(query.cursor) if query.cursor else None
        entries = self._engine.audit(before=before, limit=query.limit + 1)
        page = entries[: query.limit]
        cursor = encode_cursor(page[-1].id) if len(entries) > query.limit else None
        return Response(encode(AuditPagePayload([audit_entry_payload(entry) for entry in page], cursor)))


def _control(reply: Reply[ControlSnapshot]) -> Deferred[Response]:
    return Deferred(reply, lambda: Response(encode(control_payload(reply.get()))))


def control_payload(control: ControlSnapshot) -> ControlPayload:
    """What operators have set, as clients see it."""
    until_us = control.paused_until_us
    return ControlPayload(
        control.paused, None if until_us is None else rfc3339(until_us), control.reason, control.processors
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
