"""The server around the facade: connections, limits, addresses."""

from __future__ import annotations

import errno
import http.client
import json
import os
import re
import socket
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from ordermill.engine import InvalidConfiguration
from ordermill.http.config import ServerConfig
from ordermill.http.transport import server
from ordermill.http.transport.connection import Connection
from ordermill.http.transport.server import HttpServer

if TYPE_CHECKING:
    from tests.http.conftest import Client

    MakeOrder = Callable[..., dict[str, Any]]


@pytest.fixture
def connection(client: Client) -> Iterator[http.client.HTTPConnection]:
    """A connection that is kept."""
    with closing(http.client.HTTPConnection(*client.address, timeout=60)) as connection:
        yield connection


def exchange(
    connection: http.client.HTTPConnection, method: str, path: str, body: bytes | None = None
) -> http.client.HTTPResponse:
    """Send a request over a connection that is kept, and read the whole answer."""
    connection.request(method, path, body, {"Content-Type": "application/json"} if body else {})
    response = connection.getresponse()
    response.read()
    return response


def test_a_connection_is_kept_for_further_requests(connection: http.client.HTTPConnection, order: MakeOrder) -> None:
    connection.connect()
    first = connection.sock

    statuses = [
        exchange(connection, "GET", "/healthz").status,
        exchange(connection, "POST", "/orders", json.dumps(order()).encode()).status,
        exchange(connection, "POST", "/orders", b"{").status,
        exchange(connection, "POST", "/orders", b"{}").status,
        exchange(connection, "PUT", "/orders", b"not looked at").status,
        exchange(connection, "POST", "/nothing", b"not looked at").status,
        exchange(connection, "HEAD", "/orders/o-1").status,
        exchange(connection, "OPTIONS", "/orders").status,
        exchange(connection, "POST", "/orders/o-2/cancel").status,
        exchange(connection, "GET", "/orders/o-1?wait=20").status,
    ]

    assert statuses == [200, 201, 400, 422, 405, 404, 200, 204, 404, 200]
    assert connection.sock is first is not None


def test_a_connection_is_closed_when_the_client_wants_that(connection: http.client.HTTPConnection) -> None:
    connection.request("GET", "/healthz", headers={"Connection": "close"})
    response = connection.getresponse()

    assert response.headers["Connection"] == "close"
    assert connection.sock is None


def test_requests_may_be_sent_before_their_answers_come(client: Client, order: MakeOrder) -> None:
    body = json.dumps(order()).encode()
    head = (
        b"POST /orders HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
        % len(body)
    )
    last = b"GET /orders/o-1 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    with client.raw() as raw:
        raw.sendall((head + body) * 2 + last)

        answers = b"".join(iter(lambda: raw.recv(65536), b""))

    assert re.findall(rb"HTTP/1.1 (\d+)", answers) == [b"201", b"200", b"200"]


def test_a_client_of_http_1_0_is_answered_and_its_connection_closed(client: Client) -> None:
    with client.raw() as raw:
        raw.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")

        answer = b"".join(iter(lambda: raw.recv(65536), b""))

    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert answer.endswith(b'{"status":"ok","reasons":[]}')


def test_a_client_that_asks_before_it_sends_a_body_is_told_to_go_on(client: Client, order: MakeOrder) -> None:
    body = json.dumps(order()).encode()
    with client.raw() as raw:
        raw.sendall(
            b"POST /orders HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Type: application/json\r\n"
            b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(body)
        )
        assert raw.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"

        raw.sendall(body)

        assert raw.recv(65536).startswith(b"HTTP/1.1 201 Created\r\n")


def test_no_connection_is_kept_beyond_the_limit(start_server: Callable[..., Client]) -> None:
    assert start_server(max_idle_connections=0).get("/healthz").headers["Connection"] == "close"


def test_connections_on_which_nothing_is_sent_do_not_hold_up_others(client: Client) -> None:
    with ExitStack() as silent:
        for _ in range(8):  # twice as many as there are threads
            silent.enter_context(client.raw())
        with client.raw() as busy:
            busy.settimeout(
                client.server.socket_seconds / 2
            )  # that long a silent connection would hold a thread, and longer
            busy.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")

            assert busy.recv(65536).startswith(b"HTTP/1.1 200 OK\r\n")


@pytest.mark.slow
def test_a_connection_on_which_nothing_is_sent_is_closed(start_server: Callable[..., Client]) -> None:
    client = start_server(socket_seconds=1)
    with client.raw() as silent:
        assert silent.recv(1) == b""


def test_a_look_at_all_connections_leaves_others_their_turns(
    client: Client, wait_until: Callable[[Callable[[], object]], None]
) -> None:
    turns: list[list[Connection]] = []
    original = Connection.check

    def check(connection: Connection, now: float) -> None:
        if not turns[-1:] or not turns[-1]:
            turns.append([])
            connection._loop.call_soon(turns.append, [])
        turns[-1].append(connection)
        original(connection, now)

    with ExitStack() as stack:
        for _ in range(100):
            stack.enter_context(client.raw())
        wait_until(lambda: len(client.server.connections) >= 100)
        idle = set(client.server.connections)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Connection, "check", check)
            wait_until(lambda: all(sum(turn.count(connection) for turn in turns) > 1 for connection in idle))

    assert max(map(len, turns)) <= 32


def test_the_server_says_its_name_but_no_version(client: Client) -> None:
    assert client.get("/healthz").headers["Server"] == "ordermill"


def test_a_free_port_is_taken_and_told(client: Client) -> None:
    host, port = client.address

    assert (host, port != 0) == ("127.0.0.1", True)
    assert client.server.url == f"http://127.0.0.1:{port}"


def test_an_ipv6_address_is_in_brackets() -> None:
    assert HttpServer({}, ServerConfig(host="::1", port=8080)).url == "http://[::1]:8080"


def test_a_stopped_server_takes_no_connections(client: Client) -> None:
    client.server.stop()

    with pytest.raises(ConnectionRefusedError):
        client.get("/healthz")


def test_an_error_in_accepting_is_logged_at_a_bounded_rate_and_does_not_end_the_server(
    client: Client, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    tried, is_replaced = threading.Semaphore(0), threading.Event()

    class Broken:
        """The listening socket, which cannot accept for a while."""

        def __init__(self, listening: socket.socket) -> None:
            self._listening = listening
            self.fails = True

        def accept(self) -> Any:
            if self.fails:
                tried.release()
                raise OSError(errno.EMFILE, "Too many open files")
            return self._listening.accept()

        def fileno(self) -> int:
            return self._listening.fileno()

    def replace() -> None:
        listening = client.server._socket
        client.server.loop.remove_reader(listening)
        client.server._accept(broken)
        is_replaced.set()

    monkeypatch.setattr(server, "_ACCEPT_AGAIN_SECONDS", 0.001)
    broken = Broken(client.server._socket)
    client.server.wake_ups.call(replace)
    assert is_replaced.wait(60)  # or the first connection would be accepted before
    with client.raw() as patient:
        for _ in range(20):
            assert tried.acquire(timeout=60)
        broken.fails = False
        patient.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")

        assert patient.recv(65536).startswith(b"HTTP/1.1 200 OK\r\n")
    lines = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert lines == ["cannot accept connections for a moment"] * 5


def test_an_error_in_the_loop_is_logged_and_does_not_end_the_server(
    client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(100):
        client.server.wake_ups.call(lambda: 1 / 0)

    assert client.get("/healthz").status == 200
    lines = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert lines == ["unexpected error in the loop: unexpected error"] * 5


def test_a_forked_child_keeps_no_connection_open(start_server: Callable[..., Client]) -> None:
    client = start_server(socket_seconds=1)
    with client.raw() as kept:
        kept.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        kept.recv(65536)
        reading, writing = os.pipe()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # from Python 3.12 on, where threads run
            child = os.fork()
        if not child:
            os.read(reading, 1)
            os._exit(0)
        try:
            assert kept.recv(65536) == b""  # the server has closed it, and so has the child
        finally:
            os.write(writing, b"x")
            os.waitpid(child, 0)
            os.close(reading)
            os.close(writing)


def test_a_server_that_is_stopped_before_it_has_begun_never_begins() -> None:
    stopped = HttpServer({}, ServerConfig(port=0))
    stopped.prepare()
    stopped.stop()

    stopped.start()  # returns


def test_a_server_that_stops_keeps_no_connection_and_answers_until_the_end(client: Client, order: MakeOrder) -> None:
    client.server.begin_stop()
    client.engine.stop()

    reply = client.post("/orders", order())

    assert (reply.status, reply.json["type"]) == (503, "urn:ordermill:problem:stopping")
    assert reply.headers["Connection"] == "close"
    assert reply.headers["Retry-After"]


@pytest.mark.parametrize(
    "settings",
    [
        {"port": -1},
        {"port": 65536},
        {"port": "8080"},
        {"threads": 0},
        {"threads": 1001},
        {"max_body_bytes": 1023},
        {"socket_seconds": 0},
        {"max_idle_connections": -1},
        {"host": None},
        {"colour": "red"},
    ],
)
def test_settings_out_of_range_are_refused_by_name(settings: dict[str, Any]) -> None:
    with pytest.raises(InvalidConfiguration, match=next(iter(settings))):
        ServerConfig.of(settings)


def test_settings_have_defaults() -> None:
    assert ServerConfig.of({"port": 0}) == ServerConfig(port=0)
    assert msgspec.structs.asdict(ServerConfig())["host"] == "127.0.0.1"
