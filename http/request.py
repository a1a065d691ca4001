"""A request: begun when it is there, answered when its answer is."""

from __future__ import annotations

import logging
import time
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus
from io import BytesIO
from typing import TYPE_CHECKING, Any

import cheroot.server

from ..engine import Reply
from . import problems, request_id
from .problems import ProblemAnswer, RequestTimeout

if TYPE_CHECKING:
    import cheroot.wsgi

    from .app import Exchange
    from .connection import Connection
    from .server import FacadeServer

_access_log = logging.getLogger("ordermill.http.access")


class Request(cheroot.server.HTTPRequest):
    """A request that has come as a whole, and its answer, which is sent as a whole."""

    conn: Connection
    server: FacadeServer
    _gateway: cheroot.wsgi.Gateway
    _exchange: Exchange

    def parse_request(self) -> None:
        """Read it from the inbox; answer at once where it is faulty."""
        inbox = self.conn.rfile
        self.started_request = True
        self.response_protocol = "HTTP/1.1"
        if inbox.fault is not None or inbox.head is None:
            self._refuse(problems.answer_for(inbox.fault or RequestTimeout()))
            return
        head = inbox.head
        self.method = head.method
        self.uri = head.target
        self.path = head.path
        self.qs = head.query
        self.authority = b""
        self.request_protocol = head.version
        self.response_protocol = head.version.decode()
        self.inheaders = head.fields
        self.close_connection = not head.is_kept
        self.ready = True

    def begin(self) -> None:
        """Have the application begin to answer."""
        self.rfile = BytesIO(self.conn.rfile.body)
        self._gateway = self.server.gateway(self)
        self._exchange = self.server.wsgi_app(self._gateway.env, self._gateway.start_response)

    @property
    def awaited(self) -> Reply[Any] | None:
        """What the answer waits for; None when it is there."""
        return self._exchange.awaited if self.ready else None

    def respond(self) -> None:
        """Send the answer."""
        if self.ready:
            for part in self._exchange:
                self._gateway.write(part)
            self.ensure_headers_sent()

    def send_headers(self) -> None:
        """Send the status and the headers, with those that every answer has."""
        status = self.status.encode() if isinstance(self.status, str) else self.status
        if status.startswith(b"413") or not self.server.can_add_keepalive_connection:
            self.close_connection = True
        head = [b"HTTP/1.1 ", status, b"\r\n"]
        for name, value in self.outheaders:
            head += (name, b": ", value, b"\r\n")
        if self.close_connection:
            head.append(b"Connection: close\r\n")
        elif self.response_protocol == "HTTP/1.0":
            head.append(b"Connection: keep-alive\r\n")
        head += (b"Date: ", _http_date(int(time.time())), b"\r\nServer: ordermill\r\n\r\n")
        self.conn.wfile.write(b"".join(head))

    def simple_response(self, status: str, msg: str = "") -> None:
        """Cheroot's own errors as problem details."""
        code = HTTPStatus(int(str(status)[:3]))
        self._refuse(problems.answer_for_status(code, msg or code.description or code.phrase))

    def _refuse(self, problem: ProblemAnswer) -> None:
        # What follows may be the rest of this request or the next one: nobody can tell.
        self.close_connection = True
        head = self.conn.rfile.head
        request = request_id.sound_or_new(
            "" if head is None else head.fields.get(b"X-Request-Id", b"").decode("latin-1")
        )
        self.status = b"%d %s" % (problem.status.value, problem.status.phrase.encode())  # type: ignore[assignment]  # it is bytes
        _access_log.info("refused before it could be routed: %d", problem.status, extra={"request_id": request})
        headers = {
            "Content-Type": problems.MEDIA_TYPE,
            "Content-Length": str(len(problem.body)),
            request_id.HEADER: request,
            **dict(problem.headers),
        }
        self.outheaders = [(name.encode(), value.encode()) for name, value in headers.items()]
        self.ensure_headers_sent()
        if head is None or head.method != b"HEAD":
            self.write(problem.body)


@lru_cache(maxsize=2)
def _http_date(seconds: int) -> bytes:
    return formatdate(seconds, usegmt=True).encode()
