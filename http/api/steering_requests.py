"""What operators send to steer the engine: its shapes, and how it is decoded."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, TypeVar

import msgspec
from msgspec import NODEFAULT, UNSET, Meta, UnsetType

from ...engine import InvalidOrder
from ...engine.config import MAX_PROCESSORS
from ...store.domain.errors import FieldFault, pointer_to
from ...store.domain.reason import REASON, REASON_RULE
from ..framework.parameters import Parameter, matching, parameters_of, told_rule
from ..wire.errors import InvalidBody
from .requests import decode_object

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


def decode_pause(body: bytes) -> PauseRequest:
    """How the engine is to be paused; an empty body says nothing of it. Raises as `decode_fields`."""
    return decode_fields(body or b"{}", PauseRequest)


def decode_resume(body: bytes) -> ResumeRequest:
    """How the engine is to go on, likewise."""
    return decode_fields(body or b"{}", ResumeRequest)


def decode_processors(body: bytes) -> ProcessorsRequest:
    """How many processors there are to be. Raises as `decode_fields`."""
    return decode_fields(body, ProcessorsRequest)


def decode_fields(body: bytes, kind: type[T]) -> T:
    """What a JSON object says, each field checked by its own rule.

    Raises:
        NotJson: it is no JSON.
        InvalidBody: a field is wrong; the error names every fault.
    """
    try:
        fields, faults = decode_object(body)
    except InvalidOrder as error:
        raise InvalidBody(error.faults) from None
    known = parameters_of(kind)
    faults += [FieldFault(pointer_to(name), "unknown field") for name in fields if name not in known]
    found = {}
    for name, parameter in known.items():
        if name in fields:
            try:
                found[name] = _converted(fields[name], parameter)
            except msgspec.ValidationError:
                faults.append(FieldFault(pointer_to(name), parameter.rule))
        elif parameter.default is NODEFAULT:
            faults.append(FieldFault(pointer_to(name), "missing"))
    if faults:
        raise InvalidBody(tuple(faults))
    return kind(**found)


def _converted(value: object, parameter: Parameter) -> object:
    converted = msgspec.convert(float(value) if isinstance(value, Decimal) else value, parameter.type)
    if parameter.pattern is not None and parameter.pattern.fullmatch(converted) is None:
        raise msgspec.ValidationError
    return converted
