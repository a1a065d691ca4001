"""What the operations of several resources share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any

from ....engine import EngineStopped, StoreUnavailable
from ...framework.body import NO_BODY, B, Body, BodyFormat
from ...framework.parameters import Q
from ...framework.request import Inputs
from ...framework.request_headers import RequestHeaders
from ...framework.route import Content, Result
from ...wire.headers import JSON
from ...wire.message import BodyContent
from ..requests import MAX_ORDER_BYTES

STOPPING = EngineStopped()
ASKING = (STOPPING, StoreUnavailable(OSError("database or disk is full")))
"""The problems of whoever asks the engine or its database for something."""


def asked(query: type[Q]) -> Inputs[Q, RequestHeaders, None]:
    """What a request brings along that asks by parameters.

    Args:
        query: these.
    """
    return Inputs(query, RequestHeaders, NO_BODY)


def json_body(kind: Any, example: object, decode: Callable[[BodyContent], B], *, is_optional: bool = False) -> Body[B]:
    """A small body in JSON.

    Args:
        kind: the type of what is in it.
        example: one.
        decode: reads it.
        is_optional: whether it may be left out, which is read as an empty one.
    """
    return Body({JSON: BodyFormat(kind, example, decode)}, MAX_ORDER_BYTES, is_optional)


def in_json(kind: object, example: object) -> dict[str, Content]:
    """A body in JSON.

    Args:
        kind: the type of what is in it.
        example: one.
    """
    return {JSON: Content(kind, example)}


def ok(description: str, kind: object, example: object, headers: Mapping[str, bool] = {}) -> Result:
    """An answer with 200 and JSON.

    Args:
        description: when it is given, or what it holds.
        kind: the type of what is in it.
        example: one.
        headers: by name, whether every such answer has it.
    """
    return Result(HTTPStatus.OK, description, in_json(kind, example), headers)
