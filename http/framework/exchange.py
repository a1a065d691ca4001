"""The REST facade: the table of routes, and the CherryPy application that forwards requests along it.

CherryPy's own request cycle (configuration, tools, hooks, parsing of forms and cookies) costs more than everything
else that is done for an order, and nothing of it is used here. So the application looks up the route and calls its
handler by itself. CherryPy's tree and bus take it as it is. Our own server calls it in its loop; to any other server it
is a WSGI callable.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote

import cherrypy  # type: ignore[import-untyped]  # CherryPy has no types

from ...engine import Desk, OrdermillError
from .. import problems
from ..api import operations
from ..api.health import HealthCalls
from ..api.metrics import MetricsCalls
from ..api.orders import OrderCalls
from ..api.payloads import encode
from ..openapi.describe import describe
from ..problems import MethodNotAllowed, NoSuchResource, ServerBusy
from ..security.access import OPERATING, OVERVIEW, PUBLIC, READING, SUBMITTING
from ..security.protection import UNPROTECTED, Protection
from ..transport.ports import RunAside
from ..transport.wsgi import request_of
from ..wire.message import WireRequest, WireResponse
from ..wire.request_id import request_id_of
from .finalize import seal
from .request import NO_PAGE, Answer, Call, Later, Response
from .route import Route
from .static_resource import Document

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

_log = logging.getLogger("ordermill.http")
_access_log = logging.getLogger("ordermill.http.security.access")


def routes(
    desk: Desk,
    max_waiting: int,
    protection: Protection,
    warnings: Callable[[], tuple[str, ...]] = tuple,
) -> tuple[Route, ...]:
    """Every call of the API.

    Args:
        desk: of the engine that answers them.
        max_waiting: requests that may wait for an order at the same time.
        protection: what stands between it and its callers.
        warnings: asked what an operator should mend, besides the keys.
    """
    orders = OrderCalls(desk, max_waiting, protection.user_rate)
    metrics = MetricsCalls(desk)
    health = HealthCalls(desk, lambda: (*protection.doorkeeper.trouble(), *warnings()))
    api = (
        Route("POST", "/orders", orders.submit, SUBMITTING, operations.SUBMIT),
        Route("GET", "/orders", orders.list, READING, operations.LIST, may_block=True),
        Route("POST", "/orders/bulk", orders.submit_bulk, SUBMITTING, operations.SUBMIT_BULK, may_block=True),
        Route("GET", "/orders/{order_id}", orders.read, READING, operations.READ),
        Route("GET", "/orders/{order_id}/status", orders.read_status, READING, operations.READ_STATUS),
        Route(
            "GET", "/orders/{order_id}/history", orders.read_history, READING, operations.READ_HISTORY, may_block=True
        ),
        Route("POST", "/orders/{order_id}/cancel", orders.cancel, SUBMITTING, operations.CANCEL_ORDER),
        Route("POST", "/orders/{order_id}/retry", orders.retry, OPERATING, operations.RETRY),
        Route("POST", "/orders/{order_id}/settle", orders.settle, OPERATING, operations.SETTLE),
        Route("GET", "/metrics", metrics.read, OVERVIEW, operations.METRICS),
        Route("GET", "/healthz", health.live, PUBLIC, operations.LIVE),
        Route("GET", "/readyz", health.ready, PUBLIC, operations.READY),
    )
    needs_keys = protection.doorkeeper.needs_keys
    description = Document(lambda: encode(describe(api, needs_keys=needs_keys)), NO_PAGE)
    return (*api, Route("GET", "/openapi.json", description.read, PUBLIC, may_block=True))


class Found(NamedTuple):
    """The route of a request, and what stands for the placeholders in its path."""

    route: Route
    parameters: Mapping[str, str]


class _Node:
    """What a path leads to, segment by segment."""

    def __init__(self) -> None:
        self.written: dict[str, _Node] = {}
        self.placeholder: _Node | None = None
        self.methods: dict[str, Route] = {}


class Router:
    """Finds the route of a request.

    Args:
        table: every route; where one path is written out and another has a placeholder, the written one goes before.
    """

    def __init__(self, table: Iterable[Route]) -> None:
        self._root = _Node()
        self._written: dict[tuple[str, str], Found] = {}
        self._all: dict[str, Route] = {}  # only OPTIONS may ask for all there is
        for route in table:
            node = self._root
            for segment in route.path.split("/"):
                if segment.startswith("{"):
                    node.placeholder = node = node.placeholder or _Node()
                else:
                    node = node.written.setdefault(segment, _Node())
            node.methods[route.method] = route
            self._all[route.method] = route
            if "{" not in route.path:
                self._written[route.method, route.path] = Found(route, {})

    def find(self, method: str, path: str) -> Found:
        """The route of a request.

        Raises:
            NoSuchResource: nothing is at this path.
            MethodNotAllowed: something is, but not for this method.
        """
        wanted = "GET" if method == "HEAD" else method
        if (found := self._written.get((wanted, path))) is not None:
            return found
        candidates = [self._all] if path == "*" else []
        values = path.split("/")
        for node in _walk(self._root, values, 0):
            if wanted in node.methods:
                route = node.methods[wanted]
                names = route.path.split("/")
                return Found(
                    route, {name[1:-1]: value for name, value in zip(names, values, strict=True) if name[:1] == "{"}
                )
            candidates.append(node.methods)
        methods = {method for methods in candidates for method in methods}
        if not methods:
            raise NoSuchResource
        allow = ", ".join(sorted({*methods, "OPTIONS", *(["HEAD"] if "GET" in methods else [])}))
        if method == "OPTIONS":
            # Browsers ask before they have a key to send.
            answer = Answer(b"", HTTPStatus.NO_CONTENT, (("Allow", allow),))
            return Found(Route(method, path, lambda _: answer, PUBLIC), {})
        raise MethodNotAllowed(allow)


def _walk(node: _Node, segments: list[str], depth: int) -> Iterator[_Node]:
    if depth == len(segments):
        if node.methods:
            yield node
        return
    segment = segments[depth]
    if (written := node.written.get(segment)) is not None:
        yield from _walk(written, segments, depth + 1)
    if node.placeholder is not None and segment:
        yield from _walk(node.placeholder, segments, depth + 1)


class Facade(cherrypy.Application):  # type: ignore[misc]  # CherryPy has no types
    """The application: WSGI, and called in the loop by our own server.

    Args:
        desk: of a running engine.
        max_waiting: requests that may wait for an order at the same time.
        protection: what stands between it and its callers.
        warnings: asked what an operator should mend.
    """

    def __init__(
        self,
        desk: Desk,
        max_waiting: int,
        protection: Protection = UNPROTECTED,
        warnings: Callable[[], tuple[str, ...]] = tuple,
    ) -> None:
        super().__init__(root=None)
        self._router = Router(routes(desk, max_waiting, protection, warnings))
        self._protection = protection

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
        """Answer a request, as PEP 3333 has it; the thread waits for the engine."""
        status, headers, body = Exchange(self._router, self._protection, request_of(environ)).wait()
        start_response(_STATUS_LINES[status], list(headers))
        return [body] if body else []

    def begin(self, request: WireRequest, respond: Callable[[WireResponse], object], aside: RunAside) -> Exchange:
        """Begin to answer a request in a loop; see `LoopApplication`. What the desk replies has to come in the loop."""
        exchange = Exchange(self._router, self._protection, request)
        exchange.begin(respond, aside)
        return exchange


class Exchange:
    """A request on its way to its answer.

    Args:
        router: finds the handler.
        protection: says who may call it.
        request: it.
    """

    __slots__ = (
        "_aside",
        "_began",
        "_call",
        "_later",
        "_may_block",
        "_protection",
        "_request",
        "_request_id",
        "_respond",
        "_router",
    )

    def __init__(self, router: Router, protection: Protection, request: WireRequest) -> None:
        self._began = time.perf_counter()
        self._router = router
        self._protection = protection
        self._request = request
        self._request_id = request_id_of(request.fields)
        self._call: Call | None = None
        self._later: Later | None = None

    def wait(self) -> WireResponse:
        """The answer, waited for."""
        response = self._attempt(self._handler())
        while isinstance(response, Later):
            response = self._attempt(response.go_on)
        return response

    def begin(self, respond: Callable[[WireResponse], object], aside: RunAside) -> None:
        """Have the answer given when it is there.

        Args:
            respond: called with it.
            aside: runs what may block.
        """
        self._respond = respond
        self._aside = aside
        self._step(self._handler())

    def hurry(self) -> None:
        """The client may have gone: do not wait for what need not be waited for."""
        if self._later is not None and self._later.hurry is not None:
            self._later.hurry()

    def abandon(self) -> None:
        """The client has gone: nobody wants the answer any more."""
        self._respond = _ignore
        self.hurry()

    def _handler(self) -> Callable[[], Response]:
        request = self._request
        self._may_block = False
        try:
            route, parameters = self._router.find(request.method, request.path)
            caller = self._protection.doorkeeper.admit(route.access, request.fields)
        except Exception as error:
            return partial(self._explain, error)
        self._may_block = route.may_block
        self._call = Call(request, parameters.get("order_id", ""), caller, self._request_id)
        return partial(route.handler, self._call)

    def _step(self, work: Callable[[], Response]) -> None:
        if not self._may_block:
            self._proceed(self._attempt(work))
            return
        try:
            self._aside(partial(self._attempt, work), self._proceed)
        except ServerBusy as error:
            self._proceed(self._finish(self._explain(error)))

    def _proceed(self, response: Later | WireResponse) -> None:
        if isinstance(response, Later):
            self._later = response
            response.reply.when_done(self._go_on)
        else:
            self._respond(response)

    def _go_on(self) -> None:
        later, self._later = self._later, None
        assert later is not None
        self._step(later.go_on)

    def _attempt(self, work: Callable[[], Response]) -> Later | WireResponse:
        try:
            response = work()
        except Exception as error:
            response = self._explain(error)
        return response if isinstance(response, Later) else self._finish(response)

    def _finish(self, answer: Answer) -> WireResponse:
        if _access_log.isEnabledFor(logging.INFO):
            self._log_access(answer.status)
        return seal(answer, self._request, self._request_id, self._protection.cors)

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
        return f"{self._request.method} {quote(self._request.path)}"

    @property
    def _about(self) -> dict[str, object]:
        about: dict[str, object] = {"request_id": self._request_id}
        if self._call is not None:
            about |= {"order_id": self._call.order_id, "key_id": self._call.caller.key_id}
        return about


def _ignore(_response: WireResponse) -> None:
    """Nobody waits for the answer."""


_STATUS_LINES = {status.value: f"{status.value} {status.phrase}" for status in HTTPStatus}
