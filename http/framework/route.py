"""Route: what answers a method at a path, and what there is to know of it for whoever calls it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum
from functools import cached_property
from http import HTTPStatus
from typing import Any, Generic, NamedTuple, TypeAlias, cast

import msgspec

from ..security.access import Permission
from .body import B
from .deferred import Deferred
from .parameters import NoParameters, Q
from .request import NOTHING, Inputs, Request
from .request_headers import H
from .response import Response


class Tag(Enum):
    """The group that an operation is shown in."""

    ORDERS = "Orders"
    OPERATORS = "Operators"
    OBSERVERS = "Observers"

    @property
    def about(self) -> str:
        """What belongs in it."""
        return _ABOUT[self]


_ABOUT = {
    Tag.ORDERS: "Send orders, and ask where they are and how they got there.",
    Tag.OPERATORS: "Move orders that the engine cannot move by itself, steer the engine, and see who did.",
    Tag.OBSERVERS: "How the engine is doing, for people, monitoring and orchestrators.",
}


class Content(NamedTuple):
    """The body of an answer in one media type."""

    kind: Any
    """The type of what is in it, as msgspec takes it."""
    example: object


class Result(NamedTuple):
    """An answer other than a problem."""

    status: HTTPStatus
    description: str
    contents: Mapping[str, Content] = {}
    """By media type."""
    headers: Mapping[str, bool] = {}
    """By name, whether every such answer has it; those that all answers have are left out."""


class Operation(NamedTuple, Generic[Q, H, B]):
    """What a route takes and gives: requests are read by it, and the description is made of it."""

    name: str
    """A name of its own, for programs that are made from the description."""
    tag: Tag
    inputs: Inputs[Q, H, B]
    results: tuple[Result, ...]
    problems: tuple[Exception, ...] = ()
    """An example of each that is this route's own; those that follow from its inputs are left out."""
    path: type[msgspec.Struct] = NoParameters
    """What stands for the placeholders of the path, for the description: handlers say what is not there."""
    remark: str = ""
    """What else is to be said, in Markdown."""


class Route(msgspec.Struct, Generic[Q, H, B], frozen=True, dict=True):
    """What answers a method at a path."""

    method: str
    path: str
    """`{name}` stands for one segment."""
    handler: Callable[[Request[Q, H, B]], Response | Deferred[Response]]
    """The first line of its docstring is the summary."""
    permission: Permission
    """What it asks of its callers."""
    operation: Operation[Q, H, B] | None = None
    """None for the pages about the API, which are not part of it and take nothing."""
    may_block: bool = False
    """Whether the handler may take long, or have to wait for the database: it is called in a thread then."""

    @cached_property
    def inputs(self) -> Inputs[Q, H, B]:
        """What a request may bring along."""
        return cast(Inputs[Q, H, B], NOTHING) if self.operation is None else self.operation.inputs

    @cached_property
    def max_body_bytes(self) -> int:
        """How much is taken of a body; 0 where it is not looked at."""
        return self.inputs.body.limit

    def answer(self, request: Request[Q, H, B]) -> Response | Deferred[Response]:
        """Read what the request brings along, and call the handler."""
        request.read(self.inputs)
        try:
            return self.handler(request)
        finally:
            request.forget_body()


AnyOperation: TypeAlias = Operation[Any, Any, Any]
AnyRoute: TypeAlias = Route[Any, Any, Any]
