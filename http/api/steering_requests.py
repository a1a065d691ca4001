"""What operators send to steer the engine: its shapes, and how it is decoded."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import NODEFAULT, UNSET, Meta, UnsetType

from ...engine import InvalidOrder, QueueChange
from ...engine.config import MAX_PROCESSORS
from ...store.domain.act import Action
from ...store.domain.bulk_action import NAMED_STATUSES
from ...store.domain.errors import FieldFault, pointer_to
from ...store.domain.lifecycle import SETTLED_RULE, OrderStatus
from ...store.domain.limit import MAX_CONCURRENCY, MAX_RATE
from ...store.domain.reason import REASON, REASON_RULE
from ..framework.parameters import Parameter, matching, parameters_of, told_rule
from ..wire.errors import InvalidBody
from ..wire.message import BodyContent
from .parameters import FilterQuery
from .requests import decode_object, whole_number

T = TypeVar("T", bound=msgspec.Struct)

MAX_PAUSE_SECONDS = 1_000_000_000

PauseSeconds = Annotated[
    float,
    Meta(
        gt=0,
        le=MAX_PAUSE_SECONDS,
        description="How long, in seconds; until somebody resumes, where it is left out.",
        extra=told_rule(f"must be a number of seconds above 0 to {MAX_PAUSE_SECONDS}"),
    ),
]
Processors = Annotated[
    Annotated[int, Meta(ge=1, le=MAX_PROCESSORS)] | None,
    Meta(
        description="How many there are to be; null for as many as are configured.",
        extra=told_rule(f"must be a whole number from 1 to {MAX_PROCESSORS}, or null"),
    ),
]


QueuePaused = Annotated[
    bool, Meta(description="Whether no order of it is started.", extra=told_rule("must be true or false"))
]
Concurrency = Annotated[
    Annotated[int, Meta(ge=1, le=MAX_CONCURRENCY)] | None,
    Meta(
        description="How many of its orders may be Processing at once; null for as many as are configured.",
        extra=told_rule(f"must be a whole number from 1 to {MAX_CONCURRENCY}, or null"),
    ),
]
Rate = Annotated[
    Annotated[float, Meta(gt=0, le=MAX_RATE)] | None,
    Meta(
        description="How many of its orders may be begun a second; null for as many as are configured.",
        extra=told_rule(f"must be a number above 0 to {MAX_RATE:.0f}, or null"),
    ),
]


def _only(*statuses: OrderStatus) -> Meta:
    among = " or ".join(statuses)
    return Meta(
        description=f"Only orders in this status: {among}.", extra=told_rule(f"must be {among} for this action")
    )


SettledAs = Annotated[
    Literal["Completed", "Failed"],
    Meta(description="What they are settled as; for a settle only.", extra=told_rule(f"must be {SETTLED_RULE}")),
]
DryRun = Annotated[
    bool,
    Meta(description="Whether to tell what it would do, and do nothing.", extra=told_rule("must be true or false")),
]
Rehearsed = Annotated[
    bool,
    Meta(
        description="Whether to tell what is likely to become of the backlog with it and without, and do nothing.",
        extra=told_rule("must be true or false"),
    ),
]
ActReason = Annotated[
    str,
    matching(REASON, "Why, in words for people; it goes into the audit log.", f"must be {REASON_RULE}", "an outage"),
]


class PauseRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """How the engine is to be paused."""

    seconds: PauseSeconds | UnsetType = UNSET
    reason: ActReason | UnsetType = UNSET


class ResumeRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """How the engine is to go on."""

    reason: ActReason | UnsetType = UNSET


class ProcessorsRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """How many processors there are to be."""

    processors: Processors
    reason: ActReason | UnsetType = UNSET


class QueueRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """How a queue is to be set; what is not given stays as it is."""

    paused: QueuePaused | UnsetType = UNSET
    concurrency: Concurrency | UnsetType = UNSET
    rate: Rate | UnsetType = UNSET
    reason: ActReason | UnsetType = UNSET

    @property
    def change(self) -> QueueChange:
        """What is to be another one."""
        return QueueChange(self.paused, self.concurrency, self.rate)


CancelledFrom = Annotated[Literal["Pending"], _only(*NAMED_STATUSES[Action.CANCEL])]
RetriedFrom = Annotated[Literal["Failed", "Pending", "Review"], _only(*NAMED_STATUSES[Action.RETRY])]
SettledFrom = Annotated[Literal["Review"], _only(*NAMED_STATUSES[Action.SETTLE])]


class CancelFilter(FilterQuery, frozen=True):
    """Which of the orders are meant that are Pending."""

    status: CancelledFrom | UnsetType = UNSET  # type: ignore[assignment]  # some of them, by name


class RetryFilter(FilterQuery, frozen=True):
    """Which orders are meant: of those that are Failed or wait for their next attempt, or of those in Review where
    this is the status."""

    status: RetriedFrom | UnsetType = UNSET  # type: ignore[assignment]  # some of them, by name


class SettleFilter(FilterQuery, frozen=True):
    """Which of the orders are meant that are in Review."""

    status: SettledFrom | UnsetType = UNSET  # type: ignore[assignment]  # some of them, by name


class CancelRequest(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, tag_field="action", tag="cancel"
):
    """All Pending orders that a filter means are to be cancelled."""

    where: CancelFilter
    reason: ActReason | UnsetType = UNSET
    dry_run: DryRun = False
    rehearse: Rehearsed = False


class RetryRequest(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, tag_field="action", tag="retry"
):
    """All orders that a filter means are to be handled again."""

    where: RetryFilter
    reason: ActReason | UnsetType = UNSET
    dry_run: DryRun = False
    rehearse: Rehearsed = False


class SettleAllRequest(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, tag_field="action", tag="settle"
):
    """All orders in Review that a filter means are to be settled."""

    where: SettleFilter
    status: SettledAs
    reason: ActReason | UnsetType = UNSET
    dry_run: DryRun = False
    rehearse: Rehearsed = False


ActionRequest = CancelRequest | RetryRequest | SettleAllRequest
"""What is to be done to all orders that a filter means."""
_ACTIONS: dict[str, type[ActionRequest]] = {
    Action.CANCEL: CancelRequest,
    Action.RETRY: RetryRequest,
    Action.SETTLE: SettleAllRequest,
}


class StopRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """How an action is to be stopped."""

    reason: ActReason | UnsetType = UNSET


def decode_action(body: BodyContent) -> ActionRequest:
    """What is to be done to many orders. Raises as `decode_fields`."""
    fields, faults = _decode_object(body)
    action = fields.pop("action", None)
    if not isinstance(action, str) or action not in _ACTIONS:
        raise InvalidBody((FieldFault("/action", f"must be {', '.join(_ACTIONS)}"),))
    return _made(fields, _ACTIONS[action], faults)


def decode_stop(body: BodyContent) -> StopRequest:
    """How an action is to be stopped; an empty body says nothing of it. Raises as `decode_fields`."""
    return decode_fields(body or b"{}", StopRequest)


def decode_pause(body: BodyContent) -> PauseRequest:
    """How the engine is to be paused; an empty body says nothing of it. Raises as `decode_fields`."""
    return decode_fields(body or b"{}", PauseRequest)


def decode_resume(body: BodyContent) -> ResumeRequest:
    """How the engine is to go on, likewise."""
    return decode_fields(body or b"{}", ResumeRequest)


def decode_processors(body: BodyContent) -> ProcessorsRequest:
    """How many processors there are to be. Raises as `decode_fields`."""
    return decode_fields(body, ProcessorsRequest)


def decode_queue(body: BodyContent) -> QueueRequest:
    """How a queue is to be set. Raises as `decode_fields`."""
    request = decode_fields(body, QueueRequest)
    if request.change == QueueChange():
        raise InvalidBody((FieldFault("", "must have paused, concurrency or rate"),))
    return request


def decode_fields(body: BodyContent, kind: type[T]) -> T:
    """What a JSON object says, each field checked by its own rule.

    Raises:
        NotJson: it is no JSON.
        InvalidBody: a field is wrong; the error names every fault.
    """
    fields, faults = _decode_object(body)
    return _made(fields, kind, faults)


def _decode_object(body: BodyContent) -> tuple[dict[str, Any], list[FieldFault]]:
    try:
        return decode_object(body)
    except InvalidOrder as error:
        raise InvalidBody(error.faults) from None


def _made(fields: dict[str, Any], kind: type[T], faults: list[FieldFault]) -> T:
    found = _converted_fields(fields, kind, "", faults)
    if faults:
        raise InvalidBody(tuple(faults))
    return kind(**found)


def _converted_fields(
    fields: dict[str, Any], kind: type[msgspec.Struct], place: str, faults: list[FieldFault]
) -> dict[str, Any]:
    known = parameters_of(kind)
    faults += [FieldFault(place + pointer_to(name), "unknown field") for name in fields if name not in known]
    found: dict[str, Any] = {}
    for name, parameter in known.items():
        pointer = place + pointer_to(name)
        if name not in fields:
            if parameter.default is NODEFAULT:
                faults.append(FieldFault(pointer, "missing"))
        elif isinstance(parameter.type, type) and issubclass(parameter.type, msgspec.Struct):
            if isinstance(fields[name], dict):
                before = len(faults)
                inner = _converted_fields(fields[name], parameter.type, pointer, faults)
                if len(faults) == before:  # otherwise it may lack a field that it needs
                    found[name] = parameter.type(**inner)
            else:
                faults.append(FieldFault(pointer, "must be a JSON object"))
        else:
            try:
                found[name] = _converted(fields[name], parameter)
            except msgspec.ValidationError:
                faults.append(FieldFault(pointer, parameter.rule))
    return found


def _converted(value: object, parameter: Parameter) -> object:
    value = whole_number(value)
    if isinstance(value, Decimal):
        value = float(value)
    converted = msgspec.convert(value, parameter.type)
    if parameter.pattern is not None and parameter.pattern.fullmatch(converted) is None:
        raise msgspec.ValidationError
    return converted
