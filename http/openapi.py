"""The OpenAPI 3.1 description of the API, made from the routes that serve it and the types that they check with."""

from __future__ import annotations

import inspect
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import Any

import msgspec

from ..engine import OrderNotFound
from .call import Answer, Call
from .parameters import NoParameters, OrderPath, parameters_of
from .payloads import encode
from .problems import Problem
from .refusals import refusals
from .route import Content, Operation, Reply, Route
from .schemas import components, header, schema

API_VERSION = "1"
"""Rises where a client that keeps to the description would have to be changed."""

_ABOUT = """Takes orders, acknowledges each only when it is safely on disk, and processes them in the background.

Sending an order again is always safe. Answers that mean "later" are 503 with `Retry-After`. Every error is a problem
(RFC 9457) whose `type` says which; where a request is no HTTP that the server understands, the `type` is `about:blank`.
"""

Tree = dict[str, Any]


class DescriptionCalls:
    """The description, for programs.

    Args:
        routes: what it describes.
    """

    def __init__(self, routes: Iterable[Route]) -> None:
        self._routes = tuple(routes)

    def read(self, call: Call) -> Answer:
        """The OpenAPI description of this API."""
        call.query(NoParameters)
        return Answer(self._document)

    @cached_property
    def _document(self) -> bytes:
        return encode(describe(self._routes))


def describe(routes: Iterable[Route]) -> Tree:
    """The description as a tree of JSON.

    Args:
        routes: those without an operation are left out.
    """
    described = [(route, route.operation) for route in routes if route.operation is not None]
    described += list(_hidden(described))
    paths: dict[str, Tree] = defaultdict(dict)
    for route, operation in described:
        paths[route.path][route.method.lower()] = _operation(route, operation, described)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Ordermill", "version": API_VERSION, "description": _ABOUT, "license": {"name": "MIT"}},
        "tags": [{"name": tag} for tag in dict.fromkeys(operation.tag for _, operation in described)],
        "paths": paths,
        "components": {"schemas": _components(operation for _, operation in described)},
    }


def _hidden(described: list[tuple[Route, Operation]]) -> Iterator[tuple[Route, Operation]]:
    """The routes of orders whose ids are words of other paths: `/orders/bulk` takes orders, and may be one as well."""
    written = {(route.method, route.path) for route, _ in described}
    for path in dict.fromkeys(route.path for route, _ in described if "{" not in route.path):
        for route, operation in described:
            pattern = re.escape(route.path).replace(r"\{order_id\}", "([^/]+)")
            match = re.fullmatch(pattern, path)
            if match and (route.method, path) not in written:
                (order_id,) = match.groups()
                yield (
                    route._replace(path=path),
                    operation._replace(
                        name=operation.name + order_id.capitalize(),
                        problems=(OrderNotFound(order_id), *operation.problems),
                        remark=f"For the order whose id is `{order_id}`.",
                    ),
                )


def _operation(route: Route, operation: Operation, described: list[tuple[Route, Operation]]) -> Tree:
    path = OrderPath if "{order_id}" in route.path else NoParameters
    places = (("path", path), ("query", operation.query), ("header", operation.headers))
    tree: Tree = {
        "operationId": operation.name,
        "summary": (inspect.getdoc(route.handler) or "").partition("\n")[0].removesuffix("."),
        "description": operation.remark,
        "tags": [operation.tag],
        "parameters": [parameter for place, kind in places for parameter in _parameters(place, kind)],
        "responses": {},
    }
    if operation.bodies:
        tree["requestBody"] = {"required": True, "content": _contents(operation.bodies)}
    for reply in operation.replies:
        tree["responses"][str(reply.status.value)] = _reply(reply) | _links(route, reply, described)
    for status, response in refusals(route, operation).items():
        content = tree["responses"].setdefault(status, response).get("content", {})
        content.update(response["content"])
    return tree


def _parameters(place: str, kind: type[msgspec.Struct]) -> Iterator[Tree]:
    for name, parameter in parameters_of(kind).items():
        tree = schema(parameter.type)
        description = tree.pop("description")
        is_required = parameter.default is msgspec.NODEFAULT
        if not is_required and parameter.default is not msgspec.UNSET:
            tree["default"] = parameter.default
        yield {"name": name, "in": place, "required": is_required, "description": description, "schema": tree}


def _contents(contents: Any) -> Tree:
    return {media_type: _content(content) for media_type, content in contents.items()}


def _content(content: Content) -> Tree:
    return {"schema": schema(content.kind), "example": msgspec.to_builtins(content.example)}


def _reply(reply: Reply) -> Tree:
    tree: Tree = {"description": reply.description, "content": _contents(reply.contents)}
    if reply.headers:
        tree["headers"] = {name: header(*declared) for name, declared in reply.headers.items()}
    return tree


def _links(route: Route, reply: Reply, described: list[tuple[Route, Operation]]) -> Tree:
    """Where a call may make an order: everything that can be asked about that order."""
    if (
        route.method != "POST"
        or "{order_id}" in route.path
        or not any("order_id" in getattr(content.kind, "__struct_fields__", ()) for content in reply.contents.values())
    ):
        return {}
    return {
        "links": {
            operation.name: {"operationId": operation.name, "parameters": {"order_id": "$response.body#/order_id"}}
            for target, operation in described
            if "{order_id}" in target.path
        }
    }


def _components(operations: Iterable[Operation]) -> Tree:
    contents = [
        content
        for operation in operations
        for body in (operation.bodies, *(reply.contents for reply in operation.replies))
        for content in body.values()
    ]
    return components([Problem, *(content.kind for content in contents)])
