"""What the head of a request says; what it may not say is in the corpus."""

from __future__ import annotations

import pytest

from ordermill.http.wire import request_head
from ordermill.http.wire.errors import MalformedRequest

REQUEST_LINE = b"POST /orders/a%20b%2Fc?x=%20&y HTTP/1.1\r\n"
HEAD = REQUEST_LINE + b"host: test:80\r\nCONTENT-length:\t007 \r\nX-A: 1\r\nx-a:2\r\nX_B: 3\r\n\r\n"


def test_a_head_is_read() -> None:
    head = request_head.read_head(HEAD)

    assert (head.request.method, head.version) == ("POST", "HTTP/1.1")
    assert (head.request.path, head.request.query) == ("/orders/a b%2Fc", "x=%20&y")
    assert head.request.fields == {"Host": "test:80", "Content-Length": "007", "X-A": "1, 2"}
    assert head.length == 7


@pytest.mark.parametrize(
    ("version", "connection", "is_kept"),
    [
        (b"1.1", b"", True),
        (b"1.1", b"close", False),
        (b"1.1", b"Close", False),
        (b"1.1", b"TE , close", False),
        (b"1.1", b"keep-alive", True),
        (b"1.1", b"closed", True),
        (b"1.0", b"", False),
        (b"1.0", b"keep-alive", True),
        (b"1.0", b"Keep-Alive, close", False),
    ],
)
def test_a_connection_is_kept_as_the_client_wants(version: bytes, connection: bytes, is_kept: bool) -> None:
    head = request_head.read_head(b"GET / HTTP/%b\r\nHost: test\r\nConnection: %b\r\n\r\n" % (version, connection))

    assert head.is_kept is is_kept


@pytest.mark.parametrize(
    ("version", "expect", "is_asking"),
    [
        (b"1.1", b"100-continue", True),
        (b"1.1", b"100-Continue", True),
        (b"1.1", b"x", False),
        (b"1.0", b"100-continue", False),
    ],
)
def test_a_client_may_ask_before_it_sends_a_body(version: bytes, expect: bytes, is_asking: bool) -> None:
    head = request_head.read_head(b"GET / HTTP/%b\r\nHost: test\r\nExpect: %b\r\n\r\n" % (version, expect))

    assert head.is_asking is is_asking


@pytest.mark.parametrize("length", range(len(HEAD)))
def test_the_end_is_found_wherever_the_head_was_cut(length: int) -> None:
    assert request_head.find_end(HEAD[:length]) == 0
    assert request_head.find_end(HEAD + b"body\r\n\r\n", length) == len(HEAD)


@pytest.mark.parametrize("received", [b"\x16\x03\x01", b"GET / HTTP/1.1\n", b"GET /\rX", b"GET / HTTP/1.1\r\nX: \x00"])
def test_what_can_become_no_head_is_not_waited_for(received: bytes) -> None:
    with pytest.raises(MalformedRequest):
        request_head.find_end(received)


@pytest.mark.parametrize("byte", [bytes([number]) for number in range(256)])
def test_no_byte_breaks_the_reader(byte: bytes) -> None:
    for head in (HEAD.replace(b"X-A", b"X" + byte), HEAD.replace(b"/c", b"/" + byte), HEAD.replace(b"test", byte)):
        try:
            fields = request_head.read_head(head).request.fields
        except MalformedRequest:
            continue
        assert not any("\r" in part or "\n" in part or "\0" in part for pair in fields.items() for part in pair)


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [
        ("http://shop.example/orders?limit=1", "/orders", "limit=1"),
        ("HTTPS://shop.example:8443/orders/a%20b", "/orders/a b", ""),
        ("http://[::1]:80/", "/", ""),
        ("http://shop.example", "/", ""),
        ("http://shop.example?limit=1", "/", "limit=1"),
    ],
)
def test_a_target_may_be_a_whole_address(target: str, path: str, query: str) -> None:
    head = request_head.read_head(f"GET {target} HTTP/1.1\r\nHost: other\r\n\r\n".encode())

    assert (head.request.path, head.request.query) == (path, query)


def test_a_whole_address_without_a_path_stands_for_all_there_is_where_options_are_asked_for() -> None:
    assert request_head.read_head(b"OPTIONS http://shop.example HTTP/1.1\r\nHost: a\r\n\r\n").request.path == "*"


@pytest.mark.parametrize(
    "target", ["http://", "http:///orders", "ftp://a/b", "http://user@host/", "file:///etc/passwd", "http:/a"]
)
def test_what_is_no_address_of_http_is_refused(target: str) -> None:
    with pytest.raises(MalformedRequest):
        request_head.read_head(f"GET {target} HTTP/1.1\r\nHost: a\r\n\r\n".encode())


def test_heads_that_are_alike_are_read_once() -> None:
    assert request_head.read_head(HEAD) is request_head.read_head(bytes(bytearray(HEAD)))
