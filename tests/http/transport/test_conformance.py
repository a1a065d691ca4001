"""What others expect of any server of HTTP/1.1: the cases of h1spec (https://github.com/uNetworking/h1spec).

Its server gives every body back. Where h1spec waits a while to see that a server waits for the rest of a request, these
send the rest and see that it has waited.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from ordermill.http.config import ServerConfig
from ordermill.http.transport.server import HttpServer

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse

HOST = b"Host: example.com\r\n"
REQUEST = b"GET /hello HTTP/1.1\r\nHost: localhost\r\n\r\n"
FRAGMENTS = (
    b"G",
    b"GET ",
    b"GET /hello",
    b"GET /hello ",
    b"GET /hello HTTP",
    b"GET /hello HTTP/1.1",
    b"GET /hello HTTP/1.1\r",
    b"GET /hello HTTP/1.1\r\n",
    b"GET /hello HTTP/1.1\r\nHos",
    b"GET /hello HTTP/1.1\r\nHost:",
    b"GET /hello HTTP/1.1\r\nHost: ",
    b"GET /hello HTTP/1.1\r\nHost: localhost",
    b"GET /hello HTTP/1.1\r\nHost: localhost\r",
    b"GET /hello HTTP/1.1\r\nHost: localhost\r\n",
    b"GET /hello HTTP/1.1\r\nHost: localhost\r\n\r",
)
TAKEN = {
    "a request": (b"GET / HTTP/1.1\r\n" + HOST + b"\r\n", b""),
    "one with a name in any case, a tab, and an empty field": (
        b"GET / HTTP/1.1\r\nhoSt:\texample.com\r\nempty:\r\n\r\n",
        b"",
    ),
    "one with a field of a blank": (b"GET / HTTP/1.1\r\n" + HOST + b"X-Empty-Header: \r\n\r\n", b""),
    "one that asks to go on, and has no body": (b"GET / HTTP/1.1\r\n" + HOST + b"Expect: 100-continue\r\n\r\n", b""),
    "a body of a length": (b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 5\r\n\r\nhello", b"hello"),
    "a body in chunks": (
        b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\nc\r\nHellO world1\r\n0\r\n\r\n",
        b"HellO world1",
    ),
}
REFUSED = {
    "no version": b"GET / \r\n\r\n",
    "a version that there is not": b"GET / HTTP/9.9\r\n" + HOST + b"\r\n",
    "words before the method": b"Extra lineGET / HTTP/1.1\r\n" + HOST + b"\r\n",
    "no host": b"GET / HTTP/1.1\r\nContent-Length: 5\r\n\r\n",
    "two hosts": b"GET / HTTP/1.1\r\n" + HOST + b"Host: example.org\r\n\r\n",
    "brackets in a name": b"GET / HTTP/1.1\r\n" + HOST + b"X-Invalid[]: test\r\n\r\n",
    "a control character": b"GET / HTTP/1.1\r\n" + HOST + b"X-Bad-Control-Char: test\x07\r\n\r\n",
    "half of a line end": b"GET / HTTP/1.1\r\n" + HOST + b"\rSome-Header: Test\r\n\r\n",
    "a length below zero": b"GET / HTTP/1.1\r\n" + HOST + b"Content-Length: -1234\r\n\r\n",
    "one far below": b"GET / HTTP/1.1\r\n" + HOST + b"Content-Length: -123456789123456789123456789\r\n\r\n",
    "a length of letters": b"GET / HTTP/1.1\r\n" + HOST + b"Content-Length: abc\r\n\r\n",
    "a length and chunks": b"POST / HTTP/1.1\r\n"
    + HOST
    + b"content-LengtH: 5\r\nTransFer-Encoding: chunked\r\n\r\nc\r\nHellO world1\r\n0\r\n\r\n",
}


def echo(environ: dict[str, Any], start_response: StartResponse) -> list[bytes]:
    """Gives every body back."""
    body: bytes = environ["wsgi.input"].read()
    start_response("200 OK", [("Content-Type", "application/octet-stream"), ("Content-Length", str(len(body)))])
    return [body]


@pytest.fixture
def address() -> Iterator[tuple[str, int]]:
    """Of a server that gives every body back."""
    server = HttpServer({"": echo}, ServerConfig(port=0, threads=1))
    server.prepare()
    thread = threading.Thread(target=server.start)
    thread.start()
    yield server.address
    server.stop()
    thread.join()


def answer_to(connection: socket.socket) -> tuple[int, bytes]:
    """The status and the body of what is answered, after which the connection ends."""
    connection.shutdown(socket.SHUT_WR)
    head, _, body = b"".join(iter(lambda: connection.recv(65536), b"")).partition(b"\r\n\r\n")
    return int(head.split()[1]), body


def send(address: tuple[str, int], *parts: bytes) -> tuple[int, bytes]:
    """Send a request in these parts, each after nothing was answered to the one before; and read the answer."""
    with closing(socket.create_connection(address, timeout=60)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for part in parts[:-1]:
            connection.sendall(part)
            assert send(address, REQUEST) == (200, b"")  # by then the server has seen the part
            connection.setblocking(False)
            with pytest.raises(BlockingIOError):
                connection.recv(1)
            connection.settimeout(20)
        connection.sendall(parts[-1])
        return answer_to(connection)


def test_these_are_all_cases() -> None:
    assert len(FRAGMENTS) + len(TAKEN) + len(REFUSED) == 33


@pytest.mark.parametrize("fragment", FRAGMENTS, ids=lambda fragment: f"{len(fragment)} bytes")
def test_the_rest_of_a_request_is_waited_for(address: tuple[str, int], fragment: bytes) -> None:
    assert REQUEST.startswith(fragment)
    assert send(address, fragment, REQUEST.removeprefix(fragment)) == (200, b"")


@pytest.mark.parametrize("name", TAKEN)
def test_what_is_sound_is_taken(address: tuple[str, int], name: str) -> None:
    request, body = TAKEN[name]
    assert send(address, request) == (200, body)


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_is_refused(address: tuple[str, int], name: str) -> None:
    status, _ = send(address, REFUSED[name])
    assert 400 <= status < 500
