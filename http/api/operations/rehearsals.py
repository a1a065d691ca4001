"""Rehearsing."""

from __future__ import annotations

from ....engine import FieldFault, RehearsalFailed, RehearsalsBusy
from ...framework.parameters import NoParameters
from ...framework.request import Inputs
from ...framework.request_headers import RequestHeaders
from ...framework.route import Operation, Tag
from ...wire.errors import InvalidBody
from ..rehearsal_requests import OutageRequest, RehearsalRequest, decode_rehearsal
from ..rehearsal_responses import (
    BacklogPointPayload,
    BandPayload,
    LikelyLatePayload,
    RehearsalPayload,
    RehearsedDeadlinesPayload,
    TimeBandPayload,
)
from .common import STOPPING, json_body, ok

_AT = "2026-11-23T06:39:00.090788Z"
_EMPTY = TimeBandPayload("2026-11-23T07:01:12.190788Z", "2026-11-23T06:58:40.090788Z", "2026-11-23T07:04:02.590788Z")
_NOTHING = BandPayload(0, 0, 0)

REHEARSE = Operation(
    "rehearse",
    Tag.OPERATORS,
    Inputs(
        NoParameters,
        RequestHeaders,
        json_body(
            RehearsalRequest,
            RehearsalRequest(16, 1.3, "eu", OutageRequest("ProviderDown", 600)),
            decode_rehearsal,
            is_optional=True,
        ),
    ),
    results=(
        ok(
            "What came of it.",
            RehearsalPayload,
            RehearsalPayload(
                _AT,
                24_000,
                16,
                11.7,
                2_000,
                100,
                0.8,
                _EMPTY,
                None,
                _NOTHING,
                _NOTHING,
                RehearsedDeadlinesPayload(
                    120, BandPayload(3, 1, 7), [LikelyLatePayload("o-1", "2026-11-23T06:45:00.000000Z", 0.96)]
                ),
                [BacklogPointPayload(_AT, 24_000, 24_000, 24_000)],
                [],
            ),
        ),
    ),
    problems=(
        InvalidBody((FieldFault("/processors", "must be a whole number from 1 to 1000"),)),
        RehearsalsBusy(2),
        RehearsalFailed("it took longer than 60 s"),
        STOPPING,
    ),
    remark="A snapshot of the backlog is worked off many times under a virtual clock, by the queue's own rule, with "
    "the durations and arrivals that were measured lately. Nothing is changed.",
)
