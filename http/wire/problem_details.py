"""Problem details (RFC 9457): how errors are written for clients."""

from __future__ import annotations

from http import HTTPStatus
from typing import NamedTuple

import msgspec

from . import request_id
from .errors import HttpError
from .headers import FORGET, Headers

MEDIA_TYPE = "application/problem+json"

_encode = msgspec.json.Encoder().encode


class ProblemFault(msgspec.Struct):
    """One thing that is wrong with a request."""

    pointer: str
    """Where: a JSON pointer (RFC 6901) into the body; `/query/NAME` for a parameter, `/header/NAME` for a header."""
    detail: str


class Problem(msgspec.Struct, omit_defaults=True):
    """Problem details (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    errors: list[ProblemFault] = []


class ProblemKind(NamedTuple):
    """What a kind of error is over HTTP."""

    status: HTTPStatus
    slug: str
    """Names it, for programs."""
    title: str
    """The same for people."""


class ProblemAnswer(NamedTuple):
    """A problem, ready to send."""

    status: HTTPStatus
    body: bytes
    headers: tuple[tuple[str, str], ...]
    """Beyond those that every answer has."""


def answer_for_kind(error: Exception, kind: ProblemKind) -> ProblemAnswer:
    """What a client gets for an error of ours.

    Args:
        error: it; its `faults`, `headers` and `retry_after_seconds` are told as well, where it has them.
        kind: what it is over HTTP.
    """
    faults = [ProblemFault(pointer, detail) for pointer, detail in getattr(error, "faults", ())]
    problem = Problem(f"urn:ordermill:problem:{kind.slug}", kind.title, kind.status, str(error), faults)
    headers: list[tuple[str, str]] = [*getattr(error, "headers", ())]
    if (seconds := getattr(error, "retry_after_seconds", None)) is not None:
        headers.append(("Retry-After", str(seconds)))
    return ProblemAnswer(kind.status, _encode(problem), tuple(headers))


def answer_for_http_error(error: HttpError) -> ProblemAnswer:
    """What a client gets for a request that HTTP or the routes refuse."""
    return answer_for_kind(error, ProblemKind(error.status, error.slug, error.title))


def answer_for_status(status: HTTPStatus, detail: str) -> ProblemAnswer:
    """What a client gets where all that is known is the status: `about:blank`, as RFC 9457 §4.2.1 has it."""
    return ProblemAnswer(status, _encode(Problem("about:blank", status.phrase, status, detail)), ())


def headers_of(problem: ProblemAnswer, name: str) -> Headers:
    """The whole header of a problem that is answered where no route was found, or asked.

    Args:
        problem: it.
        name: the request's id.
    """
    return (
        ("Content-Type", MEDIA_TYPE),
        ("Content-Length", str(len(problem.body))),
        (request_id.HEADER, name),
        *FORGET,
        *problem.headers,
    )


UNEXPECTED = answer_for_status(HTTPStatus.INTERNAL_SERVER_ERROR, "An unexpected error; it has been logged.")
"""What a client gets for an error of ours: no word about its inside."""
