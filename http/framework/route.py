"""Route: what answers a method at a path, and what there is to know of it for whoever calls it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum
from http import HTTPStatus
from typing import Any, NamedTuple

import msgspec

from ..security.access import Permission
from .deferred import Deferred
from .parameters import NoParameters
from .request import Request
from .request_headers import RequestHeaders
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
    Tag.OPERATORS: "Move orders that the engine cannot move by itself.",
    Tag.OBSERVERS: "How the engine is doing, for people, monitoring and orchestrators.",
}


class Content(NamedTuple):
    """A body of one media type."""

    kind: Any
    """The type of what is in it, as msgspec takes it."""
    example: object


class Result(NamedTuple):
    """An answer that is no problem."""

    status: HTTPStatus
    description: str
    contents: Mapping[str, Content] = {}
    """By media type."""
    headers: Mapping[str, bool] = {}
    """By name, whether every such answer has it; those that all answers have are left out."""


class Operation(NamedTuple):
    """What a route takes and gives."""

    name: str
    """A name of its own, for programs that are made from the description."""
    tag: Tag
    results: tuple[Result, ...]
    problems: tuple[Exception, ...] = ()
    """An example of each that is this route's own; those that follow from its body are left out."""
    path: type[msgspec.Struct] = NoParameters
    """What stands for the placeholders of the path."""
    query: type[msgspec.Struct] = NoParameters
    """The parameters that the handler asks the call for."""
    headers: type[msgspec.Struct] = RequestHeaders
    """The headers of requests, likewise; a field is renamed to its header."""
    bodies: Mapping[str, Content] = {}
    """By media type; empty where no body is taken."""
    is_body_optional: bool = False
    """Whether it may be left out."""
    remark: str = ""
    """What else is to be said, in Markdown."""


class Route(NamedTuple):
    """What answers a method at a path."""

    method: str
    path: str
    """`{name}` stands for one segment."""
    handler: Callable[[Request], Response | Deferred[Response]]
    """The first line of its docstring is the summary."""
    permission: Permission
    """What it asks of its callers."""
    operation: Operation | None = None
    """None for the pages about the API, which are no part of it."""
    may_block: bool = False
    """Whether the handler may take long, or have to wait for the database: it is called in a thread then."""
