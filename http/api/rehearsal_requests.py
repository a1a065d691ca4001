"""What is sent to have something rehearsed: its shapes, and how it is decoded."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, UnsetType

from ...engine import Outage, Scenario
from ...engine.config import MAX_PROCESSORS
from ...store.domain.order import USER
from ...store.domain.rehearsal import ERROR_CLASS, ERROR_CLASS_RULE, MAX_ARRIVALS, MAX_OUTAGE_SECONDS
from ..framework.parameters import matching, told_rule
from ..wire.message import BodyContent
from .steering_requests import decode_fields

RehearsedProcessors = Annotated[
    int,
    Meta(
        ge=1,
        le=MAX_PROCESSORS,
        description="How many processors there are; as many as now, where it is left out.",
        extra=told_rule(f"must be a whole number from 1 to {MAX_PROCESSORS}"),
    ),
]
Arrivals = Annotated[
    float,
    Meta(
        ge=0,
        le=MAX_ARRIVALS,
        description="How many orders arrive meanwhile, as a multiple of the rate of the last 15 minutes; 1 where it is "
        "left out.",
        extra=told_rule(f"must be a number from 0 to {MAX_ARRIVALS:g}"),
    ),
]
Paused = Annotated[
    str,
    matching(
        USER,
        "The queue whose orders are not begun, or the user where no queue is called that.",
        "must be the name of a queue or a user",
        "eu",
    ),
]
ErrorClass = Annotated[
    str, matching(ERROR_CLASS, "The class of the error.", f"must be {ERROR_CLASS_RULE}", "ProviderDown")
]
OutageSeconds = Annotated[
    float,
    Meta(
        gt=0,
        le=MAX_OUTAGE_SECONDS,
        description="How long, from now on, in seconds.",
        extra=told_rule(f"must be a number of seconds above 0 to {MAX_OUTAGE_SECONDS}"),
    ),
]


class OutageRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An error that every attempt fails with that begins within some time."""

    error: ErrorClass
    for_seconds: OutageSeconds


class RehearsalRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What is to be rehearsed."""

    processors: RehearsedProcessors | UnsetType = UNSET
    arrivals: Arrivals | UnsetType = UNSET
    pause: Paused | UnsetType = UNSET
    fail: OutageRequest | UnsetType = UNSET

    def scenario(self) -> Scenario:
        """The same as the engine takes it."""
        fail = None if isinstance(self.fail, UnsetType) else Outage(self.fail.error, self.fail.for_seconds)
        return Scenario(
            processors=self.processors or None,
            arrivals=1.0 if isinstance(self.arrivals, UnsetType) else self.arrivals,
            pause=self.pause or None,
            fail=fail,
        )


def decode_rehearsal(body: BodyContent) -> RehearsalRequest:
    """What is to be rehearsed; an empty body says nothing of it. Raises as `decode_fields`."""
    return decode_fields(body or b"{}", RehearsalRequest)
