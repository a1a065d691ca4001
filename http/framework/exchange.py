"""Exchange: a request on its way to its answer, in a loop or in a thread."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from functools import partial
from typing import Any
from urllib.parse import quote

from ...store.domain.errors import OrdermillError
from ..security.access import key_is_none
from ..security.protection import Protection
from ..wire.application import RunAside
from ..wire.message import BodyContent, WireRequest, WireResponse
from ..wire.problem_details import MEDIA_TYPE
from ..wire.request_id import request_id_of
from .deferred import Deferred, Steps
from .finalize import finalize
from .problems import ProblemKinds, answer_for
from .request import Request
from .response import Response
from .router import Router
from .stream import RunningStream, Stream

_log = logging.getLogger("ordermill.http")
_access_log = logging.getLogger("ordermill.http.access")


class Exchange(Steps[Response, WireResponse]):
    """A request on its way to its answer. Made of its head, which is judged at once: who sends it, and for what.

    Args:
        router: finds the handler.
        protection: says who may call it.
        problem_kinds: what the errors that handlers raise are over HTTP.
        request: it.
    """

    __slots__ = (
        "_began",
        "_parameters",
        "_principal",
        "_problem_kinds",
        "_protection",
        "_request",
        "_request_id",
        "_respond",
        "_route",
        "_verdict",
        "_wire_request",
        "caller",
        "max_body_bytes",
    )

    def __init__(
        self, router: Router, protection: Protection, problem_kinds: ProblemKinds, request: WireRequest
    ) -> None:
        self._began = time.perf_counter()
        self._protection = protection
        self._problem_kinds = problem_kinds
        self._wire_request = request
        self._request_id = request_id_of(request.fields)
        self._request: Request[Any, Any, Any] | None = None
        self._aside = None
        self._deferred = None
        self._may_block = False
        self._verdict: Response | None = None
        self.max_body_bytes = 0
        """What is wanted of the body at the most; 0 where the answer is the same whatever is in it."""
        self.caller: str | None = None
        """The id of the key that it was sent with; None where none is needed."""
        try:
            protection.check_origin(request.method, request.fields)
            self._route, self._parameters = router.find(request.method, request.path)
            self._principal = protection.authenticator.admit(
                self._route.permission, request.fields, is_safe=request.method in ("GET", "HEAD")
            )
        except Exception as error:
            self._verdict = self._explain(error)
            return
        self.caller = self._principal.key_id
        self._may_block = self._route.may_block
        self.max_body_bytes = self._route.max_body_bytes

    def wait(self, content: BodyContent | None) -> WireResponse:
        """The answer, waited for.

        Args:
            content: the body; None where none was sent, or wanted.
        """
        return self._wait(self._handler(content))

    def begin(self, content: BodyContent | None, respond: Callable[[WireResponse], object], aside: RunAside) -> None:
        """Have the answer given when it is there.

        Args:
            content: the body; None where none was sent, or wanted.
            respond: called with the answer.
            aside: runs what may block.
        """
        self._respond = respond
        self._aside = aside
        self._step(self._handler(content), may_block=self._may_block)

    def hurry(self) -> None:
        """The client may have gone: do not wait for what need not be waited for."""
        if self._deferred is not None and self._deferred.hurry is not None:
            self._deferred.hurry()

    def abandon(self) -> None:
        """The client has gone: nobody wants the answer any more."""
        self._respond = _ignore
        self.hurry()

    def check(self) -> None:
        """See whether its caller may still have the answer: who waits with a key that was revoked waits no longer."""
        if self._deferred is not None and self._deferred.hurry is not None and not self._is_admitted():
            self._deferred.hurry()

    def _is_admitted(self) -> bool:
        return self._request is None or self._protection.authenticator.still_admits(self._request.principal)

    def _go_on(self) -> None:
        # What was to be done is done, and told, whatever has become of the key. What was only waited for is not.
        deferred = self._deferred
        if deferred is None or deferred.hurry is None or self._is_admitted():
            super()._go_on()
        else:
            self._deferred = None
            self._arrive(self._finish(self._explain(key_is_none())))

    def _handler(self, content: BodyContent | None) -> Callable[[], Response | Deferred[Response]]:
        verdict, self._verdict = self._verdict, None
        if verdict is not None:
            return lambda: verdict
        self._request = Request(self._wire_request, content, self._parameters, self._principal, self._request_id)
        return partial(self._route.answer, self._request)

    def _arrive(self, result: WireResponse) -> None:
        self._respond(result)

    def _finish(self, given: Response) -> WireResponse:
        if _access_log.isEnabledFor(logging.INFO):
            self._log_access(given.status)
        return finalize(given, self._wire_request, self._request_id, self._protection.cors, self._run)

    def _run(self, stream: Stream) -> RunningStream:
        return RunningStream(stream, self._explain, self._aside, self._is_admitted)

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


def _ignore(response: WireResponse) -> None:
    """Nobody waits for the answer."""
    if not isinstance(response.body, bytes):
        response.body.abandon()
