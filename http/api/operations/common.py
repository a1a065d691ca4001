"""What the operations of several resources share."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus

from ....engine import EngineStopped, StoreUnavailable
from ...framework.route import Content, Result
from ...wire.headers import JSON

STOPPING = EngineStopped()
ASKING = (STOPPING, StoreUnavailable(OSError("database or disk is full")))
"""The problems of whoever asks the engine or its database for something."""


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
