"""WSGI applications (PEP 3333), each request in a thread: for what is not hot, and for what others wrote."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from ..wire import request_id
from ..wire.application import RunAside
from ..wire.environ import environ_of
from ..wire.errors import ServerBusy
from ..wire.message import BodyContent, WireRequest, WireResponse
from ..wire.problem_details import UNEXPECTED, ProblemAnswer, answer_for_http_error, headers_of

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication, WSGIEnvironment

# What the connection says by itself.
_OF_THE_SERVER = {"connection", "date", "keep-alive", "server", "transfer-encoding"}

_log = logging.getLogger("ordermill.http")


class WsgiCall:
    """A request to a WSGI application. Its answer is sent once all parts of it are there.

    Args:
        app: the application.
        mounted_at: the path that it is mounted at.
        server: host and port, and `http` or `https`.
        request: what is asked.
    """

    max_body_bytes = 64 * 1024
    """Whoever sends it has not been asked who it is: this is enough for a form."""
    caller: str | None = None
    """Not known: the application asks for itself."""

    def __init__(
        self, app: WSGIApplication, mounted_at: str, server: tuple[str, int, str], request: WireRequest
    ) -> None:
        self._app = app
        self._request = request
        self._mounted_at = mounted_at
        self._server = server
        self._has_gone = False

    def begin(self, content: BodyContent | None, respond: Callable[[WireResponse], object], aside: RunAside) -> None:
        """Have it answered; see `OpenRequest`."""
        try:
            aside(partial(self._run, content), respond)
        except ServerBusy as error:
            respond(_problem(self._request, answer_for_http_error(error)))

    def hurry(self) -> None:
        """Nothing: it takes the time that it takes."""

    def abandon(self) -> None:
        """Do not begin, if it has not begun."""
        self._has_gone = True

    def check(self) -> None:
        """Nothing: it is up to the application."""

    def _run(self, content: BodyContent | None) -> WireResponse:
        if self._has_gone:
            return WireResponse(HTTPStatus.SERVICE_UNAVAILABLE, (), b"")  # which nobody gets
        try:
            return call(self._app, environ_of(self._request, content, self._mounted_at, *self._server))
        except Exception:
            _log.exception("unexpected error in the application at %s", self._mounted_at or "/")
            return _problem(self._request, UNEXPECTED)


def call(app: WSGIApplication, environ: WSGIEnvironment) -> WireResponse:
    """The answer of an application.

    Args:
        app: it.
        environ: the request.
    """
    status = HTTPStatus.INTERNAL_SERVER_ERROR.value
    headers: list[tuple[str, str]] = []
    parts: list[bytes] = []

    def start_response(line: str, given: list[tuple[str, str]], exc_info: Any = None) -> Callable[[bytes], object]:
        nonlocal status, headers
        del exc_info  # nothing has been sent yet: the error's answer takes the place of the other
        status, headers = int(line.partition(" ")[0]), given
        return parts.append

    content = app(environ, start_response)
    try:
        parts += content
    finally:
        if (close := getattr(content, "close", None)) is not None:
            close()
    headers = [(name, value) for name, value in headers if name.lower() not in _OF_THE_SERVER]
    body = b"".join(parts)
    if "content-length" not in {name.lower() for name, _ in headers} and status not in (204, 304):
        headers = [*headers, ("Content-Length", str(len(body)))]
    return WireResponse(status, headers, b"" if environ["REQUEST_METHOD"] == "HEAD" else body)


def _problem(request: WireRequest, problem: ProblemAnswer) -> WireResponse:
    headers = headers_of(problem, request_id.request_id_of(request.fields))
    return WireResponse(problem.status, headers, b"" if request.method == "HEAD" else problem.body)
