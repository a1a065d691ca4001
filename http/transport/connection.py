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
from ..wire.errors import HttpError, RequestTimeout, ServerBusy
from ..wire.message import PendingAnswer, WireRequest, WireResponse, WireStream
from ..wire.problem_details import answer_for_http_error, headers_of
from ..wire.request_head import Head
from .buffer_budget import OWN_BYTES, Reservation
from .ports import ConnectionServer
from .request_reader import RequestReader

_AT_ONCE = 16
_GO_ON = b"HTTP/1.1 100 Continue\r\n\r\n"
_STATUS_LINES = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n" for status in HTTPStatus}

_access_log = logging.getLogger("ordermill.http.access")


class Connection(asyncio.Protocol):
    """One client's connection. One request is answered at a time; what is sent meanwhile waits, as far as it is little.

    Args:
        server: that it came to.
    """

    __slots__ = (
        "_deadline",
        "_is_advancing",
        "_is_answering",
        "_is_due",
        "_is_ended_by_client",
        "_is_ending",
        "_is_kept",
        "_is_paused",
        "_is_unread",
        "_loop",
        "_pending",
        "_reader",
        "_reservation",
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
        self._reader = RequestReader(server.max_body_bytes)
        self._reservation = Reservation(server.buffer_budget)
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
        self._reader.feed(data)
        if not self._is_answering and not self._is_paused:
            self._advance()
        elif self._reader.held > OWN_BYTES:
            self._transport.pause_reading()
            self._is_unread = True

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
        self._reservation.hold(0)
        self._is_ending = True
        if self._pending is not None:
            self._pending.abandon()
            self._pending = self._stream = None

    def pause_writing(self) -> None:
        """The client reads more slowly than it is answered."""
        self._is_paused = True
        # Not before what was written has been tried to send.
        self._loop.call_soon(self._hold_unsent)

    def resume_writing(self) -> None:
        """It has read nearly all."""
        self._is_paused = False
        if self._stream is not None:
            self._reservation.hold(0)
            self._unsent = 0  # each part has its own time
            self._pull()
        elif not self._is_answering:
            self._reservation.hold(0)
            self._advance()

    # What the server tells.

    @property
    def is_idle(self) -> bool:
        """Whether nobody would miss an answer if it ended now."""
        return not self._is_answering and not self._reader.has_begun and not self._transport.get_write_buffer_size()

    @property
    def is_waiting(self) -> bool:
        """Whether its client has to send or to read before anything else can be done."""
        return not self._is_answering

    def check(self, now: float) -> None:
        """See whether its client has been silent, or busy with the same thing, for too long.

        Args:
            now: by the loop's clock.
        """
        unsent = self._transport.get_write_buffer_size()
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
        if now <= self._deadline and now <= self.last_used + self._server.socket_seconds:
            return
        if not self._is_ending and not unsent and self._reader.has_begun:
            self._refuse(RequestTimeout(), self._reader.head)
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
        head = None
        try:
            received = reader.next()
            if received is None:
                self._wait_for_more()
                return False
            head, body = received
            if body and not self._reservation.hold(len(body)):
                raise ServerBusy
        except HttpError as fault:
            self._refuse(fault, head or reader.head)
            return False
        self._begin(head, body)
        return True

    def _wait_for_more(self) -> None:
        reader = self._reader
        if self._is_ended_by_client:
            fault = reader.end()
            if fault is not None:
                raise fault
            self.close()
            return
        if reader.must_ask():
            self._transport.write(_GO_ON)
        if not self._reservation.hold(reader.held):
            raise ServerBusy
        if self._deadline == math.inf and reader.has_begun:
            self._deadline = self._loop.time() + self._server.request_seconds
        if self._is_unread:
            self._is_unread = False
            self._transport.resume_reading()

    def _begin(self, head: Head, body: bytes | bytearray | None) -> None:
        self._is_answering = True
        self._deadline = math.inf
        self._version = head.version
        self._is_kept = head.is_kept
        pending = self._server.begin(WireRequest(head.method, head.path, head.query, head.fields, body), self.respond)
        if self._is_answering and self._stream is None:
            self._pending = pending
            if self._is_ended_by_client:
                pending.hurry()

    def respond(self, response: WireResponse) -> None:
        """Send an answer as a whole."""
        status, body = response.status, response.body
        if self._transport.is_closing():
            if not isinstance(body, bytes):
                body.abandon()
            return
        if status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
            self._is_kept = False
        if not isinstance(body, bytes):
            self._begin_stream(response, body)
            return
        head = self._head(status, response.headers)
        self._transport.write(head + body if body else head)
        self._end_answer()

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
        if part:
            self._transport.write(b"%x\r\n%b\r\n" % (len(part), part) if self._is_chunking else part)
        self._is_due = True
        self._loop.call_soon(self._pull)  # others have their turn first

    def _head(self, status: int, headers: Iterable[tuple[str, str]]) -> bytes:
        lines = [_STATUS_LINES[status]]
        lines += [f"{name}: {value}\r\n" for name, value in headers]
        self._is_kept = self._is_kept and self._server.keeps_connections
        if not self._is_kept:
            lines.append("Connection: close\r\n")
        elif self._version == "HTTP/1.0":
            lines.append("Connection: keep-alive\r\n")
        lines.append(_last_lines(int(time.time())))
        return "".join(lines).encode("latin-1")

    def _end_answer(self) -> None:
        self._is_answering = False
        self._pending = None
        self.last_used = self._loop.time()
        if not self._is_paused:
            self._reservation.hold(0)
        if not self._is_kept:
            self._hang_up()
        elif not self._is_advancing and (self._reader.has_begun or self._is_ended_by_client or self._is_unread):
            self._advance()

    def _refuse(self, fault: HttpError, head: Head | None) -> None:
        # What follows may be the rest of this request or the next one: nobody can tell.
        problem = answer_for_http_error(fault)
        request = request_id.sound_or_new("" if head is None else head.fields.get("X-Request-Id", ""))
        _access_log.info("refused before it could be routed: %d", problem.status, extra={"request_id": request})
        self._is_kept = False
        is_head = head is not None and head.method == "HEAD"
        self.respond(WireResponse(problem.status, headers_of(problem, request), b"" if is_head else problem.body))

    def _hang_up(self) -> None:
        self._is_ending = True
        self._deadline = self._loop.time() + self._server.socket_seconds
        if self._is_ended_by_client or self._is_secure:
            self._transport.close()
        else:
            # To close at once would reset the connection where something is unread, and the answer would be lost too.
            self._transport.write_eof()

    def _hold_unsent(self) -> None:
        if self._is_paused and not self._reservation.hold(self._transport.get_write_buffer_size()):
            self.abort()


@lru_cache(maxsize=2)
def _last_lines(seconds: int) -> str:
    return f"Date: {formatdate(seconds, usegmt=True)}\r\nServer: ordermill\r\n\r\n"
