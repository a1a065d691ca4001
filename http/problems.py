"""Every error as clients get it: one table from errors to HTTP, as problem details (RFC 9457)."""

from __future__ import annotations

from http import HTTPStatus
from typing import NamedTuple

import msgspec

from ..engine import (
    BacklogFull,
    EngineStopped,
    IdempotencyKeyReused,
    InvalidOrder,
    OrderConflict,
    OrdermillError,
    OrderNotFound,
    StoreUnavailable,
    SubmissionTooLarge,
    TransitionRefused,
    UserBacklogFull,
    UserSubmissionTooLarge,
)
from ..store.domain.errors import FieldFault
from ..store.domain.order import pointer_to

MEDIA_TYPE = "application/problem+json"
_CHALLENGE = 'Bearer realm="ordermill"'


class HttpError(OrdermillError):
    """A request that HTTP or the routes refuse, before any order is looked at."""


class NotJson(HttpError):
    """The body is not JSON."""

    def __init__(self, detail: str) -> None:
        super().__init__(f"The body is not valid JSON: {detail}.")


class NoSuchResource(HttpError):
    """Nothing is at this path."""

    def __init__(self) -> None:
        super().__init__("Nothing is at this path.")


class MethodNotAllowed(HttpError):
    """The path exists, but not for this method."""

    def __init__(self, allow: str) -> None:
        self.allow = allow
        super().__init__(f"This path allows {allow}.")


class MalformedRequest(HttpError):
    """The head of the request breaks a rule of HTTP.

    Args:
        detail: which.
        header: the field of the header that does, if it is one.
    """

    def __init__(self, detail: str, header: str = "") -> None:
        self.faults = (FieldFault(f"/header/{header}", detail),) if header else ()
        super().__init__(detail)


class TargetTooLong(HttpError):
    """The path and the query are longer than any of ours."""

    def __init__(self, max_bytes: int) -> None:
        super().__init__(f"The target is longer than {max_bytes} bytes.")


class HeadTooLarge(HttpError):
    """The header has too many fields or bytes."""


class LengthRequired(HttpError):
    """The body's length is not given."""

    def __init__(self) -> None:
        super().__init__("Send the length of the body in Content-Length, or the body in chunks (Transfer-Encoding).")


class RequestTimeout(HttpError):
    """The rest of the request did not come in time."""

    def __init__(self) -> None:
        super().__init__("The request did not come in time: send it faster, or without a pause.")


class ServerBusy(HttpError):
    """Too much is being sent at the same time."""

    retry_after_seconds = 1

    def __init__(self) -> None:
        super().__init__("Too many large requests are being sent: try again later.")


class TruncatedBody(HttpError):
    """The body ended before its announced length."""

    def __init__(self, expected: int | None, received: int) -> None:
        of_all = "" if expected is None else f" of {expected}"
        super().__init__(f"The body ended after {received}{of_all} bytes.")


class ContentTooLarge(HttpError):
    """More than is taken at once."""


class UnsupportedMediaType(HttpError):
    """The body is announced as something that this path does not take."""


class InvalidParameter(HttpError):
    """A parameter of the query is unknown or has a bad value."""

    def __init__(self, name: str, detail: str) -> None:
        self.faults = (FieldFault("/query" + pointer_to(name), detail),)
        super().__init__(f"The parameter {name!r} {detail}.")


class KeyRequired(HttpError):
    """No key was sent, or one that is none.

    Args:
        detail: which of the two.
        code: the error as RFC 6750 names it; none where no key was sent.
    """

    def __init__(self, detail: str = "Send a key: `Authorization: Bearer om_…`.", code: str = "") -> None:
        super().__init__(detail)
        self.headers = (("WWW-Authenticate", f'Bearer realm="ordermill", error="{code}"' if code else _CHALLENGE),)


class KeyNotEnough(HttpError):
    """The key is not good for this."""

    headers = (("WWW-Authenticate", 'Bearer realm="ordermill", error="insufficient_scope"'),)


class TooManyOrders(HttpError):
    """A user sends more orders than its limit allows.

    Args:
        detail: who, and what to do.
        retry_after_seconds: when to try again.
        headers: what is told of the limit.
    """

    def __init__(self, detail: str, retry_after_seconds: int, headers: tuple[tuple[str, str], ...]) -> None:
        self.retry_after_seconds = retry_after_seconds
        self.headers = headers
        super().__init__(detail)


class IdempotencyKeyBusy(HttpError):
    """A request of this idempotency key is being answered."""

    retry_after_seconds = 1

    def __init__(self) -> None:
        super().__init__("A request with this idempotency key is being answered: wait for its answer.")


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


class _Kind(NamedTuple):
    status: HTTPStatus
    slug: str
    title: str


_KINDS: dict[type[Exception], _Kind] = {
    NotJson: _Kind(HTTPStatus.BAD_REQUEST, "not-json", "The body is not JSON"),
    MalformedRequest: _Kind(HTTPStatus.BAD_REQUEST, "malformed-request", "The request is malformed"),
    RequestTimeout: _Kind(HTTPStatus.REQUEST_TIMEOUT, "request-timeout", "The request did not come in time"),
    TargetTooLong: _Kind(HTTPStatus.REQUEST_URI_TOO_LONG, "target-too-long", "The target is too long"),
    HeadTooLarge: _Kind(
        HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "header-too-large", "The header of the request is too large"
    ),
    TruncatedBody: _Kind(HTTPStatus.BAD_REQUEST, "truncated-body", "The body is incomplete"),
    KeyRequired: _Kind(HTTPStatus.UNAUTHORIZED, "key-required", "A key is required"),
    KeyNotEnough: _Kind(HTTPStatus.FORBIDDEN, "key-not-enough", "The key is not good for this"),
    NoSuchResource: _Kind(HTTPStatus.NOT_FOUND, "no-such-resource", "Nothing is here"),
    OrderNotFound: _Kind(HTTPStatus.NOT_FOUND, "order-not-found", "There is no such order"),
    MethodNotAllowed: _Kind(HTTPStatus.METHOD_NOT_ALLOWED, "method-not-allowed", "The method is not allowed here"),
    IdempotencyKeyBusy: _Kind(
        HTTPStatus.CONFLICT, "idempotency-key-busy", "A request of this idempotency key is being answered"
    ),
    OrderConflict: _Kind(HTTPStatus.CONFLICT, "order-conflict", "The order id is taken by another order"),
    TransitionRefused: _Kind(HTTPStatus.CONFLICT, "transition-refused", "The order's status does not allow this"),
    LengthRequired: _Kind(HTTPStatus.LENGTH_REQUIRED, "length-required", "The length of the body is required"),
    ContentTooLarge: _Kind(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "content-too-large", "The request is too large"),
    SubmissionTooLarge: _Kind(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "submission-too-large", "More orders at once than may be unfinished"
    ),
    UserSubmissionTooLarge: _Kind(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        "user-submission-too-large",
        "More orders of a user at once than it may have unfinished",
    ),
    UnsupportedMediaType: _Kind(
        HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type", "The media type is not supported"
    ),
    InvalidOrder: _Kind(HTTPStatus.UNPROCESSABLE_ENTITY, "invalid-order", "The order is not valid"),
    InvalidParameter: _Kind(HTTPStatus.UNPROCESSABLE_ENTITY, "invalid-parameter", "A parameter is not valid"),
    ServerBusy: _Kind(HTTPStatus.SERVICE_UNAVAILABLE, "busy", "Too much is being sent"),
    IdempotencyKeyReused: _Kind(
        HTTPStatus.UNPROCESSABLE_ENTITY, "idempotency-key-reused", "The idempotency key was used for another request"
    ),
    TooManyOrders: _Kind(HTTPStatus.TOO_MANY_REQUESTS, "too-many-orders", "The user sends orders too fast"),
    UserBacklogFull: _Kind(
        HTTPStatus.TOO_MANY_REQUESTS, "user-backlog-full", "Too many orders of the user are unfinished"
    ),
    BacklogFull: _Kind(HTTPStatus.SERVICE_UNAVAILABLE, "backlog-full", "Too many orders are unfinished"),
    EngineStopped: _Kind(HTTPStatus.SERVICE_UNAVAILABLE, "stopping", "The service is stopping"),
    StoreUnavailable: _Kind(HTTPStatus.SERVICE_UNAVAILABLE, "store-unavailable", "The database fails"),
}
"""The one table: what each error is over HTTP."""

_encode = msgspec.json.Encoder().encode


class ProblemAnswer(NamedTuple):
    """A problem, ready to send."""

    status: HTTPStatus
    body: bytes
    headers: tuple[tuple[str, str], ...]
    """Beyond those that every answer has."""


def answer_for(error: Exception) -> ProblemAnswer:
    """What a client gets for an error. One that is not in the table is our fault: 500, and no word about its inside."""
    kind = _KINDS.get(type(error))
    if kind is None:
        return answer_for_status(HTTPStatus.INTERNAL_SERVER_ERROR, "An unexpected error; it has been logged.")
    faults = [ProblemFault(pointer, detail) for pointer, detail in getattr(error, "faults", ())]
    problem = Problem(f"urn:ordermill:problem:{kind.slug}", kind.title, kind.status, str(error), faults)
    headers: list[tuple[str, str]] = [*getattr(error, "headers", ())]
    if isinstance(error, MethodNotAllowed):
        headers.append(("Allow", error.allow))
    if (seconds := getattr(error, "retry_after_seconds", None)) is not None:
        headers.append(("Retry-After", str(seconds)))
    return ProblemAnswer(kind.status, _encode(problem), tuple(headers))


def answer_for_status(status: HTTPStatus, detail: str) -> ProblemAnswer:
    """What a client gets where all that is known is the status: `about:blank`, as RFC 9457 §4.2.1 has it."""
    return ProblemAnswer(status, _encode(Problem("about:blank", status.phrase, status, detail)), ())
