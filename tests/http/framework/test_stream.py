"""Answers that go on: they come part by part, cost no thread, and wait for their clients without piling anything up."""

from __future__ import annotations

import http.client
import logging
import socket
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from itertools import count

import pytest

from ordermill.engine import Reply
from ordermill.http.config import ServerConfig
from ordermill.http.framework.deferred import Deferred
from ordermill.http.framework.facade import Facade
from ordermill.http.framework.request import Request
from ordermill.http.framework.response import Response
from ordermill.http.framework.route import Route
from ordermill.http.framework.stream import Stream
from ordermill.http.security.access import PUBLIC
from ordermill.http.security.protection import UNPROTECTED
from ordermill.http.transport.buffer_budget import OWN_BYTES
from ordermill.http.transport.server import HttpServer

SECONDS = 60


class Fed(Stream):
    """Gives what the test feeds it; None ends it, and an error is raised."""

    def __init__(self, call_in_loop: Callable[[Callable[[], object]], object]) -> None:
        self._call_in_loop = call_in_loop
        self._parts: deque[bytes | Exception | None] = deque()
        self._came: Reply[None] = Reply()
        self.is_waiting = threading.Event()
        self.was_hurried = threading.Event()
        self.was_closed = threading.Event()

    def next(self) -> bytes | Deferred[bytes | None] | None:
        if self._parts:
            return self._take()
        self.is_waiting.set()
        self._came = Reply()
        return Deferred(self._came, self._take, self.was_hurried.set)

    def close(self) -> None:
        assert not self.was_closed.is_set()
        self.was_closed.set()

    def feed(self, *parts: bytes | Exception | None) -> None:
        """Have these given, as soon as they are asked for."""
        self._call_in_loop(lambda: self._add(parts))

    def _add(self, parts: tuple[bytes | Exception | None, ...]) -> None:
        self._parts += parts
        if self.is_waiting.is_set():
            self.is_waiting.clear()
            self._came.set()

    def _take(self) -> bytes | None:
        part = self._parts.popleft()
        if isinstance(part, Exception):
            raise part
        return part


class Endless(Stream):
    """Gives parts for as long as they are taken."""

    part = b"x" * OWN_BYTES

    def __init__(self) -> None:
        self.given = 0
        self.was_closed = threading.Event()

    def next(self) -> bytes:
        self.given += 1
        return self.part

    def close(self) -> None:
        self.was_closed.set()


class Site:
    """A server of streams."""

    def __init__(self, **settings: int) -> None:
        route = Route("GET", "/stream", self.answer, PUBLIC)
        self.facade = Facade((route, Route("GET", "/other", lambda _: Response(b"{}"), PUBLIC)), UNPROTECTED, {})
        self.server = HttpServer({"": self.facade}, ServerConfig.of({"port": 0, "threads": 1} | settings))
        self.streams: deque[Stream] = deque()
        """What the next requests are answered with."""

    def answer(self, _: Request) -> Response:
        """The handler."""
        return Response(self.streams.popleft(), content_type="text/plain")

    def fed(self) -> Fed:
        """A stream that the test feeds, for the next request."""
        self.streams.append(stream := Fed(self.server.wake_ups.call))
        return stream

    def endless(self) -> Endless:
        """A stream that does not end by itself, for the next request."""
        self.streams.append(stream := Endless())
        return stream

    @contextmanager
    def ask(self, request: bytes = b"GET /stream HTTP/1.1\r\nHost: test\r\n\r\n") -> Iterator[socket.socket]:
        """A connection over which this has been sent."""
        with socket.socket() as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.settimeout(SECONDS)
            connection.connect(self.server.address)
            connection.sendall(request)
            yield connection

    @contextmanager
    def listen(self, method: str = "GET", **headers: str) -> Iterator[http.client.HTTPResponse]:
        """An answer whose head has come."""
        with closing(http.client.HTTPConnection(*self.server.address, timeout=SECONDS)) as connection:
            connection.request(method, "/stream", headers=headers)
            with connection.getresponse() as response:
                yield response

    def ask_other(self) -> bytes:
        """Send a request that is answered at once, and read the answer."""
        with closing(http.client.HTTPConnection(*self.server.address, timeout=SECONDS)) as connection:
            connection.request("GET", "/other")
            return connection.getresponse().read()

    @contextmanager
    def running(self) -> Iterator[Site]:
        """It serves, until the block ends."""
        self.server.prepare()
        thread = threading.Thread(target=self.server.start)
        thread.start()
        try:
            yield self
        finally:
            self.server.stop()
            thread.join()


@pytest.fixture
def site() -> Iterator[Site]:
    """A server of streams."""
    with Site().running() as site:
        yield site


def read_until(connection: socket.socket, end: bytes) -> bytes:
    """What comes, up to this end of it."""
    received = b""
    while not received.endswith(end):
        received += (byte := connection.recv(1))
        assert byte, received
    return received


def test_each_part_is_sent_when_it_is_there(site: Site) -> None:
    stream = site.fed()
    with site.listen() as response:
        assert response.headers["Transfer-Encoding"] == "chunked"
        assert "Content-Length" not in response.headers
        assert response.headers["X-Request-ID"]
        for part in (b"one", b"two"):
            assert stream.is_waiting.wait(SECONDS)
            stream.feed(part)
            assert response.read(3) == part
        stream.feed(b"three", b"", b"four", None)

        assert response.read() == b"threefour"
        assert stream.was_closed.wait(SECONDS)
        assert not stream.was_hurried.is_set()


def test_a_connection_takes_further_requests_after_a_stream(site: Site) -> None:
    first, second = site.fed(), site.fed()
    first.feed(b"one", None)
    second.feed(b"two", None)
    request = b"GET /stream HTTP/1.1\r\nHost: test\r\n\r\n"
    with site.ask(request + request) as connection:
        for expected in (b"3\r\none\r\n0\r\n\r\n", b"3\r\ntwo\r\n0\r\n\r\n"):
            assert b"Connection" not in read_until(connection, b"\r\n\r\n")
            assert read_until(connection, b"0\r\n\r\n") == expected
        connection.sendall(request.replace(b"stream", b"other"))
        assert read_until(connection, b"{}").startswith(b"HTTP/1.1 200")


def test_clients_of_http_1_0_read_until_the_connection_ends(site: Site) -> None:
    stream = site.fed()
    with site.ask(b"GET /stream HTTP/1.0\r\nConnection: keep-alive\r\n\r\n") as connection:
        head = read_until(connection, b"\r\n\r\n")
        stream.feed(b"one", b"two", None)

        assert b"Transfer-Encoding" not in head
        assert b"Connection: close" in head
        assert connection.recv(3) + b"".join(iter(lambda: connection.recv(100), b"")) == b"onetwo"


def test_a_client_that_asks_for_the_head_gets_no_body_and_nothing_is_made_of_it(site: Site) -> None:
    stream = site.fed()
    with site.listen("HEAD") as response:
        assert response.headers["Content-Type"] == "text/plain"
    assert stream.was_closed.wait(SECONDS)
    assert not stream.is_waiting.is_set()


def test_a_stream_is_not_held_back_to_be_compressed(site: Site) -> None:
    stream = site.fed()
    stream.feed(b"x" * 10_000, None)
    with site.listen(**{"Accept-Encoding": "gzip"}) as response:
        assert "Content-Encoding" not in response.headers
        assert response.read() == b"x" * 10_000


def test_streams_cost_no_thread(site: Site) -> None:
    before = threading.active_count()
    with ExitStack() as stack:
        streams = [site.fed() for _ in range(100)]
        for _ in streams:
            stack.enter_context(site.listen())

        assert all(stream.is_waiting.wait(SECONDS) for stream in streams)
        assert threading.active_count() == before
        assert site.ask_other() == b"{}"


def test_a_step_that_may_block_is_taken_in_a_thread(site: Site) -> None:
    threads: list[str] = []

    class Reads(Stream):
        def __init__(self) -> None:
            self.left = 2

        def next(self) -> Deferred[bytes | None]:
            threads.append(threading.current_thread().name)
            now: Reply[None] = Reply()
            now.set()
            return Deferred(now, self.read, may_block=True)

        def read(self) -> bytes | None:
            threads.append(threading.current_thread().name)
            self.left -= 1
            return b"read" if self.left >= 0 else None

    site.streams.append(Reads())
    with site.listen() as response:
        assert response.read() == b"readread"
    assert {name.startswith("ordermill-http") for name in threads[::2]} == {False}
    assert {name.startswith("ordermill-http") for name in threads[1::2]} == {True}


def test_a_client_that_does_not_read_is_made_no_more_for_and_gets_all_when_it_reads(site: Site) -> None:
    stream = site.endless()
    with site.ask() as connection:
        given = -1
        while given != stream.given or not given:  # until the buffers on the way are full
            given = stream.given
            for _ in range(20):
                assert site.ask_other() == b"{}"
        assert stream.given < 100
        part = b"%x\r\n%b\r\n" % (OWN_BYTES, stream.part)
        read_until(connection, b"\r\n\r\n")
        with connection.makefile("rb") as received:
            for _ in range(given + 10):
                assert received.read(len(part)) == part
    assert stream.was_closed.wait(SECONDS)


@pytest.mark.slow
def test_a_client_that_never_reads_is_given_up() -> None:
    with Site(socket_seconds=1, request_seconds=1).running() as site:
        stream = site.endless()
        with site.ask():
            assert stream.was_closed.wait(SECONDS)


@pytest.mark.slow
def test_a_client_that_reads_slowly_has_time_for_each_part() -> None:
    with Site(socket_seconds=5, request_seconds=1).running() as site:
        stream = site.endless()
        stop = threading.Event()
        with site.ask() as connection:
            for _ in range(15):
                taken = 0
                while taken < 4 * OWN_BYTES:
                    taken += len(part := connection.recv(4096))
                    assert part
                stop.wait(0.2)  # so slow that something is always left to send
        assert stream.was_closed.wait(SECONDS)


@pytest.mark.parametrize("is_waiting", [True, False])
def test_whoever_makes_a_stream_is_told_at_once_that_its_client_has_gone(site: Site, is_waiting: bool) -> None:
    stream = site.fed() if is_waiting else site.endless()
    with site.ask() as connection:
        read_until(connection, b"\r\n\r\n")
        if isinstance(stream, Fed):
            assert stream.is_waiting.wait(SECONDS)

    assert stream.was_closed.wait(SECONDS)
    if isinstance(stream, Fed):
        assert stream.was_hurried.is_set()
        stream.feed(b"nobody reads this")
        assert site.ask_other() == b"{}"


def test_a_client_that_has_gone_while_a_thread_makes_a_part_is_not_told_of_before_it_is_made(site: Site) -> None:
    is_made, go_on, was_closed = threading.Event(), threading.Event(), threading.Event()

    class Reads(Stream):
        def next(self) -> Deferred[bytes | None]:
            now: Reply[None] = Reply()
            now.set()
            return Deferred(now, self.read, may_block=True)

        def read(self) -> bytes:
            is_made.set()
            assert go_on.wait(SECONDS)
            assert not was_closed.is_set()
            return b"late"

        def close(self) -> None:
            was_closed.set()

    site.streams.append(Reads())
    with site.ask():
        assert is_made.wait(SECONDS)
    while site.server.connections:
        threading.Event().wait(0.001)
    go_on.set()
    assert was_closed.wait(SECONDS)


def test_a_client_that_says_that_it_sends_nothing_more_gets_what_is_there_without_a_wait(site: Site) -> None:
    stream = site.fed()
    stream.feed(b"one", b"two")
    with site.ask() as connection:
        connection.shutdown(socket.SHUT_WR)
        received = b"".join(iter(lambda: connection.recv(65536), b""))

    assert received.endswith(b"\r\n\r\n3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n")
    assert stream.was_closed.wait(SECONDS)


@pytest.mark.slow
def test_a_stop_ends_streams_that_wait_and_cuts_off_those_that_do_not_end() -> None:
    with ExitStack() as stack, Site().running() as site:
        waiting, endless = site.fed(), site.endless()
        first = stack.enter_context(site.ask())
        assert waiting.is_waiting.wait(SECONDS)
        second = stack.enter_context(site.ask())
        assert second.recv(12) == b"HTTP/1.1 200"
        site.server.stop()

        assert first.recv(65536).endswith(b"\r\n0\r\n\r\n")
        assert first.recv(1) == b""
        received = b""
        with suppress(ConnectionResetError):
            while part := second.recv(65536):
                received = part
        assert not received.endswith(b"\r\n0\r\n\r\n")
        assert waiting.was_closed.is_set()
        assert endless.was_closed.is_set()


def test_an_error_cuts_a_stream_off_so_that_nobody_takes_it_for_whole(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    stream = site.fed()
    with site.listen() as response:
        stream.feed(b"one", RuntimeError("out of order"))
        with pytest.raises((http.client.IncompleteRead, ConnectionResetError)):
            response.read()
    assert stream.was_closed.wait(SECONDS)
    (record,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert record.getMessage() == "unexpected error on GET /stream"


def test_another_wsgi_server_gets_the_parts_one_by_one(site: Site, waitress: Callable[..., tuple[str, int]]) -> None:
    numbers = count()
    was_closed = threading.Event()

    class Numbers(Stream):
        def next(self) -> bytes | Deferred[bytes | None] | None:
            if (number := next(numbers)) == 3:
                return None
            later: Reply[None] = Reply()
            threading.Thread(target=later.set).start()
            return Deferred(later, lambda: b"%d;" % number)

        def close(self) -> None:
            was_closed.set()

    site.streams.append(Numbers())
    with closing(http.client.HTTPConnection(*waitress(site.facade, threads=1), timeout=SECONDS)) as connection:
        connection.request("GET", "/stream")
        assert connection.getresponse().read() == b"0;1;2;"
    assert was_closed.wait(SECONDS)
