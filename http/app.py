"""The REST facade: the table of routes, and the CherryPy application that forwards requests along it.

CherryPy's own request cycle (configuration, tools, hooks, parsing of forms and cookies) costs more than everything
else that is done for an order, and nothing of it is used here. So the application is a WSGI callable by itself, which
looks up the route and calls its handler: CherryPy's tree, bus and server take it as it is.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote

import cherrypy  # type: ignore[import-untyped]  # CherryPy has no types

from ..engine import Desk, OrdermillError, Reply
from . import problems
from .call import Answer, Call, Later, Response
from .health import HealthCalls
from .metrics import MetricsCalls
from .orders import OrderCalls
from .problems import MethodNotAllowed, NoSuchResource

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

_log = logging.getLogger("ordermill.http")
_access_log = logging.getLogger("ordermill.http.access")


class Route(NamedTuple):
    """What answers a method at a path."""

    method: str
    path: str
    """`{order_id}` stands for one segment."""
    handler: Callable[[Call], Response]


def routes(desk: Desk, max_waiting: int) -> tuple[Route, ...]:
    """Every call of the API.

    Args:
        desk: of the engine that answers them.
        max_waiting: requests that may wait for an order at the same time.
    """
    orders = OrderCalls(desk, max_waiting)
    metrics = MetricsCalls(desk)
    health = HealthCalls(desk)
    return (
        Route("POST", "/orders", orders.submit),
        Route("GET", "/orders", orders.list),
        Route("POST", "/orders/bulk", orders.submit_bulk),
        Route("GET", "/orders/{order_id}", orders.read),
        Route("GET", "/orders/{order_id}/status", orders.read_status),
        Route("GET", "/orders/{order_id}/history", orders.read_history),
        Route("POST", "/orders/{order_id}/cancel", orders.cancel),
        Route("POST", "/orders/{order_id}/retry", orders.retry),
        Route("POST", "/orders/{order_id}/settle", orders.settle),
        Route("GET", "/metrics", metrics.read),
        Route("GET", "/healthz", health.live),
        Route("GET", "/readyz", health.ready),
    )


class Router:
    """Finds the route of a request.

    Args:
        table: every route; a path that is written out goes before one with a placeholder.
    """

    def __init__(self, table: Iterable[Route]) -> None:
        self._methods: dict[str, dict[str, Callable[[Call], Response]]] = {}
        for route in table:
            self._methods.setdefault(route.path, {})[route.method] = route.handler
            self._methods.setdefault("*", {})[route.method] = route.handler  # only OPTIONS may ask for all there is

    def find(self, method: str, path: str) -> tuple[Callable[[Call], Response], str]:
        """The handler for a request, and the order id in its path.

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
            return (lambda _: Answer(b"", HTTPStatus.NO_CONTENT, (("Allow", allow),))), order_id
        raise MethodNotAllowed(allow)


class Facade(cherrypy.Application):  # type: ignore[misc]  # CherryPy has no types
    """The WSGI application.

    Args:
        desk: of a running engine.
        max_waiting: requests that may wait for an order at the same time.
    """

    def __init__(self, desk: Desk, max_waiting: int) -> None:
        super().__init__(root=None)
        self._router = Router(routes(desk, max_waiting))

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Exchange:
        """Begin to answer a request, as PEP 3333 has it."""
        return Exchange(self._router, environ, start_response)


class Exchange:
    """A request on its way to its answer, and then the parts of the answer.

    While the answer waits for the engine, our own server leaves it alone until what is `awaited` calls back. Any other
    WSGI server takes its parts, and waits for the first of them.

    Args:
        router: finds the handler.
        environ: the request, as PEP 3333 has it.
        start_response: called with the status and the headers before the first part.
    """

    __slots__ = ("_began", "_method", "_path", "_response", "_start_response")

    def __init__(self, router: Router, environ: WSGIEnvironment, start_response: StartResponse) -> None:
        self._began = time.perf_counter()
        self._method: str = environ["REQUEST_METHOD"]
        self._path: str = environ["PATH_INFO"]
        self._start_response = start_response
        self._response: Response
        try:
            handler, order_id = router.find(self._method, self._path)
            self._response = handler(Call(environ, environ.get("QUERY_STRING", ""), order_id))
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
        body, status, headers, content_type = response
        if _access_log.isEnabledFor(logging.INFO):
            milliseconds = (time.perf_counter() - self._began) * 1000
            _access_log.info("%s %s %d %.1f ms", self._method, quote(self._path), status, milliseconds)
        if status == HTTPStatus.NO_CONTENT:
            self._start_response(_STATUS_LINES[status], list(headers))
            return iter(())
        length = ("Content-Length", str(len(body)))
        self._start_response(_STATUS_LINES[status], [*headers, ("Content-Type", content_type), length])
        return iter(() if self._method == "HEAD" else (body,))

    def _go_on(self, later: Later) -> None:
        try:
            self._response = later.go_on()
        except Exception as error:
            self._response = self._explain(error)

    def _explain(self, error: Exception) -> Answer:
        if not isinstance(error, OrdermillError):
            _log.error("unexpected error on %s %s", self._method, quote(self._path), exc_info=error)
        problem = problems.answer_for(error)
        return Answer(problem.body, problem.status, problem.headers, problems.MEDIA_TYPE)


_STATUS_LINES = {status.value: f"{status.value} {status.phrase}" for status in HTTPStatus}


def _generalize(path: str) -> tuple[str, str]:
    parts = path.split("/", 3)
    if len(parts) < 3 or parts[1] != "orders" or not parts[2]:
        return path, ""
    order_id = parts[2]
    parts[2] = "{order_id}"
    return "/".join(parts), order_id
