"""What may stand behind the question mark of an address: declared once, checked here, described in the OpenAPI."""

from __future__ import annotations

import re
from functools import cache
from typing import Any, NamedTuple, TypeVar, get_args, get_type_hints
from urllib.parse import parse_qsl

import msgspec
from msgspec import Meta, UnsetType

from ..wire.errors import InvalidParameter

Q = TypeVar("Q", bound=msgspec.Struct)


def whole(pattern: re.Pattern[str]) -> str:
    """A pattern that the whole text must match, as JSON Schema writes it."""
    return f"^{pattern.pattern}$"


def told_rule(rule: str) -> dict[str, Any]:
    """What is told to a client that breaks it, behind the parameter's name."""
    return {"rule": rule}


def matching(pattern: re.Pattern[str], description: str, rule: str, example: str) -> Meta:
    """What describes and checks a text.

    Args:
        pattern: what the whole of it must match.
        description: for whoever reads the description.
        rule: the same in words, behind the parameter's name.
        example: one.
    """
    return Meta(
        extra_json_schema={"pattern": whole(pattern)},
        description=description,
        # Not as a pattern of msgspec's: `$` also matches before a last line feed in Python, though not in JSON Schema.
        extra=told_rule(rule) | {"pattern": pattern},
        examples=[example],
    )


class NoParameters(msgspec.Struct, frozen=True):
    """For an operation that takes none."""


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


def parse_query(query_string: str, kind: type[Q]) -> Q:
    """The parameters of a query.

    Args:
        query_string: the part of the address behind the question mark.
        kind: which there may be; each has a default.

    Raises:
        InvalidParameter: one is unknown, given twice, or breaks its rule.
    """
    if not query_string:
        return kind()
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
