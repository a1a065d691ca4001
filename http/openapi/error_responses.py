"""What a call answers when it refuses, as the description has it: a problem of some kinds for each status."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec

from ..framework.parameters import parameters_of
from ..framework.problems import ProblemKinds, answer_for
from ..framework.route import AnyOperation, AnyRoute
from ..wire import request_id
from ..wire.errors import (
    ContentTooLarge,
    CrossOriginRefused,
    HeadTooLarge,
    InvalidParameter,
    KeyNotEnough,
    KeyRequired,
    KeysUnreadable,
    LengthRequired,
    MalformedRequest,
    MisdirectedRequest,
    NotJson,
    RequestTimeout,
    ServerBusy,
    TargetTooLong,
    TruncatedBody,
    UnsupportedMediaType,
)
from ..wire.headers import JSON
from ..wire.problem_details import MEDIA_TYPE, Problem, ProblemAnswer
from .headers import header
from .schemas import schema

# What is answered before anybody looks at the path.
_UNROUTED = (
    MalformedRequest("A request of HTTP/1.1 names its host.", "Host"),
    TruncatedBody(116, 58),
    RequestTimeout(),
    LengthRequired(),
    TargetTooLong(8192),
    HeadTooLarge("The header has more than 100 fields."),
    ServerBusy(),
)

Tree = dict[str, Any]


class _Refusal(NamedTuple):
    problem: ProblemAnswer
    headers: frozenset[str]


def error_responses(
    route: AnyRoute, operation: AnyOperation, problem_kinds: ProblemKinds, *, needs_keys: bool
) -> dict[str, Tree]:
    """The descriptions of all problems that a route may answer with, by status.

    Args:
        route: it.
        operation: what it takes and gives.
        problem_kinds: what its own errors are over HTTP.
        needs_keys: whether there are keys at all.
    """
    errors = (*_UNROUTED, *_examples(route, operation, needs_keys), RuntimeError())
    by_status = defaultdict(list)
    for refusal in sorted(_refusal(error, problem_kinds) for error in errors):
        by_status[str(refusal.problem.status.value)].append(refusal)
    return {status: _describe(int(status), those) for status, those in by_status.items()}


def _refusal(error: Exception, problem_kinds: ProblemKinds) -> _Refusal:
    answer = answer_for(error, problem_kinds)
    return _Refusal(answer, frozenset({request_id.HEADER, *(name for name, _ in answer.headers)}))


def _examples(route: AnyRoute, operation: AnyOperation, needs_keys: bool) -> Iterator[Exception]:
    """One of each kind: what follows from the path and from the body, and what is the operation's own."""
    if not needs_keys:
        yield MisdirectedRequest()
        if route.method != "GET":
            yield CrossOriginRefused()
    elif route.permission.roles:
        yield KeyRequired()
        yield KeysUnreadable()
        yield KeyNotEnough(f"This needs a key with the role {route.permission.words}.")
    query: type[msgspec.Struct] = operation.inputs.query
    formats = operation.inputs.body.formats
    yield InvalidParameter("page", f"is unknown here; known: {', '.join(parameters_of(query)) or 'none'}")
    if formats:
        yield LengthRequired()
        yield ContentTooLarge("More was sent than is taken here at once.")
        yield UnsupportedMediaType(f"Send the body with Content-Type: {' or '.join(formats)}.")
    if JSON in formats:
        yield NotJson("Input data was truncated")
    yield from operation.problems


def _describe(status: int, refused: list[_Refusal]) -> Tree:
    examples = [msgspec.json.decode(refusal.problem.body) for refusal in refused]
    types = list(dict.fromkeys(example["type"] for example in examples))
    kind = schema(Problem) | {"properties": {"type": {"enum": types}, "status": {"const": status}}}
    always = frozenset.intersection(*(refusal.headers for refusal in refused))
    ever = frozenset.union(*(refusal.headers for refusal in refused))
    return {
        "description": ", or: ".join(dict.fromkeys(example["title"] for example in examples)) + ".",
        "content": {
            MEDIA_TYPE: {
                "schema": kind,
                "examples": {
                    example["type"].rpartition(":")[2]: {"summary": example["title"], "value": example}
                    for example in examples
                },
            }
        },
        "headers": {name: header(name, name in always) for name in sorted(ever)},
    }
