"""A connection that no thread waits for: it takes what has come, sends what the system takes, and leaves the rest."""

from __future__ import annotations

import logging
import math
import socket
import threading
import time
from collections.abc import Callable
from email.utils import formatdate
from enum import Enum, auto
from functools import lru_cache
from http import HTTPStatus
from io import BytesIO
from typing import TYPE_CHECKING, Any

import cheroot.server

from ..engine import Reply
from . import problems, request_id
from .framing import Head, find_end, read_head
from .memory import Loan
from .problems import (
    ContentTooLarge,
    HttpError,
    MalformedRequest,
    ProblemAnswer,
    RequestTimeout,
    ServerBusy,
    TruncatedBody,
)
from .tls import TlsSocket

if TYPE_CHECKING:
    import cheroot.wsgi

    from .app import Exchange
    from .server import FacadeServer

_HEAD_CHUNK = 16 * 1024
_BODY_CHUNK = 256 * 1024
_access_log = logging.getLogger("ordermill.http.access")

_GO_ON = b"HTTP/1.1 100 Continue\r\n\r\n"


class Step(Enum):
    """What a connection needs next."""

    WAIT = auto()
    """Its client has to send, or to read."""
    ANSWER = auto()
    """A whole request is there, or what is there will never be one: a thread has to answer."""
    CLOSE = auto()


class Inbox:
    """What has come over a connection, cut into requests.

    Args:
        sock: not blocking.
        max_body_bytes: what is taken of a body at the most.
        borrow: asked for each part of a body that does not come at once; says whether there is memory for it.
        ask: called where the client waits for a word before it sends the body.
    """

    def __init__(
        self, sock: socket.socket, max_body_bytes: int, borrow: Callable[[int], bool], ask: Callable[[], None]
    ) -> None:
        self._socket = sock
        self._max_body_bytes = max_body_bytes
        self._borrow = borrow
        self._ask = ask
        self._received = b""
        self._looked_at = 0
        self.head: Head | None = None
        self.body: bytes | bytearray = b""
        self.fault: HttpError | None = None
        self.closed = False
        self.bytes_read = 0

    @property
    def has_begun(self) -> bool:
        """Whether there is anything of a request."""
        return bool(self._received) or self.head is not None

    def take(self) -> Step:
        """Take what has come.

        Raises:
            OSError: the connection is lost.
        """
        try:
            if self.fault is not None or self._is_whole():
                return Step.ANSWER
            missing = _HEAD_CHUNK if self.head is None else min(self.head.length - len(self.body), _BODY_CHUNK)
            try:
                data = self._socket.recv(missing)
            except BlockingIOError:
                return Step.WAIT
            if not data:
                if not self.has_begun:
                    return Step.CLOSE
                raise self._end()
            self._keep(data)
            return Step.ANSWER if self._is_whole() else Step.WAIT
        except HttpError as fault:
            self.fault = fault
            return Step.ANSWER

    def next(self) -> None:
        """Go on to the request after this one."""
        self.head = None
        self.body = b""
        self.fault = None
        self._looked_at = 0

    def discard(self) -> Step:
        """Throw away what still comes, until the client has seen the answer and ends the connection.

        Raises:
            OSError: the connection is lost.
        """
        try:
            return Step.WAIT if self._socket.recv(_BODY_CHUNK) else Step.CLOSE
        except BlockingIOError:
            return Step.WAIT

    def close(self) -> None:
        """Forget all."""
        self.next()
        self._received = b""
        self.closed = True

    def _keep(self, data: bytes) -> None:
        self.bytes_read += len(data)
        if self.head is None:
            self._received += data
            return
        if not self._borrow(len(data)):
            raise ServerBusy
        assert isinstance(self.body, bytearray)
        self.body += data

    def _is_whole(self) -> bool:
        if self.head is None:
            # RFC 9112 §2.2: some clients send an empty line after a body.
            self._received = self._received.removeprefix(b"\r\n")
            end = find_end(self._received, self._looked_at)
            if not end:
                self._looked_at = len(self._received)
                return False
            self.head = head = read_head(self._received[:end])
            if head.length > self._max_body_bytes:
                raise ContentTooLarge(
                    f"The body has {head.length} bytes; {self._max_body_bytes} are taken at the most."
                )
            self.body = self._received[end : end + head.length]
            self._received = self._received[end + head.length :]
            if len(self.body) < head.length:
                self.body = bytearray(self.body)
                if head.is_asking:
                    self._ask()
        return len(self.body) == self.head.length

    def _end(self) -> HttpError:
        if self.head is None:
            return MalformedRequest("The request ended within its head.")
        return TruncatedBody(self.head.length, len(self.body))


class Outbox:
    """What is to be sent over a connection.

    Args:
        sock: not blocking.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._unsent: bytes | memoryview = b""
        self.bytes_written = 0

    @property
    def unsent(self) -> int:
        """How many bytes have not been sent."""
        return len(self._unsent)

    def write(self, data: bytes) -> int:
        """Have it sent with the next `flush`, so that the parts of an answer go out together."""
        self._unsent = b"".join((self._unsent, data)) if self._unsent else data
        return len(data)

    def flush(self) -> bool:
        """Send what the system takes at once. Returns whether that is all.

        Raises:
            OSError: the connection is lost.
        """
        if self._unsent:
            try:
                sent = self._socket.send(self._unsent)
            except BlockingIOError:
                return False
            self.bytes_written += sent
            self._unsent = memoryview(self._unsent)[sent:] if sent < len(self._unsent) else b""
        return not self._unsent


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


class Connection(cheroot.server.HTTPConnection):
    """One client's connection. Only one thread has it at a time, and none while it waits for the client.

    Args:
        server: that it came to.
        sock: it.
        address: of the client.
    """

    RequestHandlerClass = Request
    server: FacadeServer
    rfile: Inbox
    wfile: Outbox

    def __init__(self, server: FacadeServer, sock: socket.socket, address: tuple[Any, ...]) -> None:
        sock.setblocking(False)
        self._deadline = math.inf
        self._loan = Loan(server.memory)
        self._is_ending = False
        self._request: Request | None = None
        inbox = Inbox(sock, server.max_request_body_size, self._loan.grow, self._ask)
        super().__init__(server, sock, lambda _, mode, __: inbox if mode == "rb" else Outbox(sock))
        self.remote_addr, self.remote_port = address[:2]
        server.open_connections.add(self)

    @property
    def is_sending(self) -> bool:
        """Whether its client has to read before anything else can be done."""
        return self.wfile.unsent > 0

    @property
    def has_buffered(self) -> bool:
        """Whether something came that no selector tells of: TLS reads a whole record where a part of it is wanted."""
        return isinstance(self.socket, TlsSocket) and not self.is_sending and self.socket.pending() > 0

    @property
    def is_in_request(self) -> bool:
        """Whether a request has begun to come and is not answered."""
        return self.rfile.has_begun and not self._is_ending and not self.is_sending

    def is_overdue(self, now: float) -> bool:
        """Whether its client has been silent, or busy with the same thing, for too long.

        Args:
            now: by the monotonic clock, in seconds.
        """
        return now > self._deadline or now > self.last_used + self.server.timeout

    def time_out(self) -> None:
        """Have the request that has begun answered as it is."""
        self.rfile.fault = RequestTimeout()

    def advance(self) -> Step:
        """Send and take what can be, without waiting."""
        try:
            if self.is_sending:
                if not self.wfile.flush():
                    return Step.WAIT
                self._loan.end()
                self._deadline = math.inf
                if self._is_ending:
                    self._hang_up()
            if self._is_ending:
                return self.rfile.discard()
            step = self.rfile.take()
        except OSError:
            return Step.CLOSE
        if step is Step.WAIT and self._deadline == math.inf and self.rfile.has_begun:
            self._deadline = time.monotonic() + self.server.request_seconds
        return step

    def communicate(self) -> bool:
        """Answer the request that is there, or begin to. Returns whether the connection is still needed."""
        if self._request is None:
            self._request = Request(self.server, self)
            self._request.parse_request()
            if self._request.ready:
                self._request.begin()
        if self._request.awaited is not None:
            return True
        self._request.respond()
        self._is_ending = self._request.close_connection
        self._request = None
        self.rfile.next()
        self._loan.end()
        self._deadline = math.inf
        try:
            if not self.wfile.flush():
                self._deadline = time.monotonic() + self.server.request_seconds
                return self._loan.grow(self.wfile.unsent)
            if self._is_ending:
                self._hang_up()
        except OSError:
            return False
        return True

    @property
    def is_answering(self) -> bool:
        """Whether a request is not answered yet."""
        return self._request is not None

    def when_answer_is_there(self, callback: Callable[[], object]) -> None:
        """Have something called when `communicate` can go on with the request that it has begun to answer."""
        awaited = None if self._request is None else self._request.awaited
        if awaited is None:
            callback()
        else:
            awaited.when_done(callback)

    def close(self) -> None:
        """End it."""
        self.server.open_connections.discard(self)
        self._loan.end()
        super().close()

    def _hang_up(self) -> None:
        # Closing at once would reset the connection where something is unread, and the answer would be lost with it.
        self.socket.shutdown(socket.SHUT_WR)
        self._deadline = time.monotonic() + self.server.timeout

    def _ask(self) -> None:
        self.wfile.write(_GO_ON)
        self.wfile.flush()


class OpenConnections:
    """All connections of a server that are open."""

    def __init__(self) -> None:
        self._connections: set[Connection] = set()
        self._changed = threading.Condition()

    def __len__(self) -> int:
        return len(self._connections)

    def add(self, connection: Connection) -> None:
        """One is open."""
        self._connections.add(connection)

    def discard(self, connection: Connection) -> None:
        """One is not open any more."""
        with self._changed:
            self._connections.discard(connection)
            self._changed.notify_all()

    def wait_for_last(self, timeout: float) -> bool:
        """Wait until none is open.

        Args:
            timeout: seconds.

        Returns:
            Whether that has happened.
        """
        with self._changed:
            return self._changed.wait_for(lambda: not self._connections, timeout)
