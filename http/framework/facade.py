"""Facade: the CherryPy application that answers requests along a table of routes.

CherryPy's own request cycle (configuration, tools, hooks, parsing of forms and cookies) costs more than everything
else that is done for an order, and nothing of it is used here. So the application looks up the route and calls its
handler by itself. CherryPy's tree and bus take it as it is. Our own server calls it in its loop; to any other server it
is a WSGI callable.
"""

from __future__ import annotations

from collections.abc import Iterable
from http import HTTPStatus
from typing import TYPE_CHECKING

import cherrypy  # type: ignore[import-untyped]  # CherryPy has no types

from ..security.protection import Protection
from ..wire.environ import content_of, request_of
from ..wire.message import WireRequest
from .exchange import Exchange
from .problems import ProblemKinds
from .route import AnyRoute
from .router import Router

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

_STATUS_LINES = {status.value: f"{status.value} {status.phrase}" for status in HTTPStatus}


class Facade(cherrypy.Application):  # type: ignore[misc]  # CherryPy has no types
    """The application: WSGI, and called in the loop by our own server.

    Args:
        routes: all that it answers.
        protection: what stands between it and its callers.
        problem_kinds: what the errors that its handlers raise are over HTTP.
    """

    def __init__(self, routes: Iterable[AnyRoute], protection: Protection, problem_kinds: ProblemKinds) -> None:
        super().__init__(root=None)
        self._router = Router(routes)
        self._protection = protection
        self._problem_kinds = problem_kinds

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer a request, as PEP 3333 has it; the thread waits for the engine."""
        exchange = self.open(request_of(environ))
        response = exchange.wait(content_of(environ, exchange.max_body_bytes))
        start_response(_STATUS_LINES[response.status], list(response.headers))
        body = response.body
        if not isinstance(body, bytes):
            return body
        return [body] if body else []

    def open(self, request: WireRequest) -> Exchange:
        """Judge a request by its head; see `LoopApplication`. In a loop, the engine's replies have to come there."""
        return Exchange(self._router, self._protection, self._problem_kinds, request)
