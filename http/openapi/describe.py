"""The OpenAPI 3.1 description of the API, made from the routes that serve it and the types that they check with."""

from __future__ import annotations

import inspect
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

from ..framework.body import BodyFormat
from ..framework.parameters import parameters_of
from ..framework.problems import ProblemKinds
from ..framework.route import AnyOperation, AnyRoute, Content, Result
from ..security.access import Permission
from ..wire import request_id
from ..wire.conditional import COMPRESSED_FROM
from ..wire.problem_details import Problem
from .error_responses import error_responses
from .headers import header
from .schemas import components, schema

API_VERSION = "1"
"""Rises where a client that keeps to the description would have to be changed."""

_ABOUT = f"""Takes orders, acknowledges each only when it is safely on disk, and processes them in the background.

Sending an order again is always safe. Answers that mean "later" have a `Retry-After`. Every error is a problem
(RFC 9457) whose `type` says which.

Every path that takes GET takes HEAD as well, and any path answers OPTIONS with the methods that it takes. Answers of
{COMPRESSED_FROM} bytes and more come as gzip where `Accept-Encoding` takes it.
"""
_SCHEMES = {
    "key": {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "om_…",
        "description": "A key of this server's; what it is good for is up to its roles, and to the user it may be "
        "bound to: then there are no orders but those of that user.",
    }
}

Tree = dict[str, Any]


def describe(routes: Iterable[AnyRoute], problem_kinds: ProblemKinds, *, needs_keys: bool = False) -> Tree:
    """The description as a tree of JSON.

    Args:
        routes: those without an operation are left out.
        problem_kinds: what the errors of their operations are over HTTP.
        needs_keys: whether callers need keys.
    """
    described = [(route, route.operation) for route in routes if route.operation is not None]
    paths: dict[str, Tree] = defaultdict(dict)
    for route, operation in described:
        tree = _operation(route, operation, described)
        for status, refusal in error_responses(route, operation, problem_kinds, needs_keys=needs_keys).items():
            tree["responses"][status] = _either(tree["responses"].get(status), refusal)
        if needs_keys:
            tree["security"] = [{"key": [role]} for role in sorted(route.permission.roles)]
            tree["description"] = f"{tree['description']} {_needed(route.permission)}".strip()
        paths[route.path][route.method.lower()] = tree
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Ordermill",
            "version": API_VERSION,
            "description": _ABOUT,
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/", "description": "The server that this description comes from."}],
        # Without keys nothing needs one; with keys, each operation says which roles it needs.
        "security": [],
        "tags": [
            {"name": tag.value, "description": tag.about}
            for tag in dict.fromkeys(operation.tag for _, operation in described)
        ],
        "paths": paths,
        "components": {
            "schemas": _components(operation for _, operation in described),
            **({"securitySchemes": _SCHEMES} if needs_keys else {}),
        },
    }


def _operation(route: AnyRoute, operation: AnyOperation, described: list[tuple[AnyRoute, AnyOperation]]) -> Tree:
    inputs = operation.inputs
    places = (("path", operation.path), ("query", inputs.query), ("header", inputs.headers))
    tree: Tree = {
        "operationId": operation.name,
        "summary": (inspect.getdoc(route.handler) or "").partition("\n")[0].removesuffix(".").replace("`", ""),
        "description": operation.remark,
        "tags": [operation.tag.value],
        "parameters": [parameter for place, kind in places for parameter in _parameters(place, kind)],
        "responses": {
            str(result.status.value): _result(result) | _links(route, result, described) for result in operation.results
        },
    }
    if inputs.body.formats:
        tree["requestBody"] = {
            "required": not inputs.body.is_optional,
            "content": _contents(inputs.body.formats),
        }
    return tree


def _either(result: Tree | None, refusal: Tree) -> Tree:
    """The description of a status that stands for a result and for problems."""
    if result is None:
        return refusal
    headers = {
        name: {**result["headers"].get(name, {}), **refusal["headers"].get(name, {}), "required": False}
        for name in (result["headers"] | refusal["headers"])
    }
    return result | {"content": result["content"] | refusal["content"], "headers": headers}


def _needed(permission: Permission) -> str:
    if not permission.roles:
        return "Needs no key."
    return f"Needs a key with the role {permission.words}{', not bound to a user' if permission.of_all_users else ''}."


def _parameters(place: str, kind: type[msgspec.Struct]) -> Iterator[Tree]:
    for name, parameter in parameters_of(kind).items():
        tree = schema(parameter.type)
        description = tree.pop("description")
        is_required = parameter.default is msgspec.NODEFAULT
        if not is_required and parameter.default is not msgspec.UNSET:
            tree["default"] = parameter.default
        yield {"name": name, "in": place, "required": is_required, "description": description, "schema": tree}


def _contents(contents: Mapping[str, Content | BodyFormat[Any]]) -> Tree:
    return {media_type: _content(content) for media_type, content in contents.items()}


def _content(content: Content | BodyFormat[Any]) -> Tree:
    return {"schema": schema(content.kind), "example": msgspec.to_builtins(content.example)}


def _result(result: Result) -> Tree:
    headers = {request_id.HEADER: True, **result.headers}
    tree: Tree = {
        "description": result.description,
        "headers": {name: header(name, is_required) for name, is_required in headers.items()},
    }
    return tree | ({"content": _contents(result.contents)} if result.contents else {})


def _links(route: AnyRoute, result: Result, described: list[tuple[AnyRoute, AnyOperation]]) -> Tree:
    """Where a call may make something: all that can be asked about it, by the fields that the answer names it with."""
    if route.method != "POST" or "{" in route.path:
        return {}
    told = {name for content in result.contents.values() for name in _always_told(content.kind)}
    links = {
        target.name: {"operationId": target.name, "parameters": {name: f"$response.body#/{name}" for name in names}}
        for _, target in described
        if (names := target.path.__struct_fields__) and told.issuperset(names)
    }
    return {"links": links} if links else {}


def _always_told(kind: Any) -> Iterator[str]:
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        yield from (field.name for field in msgspec.structs.fields(kind) if field.required)


def _components(operations: Iterable[AnyOperation]) -> Tree:
    kinds = [Problem]
    for operation in operations:
        kinds += (form.kind for form in operation.inputs.body.formats.values())
        kinds += (content.kind for result in operation.results for content in result.contents.values())
    return components(kinds)
