"""Steering the engine, and reading who did."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated

from msgspec import Meta

from ....engine import ActionNotFound, ActionState, FieldFault, RehearsalFailed, RehearsalsBusy, TooManyQueues
from ....store.domain.act import Action
from ....store.domain.queue_settings import MAX_QUEUES
from ....store.domain.reason import reason_faults
from ...framework.parameters import NoParameters
from ...framework.request import NOTHING, Inputs
from ...framework.request_headers import RequestHeaders
from ...framework.route import Operation, Result, Tag
from ...wire.errors import InvalidBody, NoSuchResource
from ..parameters import ActionPath, EntryQuery, QueuePath
from ..responses import (
    ActionPagePayload,
    ActionPayload,
    AuditEntryPayload,
    AuditPagePayload,
    ControlPayload,
    EnginePayload,
    EnginesPayload,
    PreviewPayload,
    QueuePayload,
    QueuesPayload,
    StartedActionPayload,
)
from ..steering_requests import (
    ActionRequest,
    PauseRequest,
    ProcessorsRequest,
    QueueRequest,
    ResumeRequest,
    RetryFilter,
    RetryRequest,
    StopRequest,
    decode_action,
    decode_pause,
    decode_processors,
    decode_queue,
    decode_resume,
    decode_stop,
)
from .common import ASKING, STOPPING, asked, in_json, json_body, ok

_AT = "2026-11-23T06:39:00.090788Z"
_UNTIL = "2026-11-23T06:49:00.090788Z"
_WHY = "the provider is down"
_REQUEST_ID = "5f1d09a3c2b7-1"
_RUNNING = ControlPayload(False, None, None, None, 8)
_ENGINE = EnginePayload("7", "shop-1", _AT, _UNTIL, "running", 8, 5)
_DONE = ActionPayload(
    "1",
    Action.RETRY,
    "orders where error=rejected",
    ActionState.DONE,
    2,
    2,
    0,
    "mended",
    None,
    _AT,
    _UNTIL,
)
_DEFAULT_QUEUE = QueuePayload("default", False, None, None, 0, 0, None, None, None, None)
_QUEUE = QueuePayload("mail", True, 5, 20.0, 0, 0, None, _WHY, _AT, None)
_QueueChange = Annotated[
    QueueRequest,
    Meta(extra_json_schema={"anyOf": [{"required": [name]} for name in ("paused", "concurrency", "rate")]}),
]
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
    results=(ok("No order is started any more.", ControlPayload, ControlPayload(True, _UNTIL, _WHY, None, 8)),),
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
    results=(ok("There are so many from now on.", ControlPayload, ControlPayload(False, None, None, None, 16)),),
    problems=(InvalidBody((FieldFault("/processors", "missing"),)), *ASKING),
    remark="Processors that are too many end when they have nothing to do.",
)
LIST_ENGINES = Operation(
    "listEngines",
    Tag.OPERATORS,
    NOTHING,
    results=(ok("All that are taken for alive.", EnginesPayload, EnginesPayload([_ENGINE])),),
    problems=ASKING,
    remark="With SQLite it is one. An engine that is not heard of for `lease_seconds` is lost: the others settle its "
    "orders.",
)
LIST_QUEUES = Operation(
    "listQueues",
    Tag.OPERATORS,
    NOTHING,
    results=(ok("All queues.", QueuesPayload, QueuesPayload([_DEFAULT_QUEUE])),),
    problems=ASKING,
    remark="A queue is there from the first order that names it, or from the first time that it is set.",
)
SET_QUEUE = Operation(
    "setQueue",
    Tag.OPERATORS,
    Inputs(NoParameters, RequestHeaders, json_body(_QueueChange, QueueRequest(True, 5, 20.0, _WHY), decode_queue)),
    results=(ok("It is set so from now on, after a restart too.", QueuePayload, _QUEUE),),
    problems=(
        InvalidBody((FieldFault("", "must have paused, concurrency or rate"),)),
        NoSuchResource(),
        TooManyQueues("mail", MAX_QUEUES),
        *ASKING,
    ),
    path=QueuePath,
    remark="What is not given stays as it is. Handlers that run go on.",
)
START_ACTION = Operation(
    "startAction",
    Tag.OPERATORS,
    Inputs(
        NoParameters,
        RequestHeaders,
        json_body(ActionRequest, RetryRequest(RetryFilter(error="rejected"), reason="mended"), decode_action),
    ),
    results=(
        Result(
            HTTPStatus.ACCEPTED,
            "It has begun: it moves some orders between two commits, and goes on after a restart.",
            in_json(StartedActionPayload, StartedActionPayload("1", 2)),
            {"Location": True},
        ),
        ok("What it would do, where `dry_run` or `rehearse` is true.", PreviewPayload, PreviewPayload(0, [])),
    ),
    problems=(
        InvalidBody((FieldFault("/action", "must be cancel, retry, settle"),)),
        RehearsalsBusy(2),
        RehearsalFailed("it took longer than 60 s"),
        *ASKING,
    ),
    remark="Orders that come later are not touched.",
)
LIST_ACTIONS = Operation(
    "listActions",
    Tag.OPERATORS,
    asked(EntryQuery),
    results=(ok("A page.", ActionPagePayload, ActionPagePayload([_DONE], None)),),
    problems=ASKING,
)
READ_ACTION = Operation(
    "readAction",
    Tag.OPERATORS,
    NOTHING,
    results=(ok("The action.", ActionPayload, _DONE),),
    problems=(ActionNotFound(1), *ASKING),
    path=ActionPath,
)
STOP_ACTION = Operation(
    "stopAction",
    Tag.OPERATORS,
    Inputs(
        NoParameters,
        RequestHeaders,
        json_body(StopRequest, StopRequest("not these"), decode_stop, is_optional=True),
    ),
    results=(ok("The action, which may be over already.", ActionPayload, _DONE),),
    problems=(_NO_REASON, ActionNotFound(1), *ASKING),
    path=ActionPath,
)
READ_AUDIT = Operation(
    "readAudit",
    Tag.OPERATORS,
    asked(EntryQuery),
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
