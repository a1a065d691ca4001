"""Exchange: a request on its way to its answer, in a loop or in a thread."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from functools import partial
from urllib.parse import quote

from ...store.domain.errors import OrdermillError
from ..security.protection import Protection
from ..transport.ports import RunAside
from ..wire.errors import ServerBusy
from ..wire.message import WireRequest, WireResponse
from ..wire.problem_details import MEDIA_TYPE
from ..wire.request_id import request_id_of
from .finalize import finalize
from .problems import ProblemKinds, answer_for
from .request import Request
from .response import Deferred, Response
from .router import Router

_log = logging.getLogger("ordermill.http")
_access_log = logging.getLogger("ordermill.http.access")


class Exchange:
    """A request on its way to its answer.

    Args:
        router: finds the handler.
        protection: says who may call it.
        problem_kinds: what the errors that handlers raise are over HTTP.
        request: it.
    """

    __slots__ = (
        "_aside",
        "_began",
        "_deferred",
        "_may_block",
        "_problem_kinds",
        "_protection",
        "_request",
        "_request_id",
        "_respond",
        "_router",
        "_wire_request",
    )

    def __init__(
        self, router: Router, protection: Protection, problem_kinds: ProblemKinds, request: WireRequest
    ) -> None:
        self._began = time.perf_counter()
        self._router = router
        self._protection = protection
        self._problem_kinds = problem_kinds
        self._wire_request = request
        self._request_id = request_id_of(request.fields)
        self._request: Request | None = None
        self._deferred: Deferred | None = None

    def wait(self) -> WireResponse:
        """The answer, waited for."""
        response = self._attempt(self._handler())
        while isinstance(response, Deferred):
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
        if self._deferred is not None and self._deferred.hurry is not None:
            self._deferred.hurry()

    def abandon(self) -> None:
        """The client has gone: nobody wants the answer any more."""
        self._respond = _ignore
        self.hurry()

    def _handler(self) -> Callable[[], Response | Deferred]:
        request = self._wire_request
        self._may_block = False
        try:
            self._protection.check_origin(request.method, request.fields)
            route, parameters = self._router.find(request.method, request.path)
            principal = self._protection.authenticator.admit(route.permission, request.fields)
        except Exception as error:
            return partial(self._explain, error)
        self._may_block = route.may_block
        self._request = Request(request, parameters.get("order_id", ""), principal, self._request_id)
        return partial(route.handler, self._request)

    def _step(self, work: Callable[[], Response | Deferred]) -> None:
        if not self._may_block:
            self._proceed(self._attempt(work))
            return
        try:
            self._aside(partial(self._attempt, work), self._proceed)
        except ServerBusy as error:
            self._proceed(self._finish(self._explain(error)))

    def _proceed(self, response: Deferred | WireResponse) -> None:
        if isinstance(response, Deferred):
            self._deferred = response
            response.reply.when_done(self._go_on)
        else:
            self._respond(response)

    def _go_on(self) -> None:
        deferred, self._deferred = self._deferred, None
        assert deferred is not None
        self._step(deferred.go_on)

    def _attempt(self, work: Callable[[], Response | Deferred]) -> Deferred | WireResponse:
        try:
            response = work()
        except Exception as error:
            response = self._explain(error)
        return response if isinstance(response, Deferred) else self._finish(response)

    def _finish(self, answer: Response) -> WireResponse:
        if _access_log.isEnabledFor(logging.INFO):
            self._log_access(answer.status)
        return finalize(answer, self._wire_request, self._request_id, self._protection.cors)

    def _explain(self, error: Exception) -> Response:
        if not isinstance(error, OrdermillError):
            _log.error("unexpected error on %s", self._line, exc_info=error, extra=self._about)
        problem = answer_for(error, self._problem_kinds)
        return Response(problem.body, problem.status, problem.headers, MEDIA_TYPE)

    def _log_access(self, status: int) -> None:
        milliseconds = round((time.perf_counter() - self._began) * 1000, 1)
        extra = {**self._about, "status": int(status), "milliseconds": milliseconds}
        _access_log.info("%s %d %.1f ms", self._line, status, milliseconds, extra=extra)

    @property
    def _line(self) -> str:
        # Quoted: nobody can write a second line into the log. Without the query, which may name a user.
        return f"{self._wire_request.method} {quote(self._wire_request.path)}"

    @property
    def _about(self) -> dict[str, object]:
        about: dict[str, object] = {"request_id": self._request_id}
        if self._request is not None:
            about |= {"order_id": self._request.order_id, "key_id": self._request.principal.key_id}
        return about


def _ignore(_response: WireResponse) -> None:
    """Nobody waits for the answer."""
