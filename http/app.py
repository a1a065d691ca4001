"""The REST facade: the table of routes, and the CherryPy application that forwards requests along it.

CherryPy's own request cycle (configuration, tools, hooks, parsing of forms and cookies) costs more than everything
else that is done for an order, and nothing of it is used here. So the application brings a request of its own, which
looks up the route and calls its handler: CherryPy's tree, bus and server are as they are.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import Any, NamedTuple
from urllib.parse import quote

import cherrypy  # type: ignore[import-untyped]  # CherryPy has no types

from ..engine import OrderEngine, OrdermillError
from . import problems
from .call import Answer, Call
from .health import HealthCalls
from .metrics import MetricsCalls
from .orders import OrderCalls
from .problems import MethodNotAllowed, NoSuchResource

_log = logging.getLogger("ordermill.http")
_access_log = logging.getLogger("ordermill.http.access")


class Route(NamedTuple):
    """What answers a method at a path."""

    method: str
    path: str
    """`{order_id}` stands for one segment."""
    handler: Callable[[Call], Answer]


def routes(engine: OrderEngine, max_waiting: int) -> tuple[Route, ...]:
    """Every call of the API.

    Args:
        engine: what answers them.
        max_waiting: requests that may wait for an order at the same time.
    """
    orders = OrderCalls(engine, max_waiting)
    metrics = MetricsCalls(engine)
    health = HealthCalls(engine)
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
        self._methods: dict[str, dict[str, Callable[[Call], Answer]]] = {}
        for route in table:
            self._methods.setdefault(route.path, {})[route.method] = route.handler
            self._methods.setdefault("*", {})[route.method] = route.handler  # only OPTIONS may ask for all there is

    def find(self, method: str, path: str) -> tuple[Callable[[Call], Answer], str]:
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
        engine: a running engine.
        max_waiting: requests that may wait for an order at the same time.
    """

    def __init__(self, engine: OrderEngine, max_waiting: int) -> None:
        super().__init__(root=None)
        self.request_class = _Request
        self.response_class = _Response
        self.router = Router(routes(engine, max_waiting))


class _Request(cherrypy._cprequest.Request):  # type: ignore[misc]  # CherryPy has no types
    app: Facade
    wsgi_environ: dict[str, Any]

    def run(
        self,
        method: str,
        path: str,
        query_string: str,
        req_protocol: str,  # noqa: ARG002  # CherryPy's signature
        headers: object,  # noqa: ARG002
        rfile: object,  # noqa: ARG002
    ) -> _Response:
        began = time.perf_counter()
        try:
            handler, order_id = self.app.router.find(method, path)
            answer = handler(Call(self.wsgi_environ, query_string, order_id))
        except Exception as error:
            if not isinstance(error, OrdermillError):
                _log.exception("unexpected error on %s %s", method, quote(path))
            problem = problems.answer_for(error)
            answer = Answer(problem.body, problem.status, problem.headers, problems.MEDIA_TYPE)
        if _access_log.isEnabledFor(logging.INFO):
            milliseconds = (time.perf_counter() - began) * 1000
            _access_log.info("%s %s %d %.1f ms", method, quote(path), answer.status, milliseconds)
        response: _Response = cherrypy.serving.response
        response.fill(answer, with_body=method != "HEAD")
        return response

    def close(self) -> None:
        self.closed = True


class _Response:
    """What CherryPy's WSGI side reads of a response."""

    stream = False
    output_status: bytes
    header_list: list[tuple[bytes, bytes]]
    body: tuple[bytes, ...]

    def fill(self, answer: Answer, *, with_body: bool) -> None:
        status = HTTPStatus(answer.status)
        self.output_status = b"%d %s" % (status.value, status.phrase.encode())
        self.header_list = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in answer.headers]
        if status is not HTTPStatus.NO_CONTENT:
            self.header_list.append((b"Content-Type", answer.content_type.encode("latin-1")))
            self.header_list.append((b"Content-Length", b"%d" % len(answer.body)))
        self.body = (answer.body,) if with_body else ()


def _generalize(path: str) -> tuple[str, str]:
    parts = path.split("/", 3)
    if len(parts) < 3 or parts[1] != "orders" or not parts[2]:
        return path, ""
    order_id = parts[2]
    parts[2] = "{order_id}"
    return "/".join(parts), order_id
