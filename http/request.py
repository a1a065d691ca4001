"""A request that has come as a whole, and its answer, which is sent as a whole."""

from __future__ import annotations

from http import HTTPStatus
from io import BytesIO
from typing import TYPE_CHECKING

import cheroot.server

from . import problems
from .problems import ProblemAnswer

if TYPE_CHECKING:
    from .connection import Connection
    from .server import FacadeServer


class Request(cheroot.server.HTTPRequest):
    """A request that has come as a whole, and its answer, which is sent as a whole."""

    conn: Connection
    server: FacadeServer

    def parse_request(self) -> None:
        """Read it from the inbox; answer at once where it is faulty."""
        inbox = self.conn.rfile
        self.started_request = True
        self.response_protocol = "HTTP/1.1"
        if inbox.fault is not None:
            self._refuse(problems.answer_for(inbox.fault))
            return
        head = inbox.head
        assert head is not None
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

    def respond(self) -> None:
        """Have the application answer."""
        self.rfile = BytesIO(self.conn.rfile.body)
        self.server.gateway(self).respond()
        self.ensure_headers_sent()
        if self.chunked_write:
            self.conn.wfile.write(b"0\r\n\r\n")

    def simple_response(self, status: str, msg: str = "") -> None:
        """Cheroot's own errors as problem details."""
        code = HTTPStatus(int(str(status)[:3]))
        self._refuse(problems.answer_for_status(code, msg or code.description or code.phrase))

    def _refuse(self, problem: ProblemAnswer) -> None:
        # What follows may be the rest of this request or the next one: nobody can tell.
        self.close_connection = True
        self.status = b"%d %s" % (problem.status.value, problem.status.phrase.encode())  # type: ignore[assignment]  # it is bytes
        headers = {
            "Content-Type": problems.MEDIA_TYPE,
            "Content-Length": str(len(problem.body)),
            **dict(problem.headers),
        }
        self.outheaders = [(name.encode(), value.encode()) for name, value in headers.items()]
        self.ensure_headers_sent()
        self.write(problem.body)
