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
from .finalize import seal
from .problems import ProblemKinds, answer_for
from .request import Call
from .response import Answer, Later, Response
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
        "_call",
        "_later",
        "_may_block",
        "_problem_kinds",
        "_protection",
        "_request",
        "_request_id",
        "_respond",
        "_router",
    )

    def __init__(
        self, router: Router, protection: Protection, problem_kinds: ProblemKinds, request: WireRequest
    ) -> None:
        self._began = time.perf_counter()
        self._router = router
        self._protection = protection
        self._problem_kinds = problem_kinds
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
        problem = answer_for(error, self._problem_kinds)
        return Answer(problem.body, problem.status, problem.headers, MEDIA_TYPE)

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
