"""A client's connection: takes requests one after the other, has each answered, and waits for nothing for ever."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Iterable
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus
from typing import cast

from ..wire import request_id
from ..wire.application import OpenRequest
from ..wire.errors import HttpError, RequestTimeout, ServerBusy
from ..wire.message import BodyContent, PendingAnswer, WireResponse, WireStream
from ..wire.problem_details import answer_for_http_error, headers_of
from ..wire.request_head import Head
from .buffer_budget import OWN_BYTES, BodyReservation, Reservation
from .ports import ConnectionServer
from .request_reader import RequestReader

_AT_ONCE = 16
_GO_ON = b"HTTP/1.1 100 Continue\r\n\r\n"
_CONTENT_TOO_LARGE = HTTPStatus.REQUEST_ENTITY_TOO_LARGE  # to look it up in the enumeration takes long
_STATUS_LINES = {status.value: f"HTTP/1.1 {status.value} {status.phrase}" for status in HTTPStatus}

_access_log = logging.getLogger("ordermill.http.access")


class Connection(asyncio.Protocol):
    """One client's connection. One request is answered at a time; what is sent meanwhile waits, as far as it is little.

    Args:
        server: that it came to.
    """

    __slots__ = (
        "_answer",
        "_bodies",
        "_caller",
        "_deadline",
        "_is_advancing",
        "_is_answering",
        "_is_due",
        "_is_ended_by_client",
        "_is_ending",
        "_is_fast",
        "_is_kept",
        "_is_paused",
        "_is_unread",
        "_loop",
        "_open",
        "_pending",
        "_reader",
        "_received",
        "_rest",
        "_server",
        "_stream",
        "_transport",
        "_unsent",
        "_version",
        "last_used",
    )
    _transport: asyncio.Transport

    def __init__(self, server: ConnectionServer) -> None:
        self._server = server
        self._loop = server.loop
        self._reader = RequestReader()
        self._received = Reservation(server.buffers.received)
        self._bodies = BodyReservation(server.buffers.bodies, self._go_on_soon)
        self._answer: bytes | None = None
        self._rest: memoryview | None = None
        self._open: OpenRequest | None = None
        self._caller: str | None = None
        self._pending: PendingAnswer | None = None
        self._stream: WireStream | None = None
        self._deadline = math.inf
        self._unsent = 0
        self._version = ""
        self._is_kept = True
        self._is_advancing = False
        self._is_answering = False
        self._is_due = False
        self._is_ended_by_client = False
        self._is_ending = False
        self._is_fast = False
        self._is_paused = False
        self._is_unread = False
        self.last_used = self._loop.time()
        """When something came or went, by the loop's clock."""

    # What the loop tells.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It is open, and over TLS the client has shaken hands."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are not derived from it
        self._transport.set_write_buffer_limits(high=OWN_BYTES)
        self._server.connections.add(self)

    def data_received(self, data: bytes) -> None:
        """Something has come."""
        self.last_used = self._loop.time()
        if self._is_ending:  # whatever it is: it is not the end yet, at which the client has seen the answer
            return
        self._is_fast = len(data) > OWN_BYTES
        self._reader.feed(data)
        if not self._is_answering and not self._is_paused:
            self._advance()
        elif self._reader.held > OWN_BYTES:
            self._keep_for_later()

    def eof_received(self) -> bool:
        """The client sends nothing more; it may have gone, or wait for its answer."""
        self._is_ended_by_client = True
        if self._is_ending:
            return False
        if self._pending is not None:
            self._pending.hurry()
        elif not self._is_answering:
            self._advance()
        return not self._is_secure

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  # asyncio's
        """It is over."""
        self._server.connections.discard(self)
        self._received.hold(0)
        self._bodies.end()
        self._let_go_of_answer()
        self._open = None
        self._is_ending = True
        if self._pending is not None:
            self._pending.abandon()
            self._pending = self._stream = None

    def pause_writing(self) -> None:
        """The client reads more slowly than it is answered."""
        self._is_paused = True

    def resume_writing(self) -> None:
        """It has read nearly all."""
        self._is_paused = False
        if self._rest is not None:
            self._send_rest()
        elif self._stream is not None:
            self._unsent = 0
            self._pull()
        elif not self._is_answering:
            self._advance()

    # What the server tells.

    @property
    def is_idle(self) -> bool:
        """Whether nobody would miss an answer if it ended now."""
        return not self._is_answering and not self._reader.has_begun and not self._transport.get_write_buffer_size()

    @property
    def is_waiting(self) -> bool:
        """Whether its client has to send or to read before anything else can be done."""
        return not self._is_answering or self._rest is not None

    def check(self, now: float) -> None:
        """See whether its client has been silent, or busy with the same thing, for too long.

        Args:
            now: by the loop's clock.
        """
        unsent = self._transport.get_write_buffer_size() + (0 if self._rest is None else len(self._rest))
        if unsent:
            if not self._unsent:
                self._deadline = now + self._server.request_seconds
            if unsent != self._unsent:
                self.last_used = now
        elif self._unsent and not self._is_ending:
            self._deadline = math.inf
        self._unsent = unsent
        if self._pending is not None:
            self._pending.check()
        if self._is_answering and not unsent:
            return
        is_silent = now > self.last_used + self._server.socket_seconds and not self._bodies.is_waiting
        if now <= self._deadline and not is_silent:
            return
        if not self._is_ending and not unsent and self._reader.has_begun:
            self._refuse(ServerBusy() if self._bodies.is_waiting else RequestTimeout(), self._reader.head)
        else:
            self.abort() if unsent or self._is_ending else self.close()

    def end_stream(self) -> None:
        """End its answer where it would wait, if that is one that goes on."""
        if self._stream is not None:
            self._stream.hurry()

    def close(self) -> None:
        """End it, when what was answered has been sent."""
        self._is_ending = True
        self._transport.close()

    def abort(self) -> None:
        """End it at once."""
        self._server.connections.discard(self)  # not when the loop gets round to it: others wait for its place
        self._transport.abort()

    # Requests, and their answers.

    @property
    def _is_secure(self) -> bool:
        return self._server.tls is not None

    def _advance(self) -> None:
        if self._is_advancing:
            return
        self._is_advancing = True
        try:
            for _ in range(_AT_ONCE):
                if self._is_answering or self._is_ending or self._is_paused or not self._take_next():
                    return
            self._loop.call_soon(self._advance)  # others too have sent requests
        finally:
            self._is_advancing = False

    def _take_next(self) -> bool:
        reader = self._reader
        try:
            if self._open is None and not self._open_next():
                self._wait_for_more()
                return False
            if not reader.read_body():
                self._wait_for_more()
                return False
            if reader.body_bytes > OWN_BYTES and not self._hold_body(reader.body_bytes):
                self._wait_for_memory()
                return False
            content = reader.take_body()
        except HttpError as fault:
            self._refuse(fault, reader.head)
            return False
        self._begin(content)
        return True

    def _open_next(self) -> bool:
        head = self._reader.read_head()
        if head is None:
            return False
        self._version = head.version
        self._is_kept = head.is_kept
        self._open = self._server.open(head.request)
        self._bodies.caller = self._open.caller
        self._reader.expect_body(min(self._open.max_body_bytes, self._server.max_body_bytes))
        return True

    def _wait_for_more(self) -> None:
        reader = self._reader
        if self._is_ended_by_client and not reader.is_behind:
            reader.end()
            self.close()
            return
        if reader.must_ask():
            self._transport.write(_GO_ON)
        if reader.held > OWN_BYTES and not self._hold_received():
            self._wait_for_memory()
            return
        self._limit_time()
        if reader.is_behind or self._is_fast:
            self._is_fast = False
            self._stop_reading()
            self._go_on_soon()  # others have their turn first
        else:
            self._read_on()

    def _hold_received(self) -> bool:
        held = self._reader.held
        if self._open is None or not self._open.max_body_bytes:
            if not self._received.hold(held):
                raise ServerBusy
            return True
        return self._hold_body(held)

    def _hold_body(self, size: int) -> bool:
        was_waiting = self._bodies.is_waiting
        if not self._bodies.hold(size):
            return False
        self._received.hold(0)
        if was_waiting:
            self.last_used = self._loop.time()
        return True

    def _wait_for_memory(self) -> None:
        # Of a body. Its client is not read from meanwhile, as if the network were slow; what had come is held as well.
        self._stop_reading()
        self._limit_time()
        if not self._received.hold(self._reader.held - self._bodies.taken):
            raise ServerBusy

    def _limit_time(self) -> None:
        if self._deadline == math.inf and self._reader.has_begun:
            self._deadline = self._loop.time() + self._server.request_seconds

    def _go_on_soon(self) -> None:
        self._loop.call_soon(self._advance)

    def _stop_reading(self) -> None:
        if not self._is_unread:
            self._transport.pause_reading()
            self._is_unread = True

    def _read_on(self) -> None:
        if self._is_unread:
            self._is_unread = False
            self._transport.resume_reading()

    def _keep_for_later(self) -> None:
        self._stop_reading()
        if self._pending is not None:  # who has sent the next ones does not wait for this answer
            self._pending.hurry()
        if not self._received.hold(self._reader.held):
            self.abort()

    def _begin(self, content: BodyContent | None) -> None:
        pending, self._open = self._open, None
        assert pending is not None
        self._caller = pending.caller
        self._is_answering = True
        self._deadline = math.inf
        self._is_kept = self._is_kept and not self._reader.is_lost
        pending.begin(content, self.respond, self._server.run_aside)
        if self._is_answering and self._stream is None and self._rest is None:
            self._pending = pending
            if self._is_ended_by_client:
                pending.hurry()
            if self._reader.held > OWN_BYTES:
                self._keep_for_later()
            else:
                self._read_on()

    def respond(self, response: WireResponse) -> None:
        """Send an answer, as a whole or not at all."""
        status, body = response.status, response.body
        if self._transport.is_closing():
            if not isinstance(body, bytes):
                body.abandon()
            return
        if status == _CONTENT_TOO_LARGE:
            self._is_kept = False
        if not isinstance(body, bytes):
            self._begin_stream(response, body)
        elif len(body) <= OWN_BYTES:
            head = self._head(status, response.headers)
            self._transport.write(head + body if body else head)
            self._end_answer()
        elif self._server.buffers.answers.take(body, self._caller):
            self._transport.write(self._head(status, response.headers))
            self._send(body)
        else:
            name = next((value for header, value in response.headers if header == request_id.HEADER), "")
            _access_log.info("no memory for the answer: 503", extra={"request_id": name})
            problem = answer_for_http_error(ServerBusy())
            self.respond(WireResponse(problem.status, headers_of(problem, name), problem.body))

    def _send(self, content: bytes) -> None:
        # Piece by piece: what the transport is given it may copy, and encrypt, for each client again.
        self._answer = content
        self._rest = memoryview(content)
        self._send_rest()

    def _send_rest(self) -> None:
        if self._rest is not None and not self._is_paused:
            self._transport.write(self._rest[:OWN_BYTES])
            self._rest = self._rest[OWN_BYTES:] if len(self._rest) > OWN_BYTES else None
        if self._answer is None or (self._is_paused and self._rest is not None):
            return
        if self._rest is not None:
            self._loop.call_soon(self._send_rest)  # others have their turn first
            return
        self._let_go_of_answer()
        if self._stream is None:
            self._end_answer()
        else:
            self._go_on_with_stream()

    def _let_go_of_answer(self) -> None:
        self._rest = None
        if self._answer is not None:
            self._server.buffers.answers.give_back(self._answer)
            self._answer = None

    def _begin_stream(self, response: WireResponse, stream: WireStream) -> None:
        headers = response.headers
        if self._is_chunking:
            headers = (*headers, ("Transfer-Encoding", "chunked"))
        else:
            self._is_kept = False  # its end is the end of the body
        self._transport.write(self._head(response.status, headers))
        self._pending = self._stream = stream
        if self._is_ended_by_client:
            stream.hurry()
        self._is_due = True
        self._pull()

    @property
    def _is_chunking(self) -> bool:
        return self._version != "HTTP/1.0"

    def _pull(self) -> None:
        if self._stream is not None and self._is_due and not self._is_paused:
            self._is_due = False
            self._stream.pull(self._take, self.abort)

    def _take(self, part: bytes | None) -> None:
        if part is None:
            self._stream = None
            if self._is_chunking:
                self._transport.write(b"0\r\n\r\n")
            self._end_answer()
            return
        framed = b"%x\r\n%b\r\n" % (len(part), part) if self._is_chunking and part else part
        if len(framed) <= OWN_BYTES:
            if framed:
                self._transport.write(framed)
            self._go_on_with_stream()
        elif self._server.buffers.answers.take(framed, self._caller):
            self._send(framed)
        else:
            self.abort()

    def _go_on_with_stream(self) -> None:
        self._unsent = 0  # each part has its own time
        self._is_due = True
        self._loop.call_soon(self._pull)  # others have their turn first

    def _head(self, status: int, headers: Iterable[tuple[str, str]]) -> bytes:
        lines = [_STATUS_LINES[status], *map(": ".join, headers)]
        self._is_kept = self._is_kept and self._server.keeps_connections
        if not self._is_kept:
            lines.append("Connection: close")
        elif self._version == "HTTP/1.0":
            lines.append("Connection: keep-alive")
        lines.append(_last_lines(int(time.time())))
        return "\r\n".join(lines).encode("latin-1")

    def _end_answer(self) -> None:
        self._is_answering = False
        self._pending = None
        self.last_used = self._loop.time()
        if self._received.taken:
            self._received.hold(0)
        if self._bodies.taken or self._bodies.is_waiting:
            self._bodies.let_go()
        if not self._is_kept:
            self._hang_up()
        elif not self._is_advancing and (self._reader.has_begun or self._is_ended_by_client or self._is_unread):
            self._advance()

    def _refuse(self, fault: HttpError, head: Head | None) -> None:
        # What follows may be the rest of this request or the next one: nobody can tell.
        self._open = None
        problem = answer_for_http_error(fault)
        request = request_id.request_id_of({} if head is None else head.request.fields)
        _access_log.info("refused before it could be routed: %d", problem.status, extra={"request_id": request})
        self._is_kept = False
        is_head = head is not None and head.request.method == "HEAD"
        self.respond(WireResponse(problem.status, headers_of(problem, request), b"" if is_head else problem.body))

    def _hang_up(self) -> None:
        self._is_ending = True
        self._deadline = self._loop.time() + self._server.socket_seconds
        self._read_on()  # so as to notice when it leaves
        if self._is_ended_by_client or self._is_secure:
            self._transport.close()
        else:
            # To close at once would reset the connection where something is unread, and the answer would be lost too.
            self._transport.write_eof()


@lru_cache(maxsize=2)
def _last_lines(seconds: int) -> str:
    return f"Date: {formatdate(seconds, usegmt=True)}\r\nServer: ordermill\r\n\r\n"
