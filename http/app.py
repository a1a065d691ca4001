"""The REST facade: the table of routes, and the CherryPy application that forwards requests along it.

CherryPy's own request cycle (configuration, tools, hooks, parsing of forms and cookies) costs more than everything
else that is done for an order, and nothing of it is used here. So the application is a WSGI callable by itself, which
looks up the route and calls its handler: CherryPy's tree, bus and server take it as it is.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import cherrypy  # type: ignore[import-untyped]  # CherryPy has no types

from ..engine import Desk, OrdermillError, Reply
from . import docs, operations, problems
from .access import OPERATING, OVERVIEW, PUBLIC, READING, SUBMITTING
from .call import NO_PAGE, Answer, Call, Later, Response
from .document import Document
from .envelope import seal
from .health import HealthCalls
from .metrics import MetricsCalls
from .openapi import describe
from .orders import OrderCalls
from .payloads import encode
from .problems import MethodNotAllowed, NoSuchResource
from .protection import UNPROTECTED, Protection
from .request_id import request_id_of
from .route import Route

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

_log = logging.getLogger("ordermill.http")
_access_log = logging.getLogger("ordermill.http.access")


def routes(desk: Desk, max_waiting: int, protection: Protection) -> tuple[Route, ...]:
    """Every call of the API.

    Args:
        desk: of the engine that answers them.
        max_waiting: requests that may wait for an order at the same time.
        protection: what stands between it and its callers.
    """
    orders = OrderCalls(desk, max_waiting, protection.user_rate)
    metrics = MetricsCalls(desk)
    health = HealthCalls(desk, protection.doorkeeper.trouble)
    api = (
        Route("POST", "/orders", orders.submit, SUBMITTING, operations.SUBMIT),
        Route("GET", "/orders", orders.list, READING, operations.LIST),
        Route("POST", "/orders/bulk", orders.submit_bulk, SUBMITTING, operations.SUBMIT_BULK),
        Route("GET", "/orders/{order_id}", orders.read, READING, operations.READ),
        Route("GET", "/orders/{order_id}/status", orders.read_status, READING, operations.READ_STATUS),
        Route("GET", "/orders/{order_id}/history", orders.read_history, READING, operations.READ_HISTORY),
        Route("POST", "/orders/{order_id}/cancel", orders.cancel, SUBMITTING, operations.CANCEL_ORDER),
        Route("POST", "/orders/{order_id}/retry", orders.retry, OPERATING, operations.RETRY),
        Route("POST", "/orders/{order_id}/settle", orders.settle, OPERATING, operations.SETTLE),
        Route("GET", "/metrics", metrics.read, OVERVIEW, operations.METRICS),
        Route("GET", "/healthz", health.live, PUBLIC, operations.LIVE),
        Route("GET", "/readyz", health.ready, PUBLIC, operations.READY),
    )
    needs_keys = protection.doorkeeper.needs_keys
    description = Document(lambda: encode(describe(api, needs_keys=needs_keys)), NO_PAGE)
    return (*api, Route("GET", "/openapi.json", description.read, PUBLIC), *docs.ROUTES)


class Router:
    """Finds the route of a request.

    Args:
        table: every route; a path that is written out goes before one with a placeholder.
    """

    def __init__(self, table: Iterable[Route]) -> None:
        self._methods: dict[str, dict[str, Route]] = {}
        for route in table:
            self._methods.setdefault(route.path, {})[route.method] = route
            self._methods.setdefault("*", {})[route.method] = route  # only OPTIONS may ask for all there is

    def find(self, method: str, path: str) -> tuple[Route, str]:
        """The route of a request, and the order id in its path.

        Raises:
            NoSuchResource: nothing is at this path.
            MethodNotAllowed: something is, but not for this method.
        """
        wanted = "GET" if method == "HEAD" else method
        exact = self._methods.get(path, {})
        if wanted in exact:
            return exact[wanted], ""
        pattern, order_id = _generalize(path)
        general = self._methods.get(pattern, {})
        if wanted in general:
            return general[wanted], order_id
        methods = {*exact, *general}
        if not methods:
            raise NoSuchResource
        allow = ", ".join(sorted({*methods, "OPTIONS", *(["HEAD"] if "GET" in methods else [])}))
        if method == "OPTIONS":
            # Browsers ask before they have a key to send.
            answer = Answer(b"", HTTPStatus.NO_CONTENT, (("Allow", allow),))
            return Route(method, path, lambda _: answer, PUBLIC), order_id
        raise MethodNotAllowed(allow)


class Facade(cherrypy.Application):  # type: ignore[misc]  # CherryPy has no types
    """The WSGI application.

    Args:
        desk: of a running engine.
        max_waiting: requests that may wait for an order at the same time.
        protection: what stands between it and its callers.
    """

    def __init__(self, desk: Desk, max_waiting: int, protection: Protection = UNPROTECTED) -> None:
        super().__init__(root=None)
        self._router = Router(routes(desk, max_waiting, protection))
        self._protection = protection

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Exchange:
        """Begin to answer a request, as PEP 3333 has it."""
        return Exchange(self._router, self._protection, environ, start_response)


class Exchange:
    """A request on its way to its answer, and then the parts of the answer.

    While the answer waits for the engine, our own server leaves it alone until what is `awaited` calls back. Any other
    WSGI server takes its parts, and waits for the first of them.

    Args:
        router: finds the handler.
        protection: says who may call it.
        environ: the request, as PEP 3333 has it.
        start_response: called with the status and the headers before the first part.
    """

    __slots__ = ("_began", "_call", "_cors", "_environ", "_request_id", "_response", "_start_response")

    def __init__(
        self, router: Router, protection: Protection, environ: WSGIEnvironment, start_response: StartResponse
    ) -> None:
        self._began = time.perf_counter()
        self._environ = environ
        self._start_response = start_response
        self._cors = protection.cors
        self._request_id = request_id_of(environ)
        self._call: Call | None = None
        self._response: Response
        try:
            route, order_id = router.find(environ["REQUEST_METHOD"], environ["PATH_INFO"])
            caller = protection.doorkeeper.admit(route.access, environ)
            self._call = Call(environ, environ.get("QUERY_STRING", ""), order_id, caller, self._request_id)
            self._response = route.handler(self._call)
        except Exception as error:
            self._response = self._explain(error)

    @property
    def awaited(self) -> Reply[Any] | None:
        """What the answer waits for; None when it is there."""
        while isinstance(response := self._response, Later):
            if not response.reply.is_done:
                return response.reply
            self._go_on(response)
        return None

    def __iter__(self) -> Iterator[bytes]:
        while isinstance(response := self._response, Later):
            self._go_on(response)
        body, headers = seal(response, self._environ, self._request_id, self._cors)
        if _access_log.isEnabledFor(logging.INFO):
            self._log_access(response.status)
        self._start_response(_STATUS_LINES[response.status], headers)
        return iter((body,) if body else ())

    def _go_on(self, later: Later) -> None:
        try:
            self._response = later.go_on()
        except Exception as error:
            self._response = self._explain(error)

    def _explain(self, error: Exception) -> Answer:
        if not isinstance(error, OrdermillError):
            _log.error("unexpected error on %s", self._line, exc_info=error, extra=self._about)
        problem = problems.answer_for(error)
        return Answer(problem.body, problem.status, problem.headers, problems.MEDIA_TYPE)

    def _log_access(self, status: int) -> None:
        milliseconds = round((time.perf_counter() - self._began) * 1000, 1)
        extra = {**self._about, "status": int(status), "milliseconds": milliseconds}
        _access_log.info("%s %d %.1f ms", self._line, status, milliseconds, extra=extra)

    @property
    def _line(self) -> str:
        # Quoted: nobody can write a second line into the log. Without the query, which may name a user.
        return f"{self._environ['REQUEST_METHOD']} {quote(self._environ['PATH_INFO'])}"

    @property
    def _about(self) -> dict[str, object]:
        about: dict[str, object] = {"request_id": self._request_id}
        if self._call is not None:
            about |= {"order_id": self._call.order_id, "key_id": self._call.caller.key_id}
        return about


_STATUS_LINES = {status.value: f"{status.value} {status.phrase}" for status in HTTPStatus}


def _generalize(path: str) -> tuple[str, str]:
    parts = path.split("/", 3)
    if len(parts) < 3 or parts[1] != "orders" or not parts[2]:
        return path, ""
    order_id = parts[2]
    parts[2] = "{order_id}"
    return "/".join(parts), order_id
