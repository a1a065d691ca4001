"""Watching what happens to the orders."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated

import msgspec
from msgspec import Meta

from ....store.domain.lifecycle import COMPLETE
from ...framework.body import NO_BODY
from ...framework.request import Inputs
from ...framework.route import Content, Operation, Result, Tag
from ...wire.errors import MalformedRequest, TooManyWatchers
from ..events import EVENT_STREAM
from ..parameters import EVENT_ID_RULE, EventHeaders, EventQuery
from ..responses import EventPayload, encode
from .common import ASKING

_COMPLETED = EventPayload(
    "o-1", "u-1", COMPLETE.source, COMPLETE.target, "2026-11-23T06:39:00.145536Z", 1, COMPLETE.why
)
_STREAM = f"retry: 1000\nid: 0\n\nid: 6\nevent: order.completed\ndata: {encode(_COMPLETED).decode()}\n\n"

EventStream = Annotated[
    msgspec.Raw,
    Meta(
        extra_json_schema={
            "description": "Server-Sent Events, as a whole; or each by itself, as its client reads it.",
            "anyOf": [
                {"type": "string"},
                {
                    "type": "object",
                    "properties": {name: {"type": "string"} for name in ("id", "event", "data")},
                    "required": ["data"],
                },
            ],
        }
    ),
]

FOLLOW = Operation(
    "followEvents",
    Tag.OBSERVERS,
    Inputs(EventQuery, EventHeaders, NO_BODY),
    results=(
        Result(
            HTTPStatus.OK,
            "Events for as long as you listen, each with its `id`: `order.pending`, `order.processing`, and so on by "
            "the status that the order gets; `order.late`, once, for one that is not completed by the time that it was "
            "to be. Once a second `metrics`, without an id, for keys of all users. `gone` "
            "where events that come next were removed with their orders, for their age.",
            {EVENT_STREAM: Content(EventStream, _STREAM)},
        ),
    ),
    problems=(
        MalformedRequest(f"Last-Event-ID {EVENT_ID_RULE}.", "Last-Event-ID"),
        TooManyWatchers(),
        *ASKING,
    ),
    remark="Each event comes once, in the order of recording. After an end, come again with the last `id` that you "
    "have got: nothing is left out or repeated.",
)
