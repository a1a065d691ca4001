"""Steering the engine, and reading who did."""

from __future__ import annotations

from ....engine import FieldFault
from ....store.domain.act import Action
from ....store.domain.reason import reason_faults
from ...framework.parameters import NoParameters
from ...framework.request import NOTHING, Inputs
from ...framework.request_headers import RequestHeaders
from ...framework.route import Operation, Tag
from ...wire.errors import InvalidBody
from ..parameters import AuditQuery
from ..responses import AuditEntryPayload, AuditPagePayload, ControlPayload
from ..steering_requests import (
    PauseRequest,
    ProcessorsRequest,
    ResumeRequest,
    decode_pause,
    decode_processors,
    decode_resume,
)
from .common import ASKING, STOPPING, asked, json_body, ok

_AT = "2026-11-23T06:39:00.090788Z"
_UNTIL = "2026-11-23T06:49:00.090788Z"
_WHY = "the provider is down"
_REQUEST_ID = "5f1d09a3c2b7-1"
_RUNNING = ControlPayload(False, None, None, 8)
_NO_REASON = InvalidBody(tuple(reason_faults("")))

READ_CONTROL = Operation(
    "readControl",
    Tag.OPERATORS,
    NOTHING,
    results=(ok("What is set.", ControlPayload, _RUNNING),),
    problems=(STOPPING,),
)
PAUSE = Operation(
    "pause",
    Tag.OPERATORS,
    Inputs(
        NoParameters,
        RequestHeaders,
        json_body(PauseRequest, PauseRequest(600, _WHY), decode_pause, is_optional=True),
    ),
    results=(ok("No order is started any more.", ControlPayload, ControlPayload(True, _UNTIL, _WHY, 8)),),
    problems=(_NO_REASON, *ASKING),
    remark="Handlers that run go on. A restart does not end the pause.",
)
RESUME = Operation(
    "resume",
    Tag.OPERATORS,
    Inputs(
        NoParameters,
        RequestHeaders,
        json_body(ResumeRequest, ResumeRequest("the provider is back"), decode_resume, is_optional=True),
    ),
    results=(ok("Orders are started again.", ControlPayload, _RUNNING),),
    problems=(_NO_REASON, *ASKING),
)
SET_PROCESSORS = Operation(
    "setProcessors",
    Tag.OPERATORS,
    Inputs(NoParameters, RequestHeaders, json_body(ProcessorsRequest, ProcessorsRequest(16), decode_processors)),
    results=(ok("There are so many from now on.", ControlPayload, ControlPayload(False, None, None, 16)),),
    problems=(InvalidBody((FieldFault("/processors", "missing"),)), *ASKING),
    remark="Processors that are too many end when they have nothing to do.",
)
READ_AUDIT = Operation(
    "readAudit",
    Tag.OPERATORS,
    asked(AuditQuery),
    results=(
        ok(
            "A page.",
            AuditPagePayload,
            AuditPagePayload(
                [AuditEntryPayload(2, _AT, Action.CANCEL, "o-1", "ordered twice", 1, None, _REQUEST_ID)], "2"
            ),
        ),
    ),
    problems=ASKING,
)
