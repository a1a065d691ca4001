"""What a call answers when it refuses, as the description has it: a problem of some kinds for each status."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

import msgspec

from ..engine import OrderNotFound
from . import problems
from .call import JSON
from .parameters import parameters_of
from .problems import (
    BodyTimeout,
    InvalidParameter,
    LengthRequired,
    NotJson,
    Problem,
    ProblemAnswer,
    TruncatedBody,
    UnsupportedMediaType,
)
from .route import Operation, Route
from .schemas import header, schema

_HEADERS = {"Retry-After": ("Seconds after which to try again.", int)}

Tree = dict[str, Any]


def refusals(route: Route, operation: Operation) -> dict[str, Tree]:
    """The descriptions of all problems that a route may answer with, by status."""
    answers = [problems.answer_for(example) for example in _examples(route, operation)]
    answers.append(problems.answer_for(RuntimeError()))
    if operation.bodies:
        status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
        answers.append(problems.answer_for_status(status, status.description))
    by_status = defaultdict(list)
    for answer in sorted(answers):
        by_status[str(answer.status.value)].append(answer)
    return {status: _refusal(int(status), those) for status, those in by_status.items()}


def _examples(route: Route, operation: Operation) -> Iterator[Exception]:
    """One of each kind: what follows from the path and from the body, and what is the operation's own."""
    yield InvalidParameter("page", f"is unknown here; known: {', '.join(parameters_of(operation.query)) or 'none'}")
    if "{order_id}" in route.path:
        yield OrderNotFound("o-1")
    if operation.bodies:
        yield UnsupportedMediaType(tuple(operation.bodies))
        yield LengthRequired()
        yield BodyTimeout()
        yield TruncatedBody(116, 58)
    if JSON in operation.bodies:
        yield NotJson("Input data was truncated")
    yield from operation.problems


def _refusal(status: int, answers: list[ProblemAnswer]) -> Tree:
    examples = [msgspec.json.decode(answer.body) for answer in answers]
    types = list(dict.fromkeys(example["type"] for example in examples))
    kind = schema(Problem) | {"properties": {"type": {"enum": types}, "status": {"const": status}}}
    tree: Tree = {
        "description": ", or: ".join(dict.fromkeys(example["title"] for example in examples)) + ".",
        "content": {
            problems.MEDIA_TYPE: {
                "schema": kind,
                "examples": {
                    example["type"].rpartition(":")[2]: {"summary": example["title"], "value": example}
                    for example in examples
                },
            }
        },
    }
    sent = [{name for name, _ in answer.headers} for answer in answers]
    headers = {
        name: header(*_HEADERS[name], all(name in names for names in sent))
        for name in _HEADERS
        if any(name in names for names in sent)
    }
    return tree | ({"headers": headers} if headers else {})
