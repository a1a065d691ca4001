"""What may stand behind the question mark of an address: declared once, checked here, described in the OpenAPI."""

from __future__ import annotations

import re
from functools import cache
from typing import Annotated, Any, NamedTuple, TypeVar, get_args, get_type_hints
from urllib.parse import parse_qsl

import msgspec
from msgspec import UNSET, Meta, UnsetType

from ...engine import OrderStatus
from ...store.domain.order import IDENTIFIER, IDENTIFIER_RULE, USER, USER_RULE
from ..api.fields import CURSOR, whole
from ..problems import InvalidParameter

MAX_WAIT_SECONDS = 30
MAX_PAGE = 1_000
DEFAULT_PAGE = 100

P = TypeVar("P", bound=msgspec.Struct)


def _rule(rule: str) -> dict[str, Any]:
    """What is told to a client that breaks it, behind the parameter's name."""
    return {"rule": rule}


def _matching(pattern: re.Pattern[str], description: str, rule: str, example: str) -> Meta:
    return Meta(
        extra_json_schema={"pattern": whole(pattern)},
        description=description,
        # Not as a pattern of msgspec's: `$` also matches before a last line feed in Python, though not in JSON Schema.
        extra=_rule(rule) | {"pattern": pattern},
        examples=[example],
    )


OrderId = Annotated[str, _matching(IDENTIFIER, "The order.", f"must be {IDENTIFIER_RULE}", "o-1")]
UserId = Annotated[str, _matching(USER, "Only orders of this user.", f"must be {USER_RULE}", "u-1")]
Status = Annotated[
    OrderStatus,
    Meta(
        description="Only orders in this status.",
        extra=_rule(f"must be one of {', '.join(OrderStatus)}"),
        examples=[OrderStatus.COMPLETED],
    ),
]
PageCursor = Annotated[
    str,
    _matching(
        CURSOR,
        "Where the page begins: `next_cursor` of the page before.",
        "is none that a page has given: start without one",
        "3",
    ),
]
PageLimit = Annotated[
    int,
    Meta(
        ge=1,
        le=MAX_PAGE,
        description="Orders on a page at the most.",
        extra=_rule(f"must be a whole number from 1 to {MAX_PAGE}"),
        examples=[1],
    ),
]
WaitSeconds = Annotated[
    float,
    Meta(
        ge=0,
        le=MAX_WAIT_SECONDS,
        description="Answer as soon as processing is over, and after so many seconds at the latest.",
        extra=_rule(f"must be a number of seconds from 0 to {MAX_WAIT_SECONDS}"),
        examples=[10],
    ),
]


class NoParameters(msgspec.Struct, frozen=True):
    """For a call that has none."""


class OrderPath(msgspec.Struct, frozen=True):
    """What stands for `{order_id}` in a path."""

    order_id: OrderId


class OrderQuery(msgspec.Struct, frozen=True):
    """The parameters of reading an order."""

    wait: WaitSeconds | UnsetType = UNSET


class PageQuery(msgspec.Struct, frozen=True):
    """The parameters of listing orders."""

    status: Status | UnsetType = UNSET
    user_id: UserId | UnsetType = UNSET
    limit: PageLimit = DEFAULT_PAGE
    cursor: PageCursor | UnsetType = UNSET


class Parameter(NamedTuple):
    """One parameter, for whoever checks or describes it."""

    name: str
    type: Any
    """As msgspec takes it, with the parameter's `Meta`."""
    rule: str
    """What it must be, behind its name; empty where nothing is checked."""
    pattern: re.Pattern[str] | None
    """What the whole text must match."""
    default: object
    """`msgspec.NODEFAULT` where it must be given, `UNSET` where leaving it out is like no value at all."""


@cache
def parameters_of(kind: type[msgspec.Struct]) -> dict[str, Parameter]:
    """The parameters that a type declares, by name."""
    hints = get_type_hints(kind, include_extras=True)
    return {field.encode_name: _parameter(field, hints[field.name]) for field in msgspec.structs.fields(kind)}


def parse_query(query_string: str, kind: type[P]) -> P:
    """The parameters of a query.

    Args:
        query_string: the part of the address behind the question mark.
        kind: which there may be.

    Raises:
        InvalidParameter: one is unknown, given twice, or breaks its rule.
    """
    known = parameters_of(kind)
    found: dict[str, Any] = {}
    for name, text in parse_qsl(query_string, keep_blank_values=True):
        if name not in known:
            raise InvalidParameter(name, f"is unknown here; known: {', '.join(known) or 'none'}")
        if name in found:
            raise InvalidParameter(name, "is given more than once")
        parameter = known[name]
        if parameter.pattern is not None and parameter.pattern.fullmatch(text) is None:
            raise InvalidParameter(name, parameter.rule)
        try:
            found[name] = msgspec.convert(text, parameter.type, strict=False)
        except msgspec.ValidationError:
            raise InvalidParameter(name, parameter.rule) from None
    return msgspec.convert(found, kind)


def _parameter(field: msgspec.structs.FieldInfo, hint: Any) -> Parameter:
    annotated = get_args(hint)[0] if UnsetType in get_args(hint) else hint
    metas = (meta.extra or {} for meta in get_args(annotated) if isinstance(meta, Meta))
    told = {name: value for extra in metas for name, value in extra.items()}
    return Parameter(field.encode_name, annotated, told.get("rule", ""), told.get("pattern"), field.default)
