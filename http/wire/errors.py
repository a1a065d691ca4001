"""What is wrong with a request as HTTP has it, each with its status; what is wrong with an order is up to others."""

from __future__ import annotations

from http import HTTPStatus
from typing import ClassVar

from ...store.domain.errors import FieldFault, OrdermillError, pointer_to

_CHALLENGE = 'Bearer realm="ordermill"'


class HttpError(OrdermillError):
    """A request that HTTP or the routes refuse, before any order is looked at."""

    status: ClassVar[HTTPStatus]
    slug: ClassVar[str]
    """Names the kind of error, for programs."""
    title: ClassVar[str]
    """The same for people."""
    headers: tuple[tuple[str, str], ...] = ()
    """What its answer has beyond those that every answer has."""


class NotJson(HttpError):
    """The body is not JSON."""

    status = HTTPStatus.BAD_REQUEST
    slug = "not-json"
    title = "The body is not JSON"

    def __init__(self, detail: str) -> None:
        super().__init__(f"The body is not valid JSON: {detail}.")


class NoSuchResource(HttpError):
    """Nothing is at this path."""

    status = HTTPStatus.NOT_FOUND
    slug = "no-such-resource"
    title = "Nothing is here"

    def __init__(self) -> None:
        super().__init__("Nothing is at this path.")


class MethodNotAllowed(HttpError):
    """The path exists, but not for this method."""

    status = HTTPStatus.METHOD_NOT_ALLOWED
    slug = "method-not-allowed"
    title = "The method is not allowed here"

    def __init__(self, allow: str) -> None:
        self.allow = allow
        self.headers = (("Allow", allow),)
        super().__init__(f"This path allows {allow}.")


class MalformedRequest(HttpError):
    """The head of the request breaks a rule of HTTP.

    Args:
        detail: which.
        header: the field of the header that does, if it is one.
    """

    status = HTTPStatus.BAD_REQUEST
    slug = "malformed-request"
    title = "The request is malformed"

    def __init__(self, detail: str, header: str = "") -> None:
        self.faults = (FieldFault(f"/header/{header}", detail),) if header else ()
        super().__init__(detail)


class TargetTooLong(HttpError):
    """The path and the query are longer than any of ours."""

    status = HTTPStatus.REQUEST_URI_TOO_LONG
    slug = "target-too-long"
    title = "The target is too long"

    def __init__(self, max_bytes: int) -> None:
        super().__init__(f"The target is longer than {max_bytes} bytes.")


class HeadTooLarge(HttpError):
    """The header has too many fields or bytes."""

    status = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
    slug = "header-too-large"
    title = "The header of the request is too large"


class LengthRequired(HttpError):
    """The body's length is not given."""

    status = HTTPStatus.LENGTH_REQUIRED
    slug = "length-required"
    title = "The length of the body is required"

    def __init__(self) -> None:
        super().__init__("Send the length of the body in Content-Length, or the body in chunks (Transfer-Encoding).")


class RequestTimeout(HttpError):
    """The rest of the request did not come in time."""

    status = HTTPStatus.REQUEST_TIMEOUT
    slug = "request-timeout"
    title = "The request did not come in time"

    def __init__(self) -> None:
        super().__init__("The request did not come in time: send it faster, or without a pause.")


class ServerBusy(HttpError):
    """Too much is being sent at the same time."""

    status = HTTPStatus.SERVICE_UNAVAILABLE
    slug = "busy"
    title = "Too much is being sent"
    retry_after_seconds = 1

    def __init__(self) -> None:
        super().__init__("Too many large requests are being sent: try again later.")


class TooManyWatchers(HttpError):
    """As many watch what happens as may watch at the same time, in all or with the same key."""

    status = HTTPStatus.SERVICE_UNAVAILABLE
    slug = "too-many-watchers"
    title = "Too many watch already"
    retry_after_seconds = 5

    def __init__(self) -> None:
        super().__init__("As many watch what happens as may, or as may with this key: try again later.")


class TruncatedBody(HttpError):
    """The body ended before its announced length."""

    status = HTTPStatus.BAD_REQUEST
    slug = "truncated-body"
    title = "The body is incomplete"

    def __init__(self, expected: int | None, received: int) -> None:
        of_all = "" if expected is None else f" of {expected}"
        super().__init__(f"The body ended after {received}{of_all} bytes.")


class ContentTooLarge(HttpError):
    """More than is taken at once."""

    status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    slug = "content-too-large"
    title = "The request is too large"


class UnsupportedMediaType(HttpError):
    """The body is announced as something that this path does not take."""

    status = HTTPStatus.UNSUPPORTED_MEDIA_TYPE
    slug = "unsupported-media-type"
    title = "The media type is not supported"


class InvalidBody(HttpError):
    """The body is JSON, and a field of it is unknown, missing, or has a bad value."""

    status = HTTPStatus.UNPROCESSABLE_ENTITY
    slug = "invalid-body"
    title = "The body is not valid"

    def __init__(self, faults: tuple[FieldFault, ...]) -> None:
        self.faults = faults
        super().__init__("; ".join(f"{fault.pointer or 'body'}: {fault.detail}" for fault in faults))


class InvalidParameter(HttpError):
    """A parameter of the query is unknown or has a bad value."""

    status = HTTPStatus.UNPROCESSABLE_ENTITY
    slug = "invalid-parameter"
    title = "A parameter is not valid"

    def __init__(self, name: str, detail: str) -> None:
        self.faults = (FieldFault("/query" + pointer_to(name), detail),)
        super().__init__(f"The parameter {name!r} {detail}.")


class KeyRequired(HttpError):
    """No key was sent, or one that is not valid.

    Args:
        detail: which of the two.
        code: the error as RFC 6750 names it; none where no key was sent.
    """

    status = HTTPStatus.UNAUTHORIZED
    slug = "key-required"
    title = "A key is required"

    def __init__(self, detail: str = "Send a key: `Authorization: Bearer om_…`.", code: str = "") -> None:
        super().__init__(detail)
        self.headers = (("WWW-Authenticate", f'Bearer realm="ordermill", error="{code}"' if code else _CHALLENGE),)


class KeyNotEnough(HttpError):
    """The key is not good for this."""

    status = HTTPStatus.FORBIDDEN
    slug = "key-not-enough"
    title = "The key is not good for this"
    headers = (("WWW-Authenticate", 'Bearer realm="ordermill", error="insufficient_scope"'),)


class KeysUnreadable(HttpError):
    """Nobody knows which keys are good: their file cannot be read."""

    status = HTTPStatus.SERVICE_UNAVAILABLE
    slug = "keys-unreadable"
    title = "Keys cannot be checked"
    retry_after_seconds = 5

    def __init__(self) -> None:
        super().__init__("The server cannot read its keys, and takes none until it can: its operator has to mend that.")


class MisdirectedRequest(HttpError):
    """The request is for a host that this server is not."""

    status = HTTPStatus.MISDIRECTED_REQUEST
    slug = "misdirected"
    title = "The request is for another host"

    def __init__(self) -> None:
        super().__init__(
            "This server asks for no key, and so answers to names of its own machine only, such as localhost."
        )


class CrossOriginRefused(HttpError):
    """A page of another origin would change something."""

    status = HTTPStatus.FORBIDDEN
    slug = "cross-origin"
    title = "A page of another origin must not do this"

    def __init__(self) -> None:
        super().__init__("The request comes from a page of another origin, which is none that may call.")


class TooManyOrders(HttpError):
    """A user sends more orders than its limit allows.

    Args:
        detail: who, and what to do.
        retry_after_seconds: when to try again.
        headers: what is told of the limit.
    """

    status = HTTPStatus.TOO_MANY_REQUESTS
    slug = "too-many-orders"
    title = "The user sends orders too fast"

    def __init__(self, detail: str, retry_after_seconds: int, headers: tuple[tuple[str, str], ...]) -> None:
        self.retry_after_seconds = retry_after_seconds
        self.headers = headers
        super().__init__(detail)


class IdempotencyKeyBusy(HttpError):
    """A request of this idempotency key is being answered."""

    status = HTTPStatus.CONFLICT
    slug = "idempotency-key-busy"
    title = "A request of this idempotency key is being answered"
    retry_after_seconds = 1

    def __init__(self) -> None:
        super().__init__("A request with this idempotency key is being answered: wait for its answer.")
