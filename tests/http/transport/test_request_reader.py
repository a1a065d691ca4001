"""What comes over a connection, cut into requests."""

from __future__ import annotations

import pytest

from ordermill.http.transport.request_reader import RequestReader
from ordermill.http.wire.errors import ContentTooLarge, HttpError, MalformedRequest, TruncatedBody

PLAIN = b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n"
POST = b"POST /b HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = b"POST /c HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nworld\r\n0\r\n\r\n"
ASKING = b"POST /b HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n"


def read_all(reader: RequestReader) -> list[tuple[str, bytes | None]]:
    """The path and the body of each request that is there."""
    found = []
    while (received := reader.next()) is not None:
        head, body = received
        found.append((head.path, None if body is None else bytes(body)))
    return found


@pytest.mark.parametrize("size", [1, 2, 3, 7, 50, 1000])
def test_requests_are_found_however_they_are_cut(size: int) -> None:
    sent = PLAIN + POST + b"\r\n" + CHUNKED + PLAIN + CHUNKED + POST
    reader = RequestReader(100)
    found = []
    for begin in range(0, len(sent), size):
        reader.feed(sent[begin : begin + size])
        found += read_all(reader)

    plain, post, chunked = ("/a", None), ("/b", b"hello"), ("/c", b"world")
    assert found == [plain, post, chunked, plain, chunked, post]
    assert not reader.has_begun
    assert reader.end() is None


def test_what_waits_for_the_rest_is_counted() -> None:
    reader = RequestReader(100)
    reader.feed(POST[:-2])
    assert reader.next() is None

    assert reader.held == 3

    reader.feed(b"lo" + CHUNKED[:-10])
    read_all(reader)
    assert 0 < reader.held <= 10


def test_a_client_that_asks_is_told_once_and_not_where_the_body_is_there() -> None:
    reader = RequestReader(100)
    reader.feed(ASKING)
    assert reader.next() is None

    assert reader.must_ask()
    assert not reader.must_ask()

    reader.feed(b"hello" + ASKING + b"h")
    assert read_all(reader) == [("/b", b"hello")]
    assert not reader.must_ask()


@pytest.mark.parametrize(
    ("sent", "fault"),
    [(b"GET /a", MalformedRequest), (POST[:-1], TruncatedBody), (CHUNKED[:-3], TruncatedBody), (ASKING, TruncatedBody)],
)
def test_an_end_within_a_request_is_a_fault(sent: bytes, fault: type[HttpError]) -> None:
    reader = RequestReader(100)
    reader.feed(sent)
    assert reader.next() is None

    assert isinstance(reader.end(), fault)


def test_a_body_that_is_announced_too_large_is_not_waited_for() -> None:
    reader = RequestReader(4)
    reader.feed(POST[:-5])

    with pytest.raises(ContentTooLarge):
        reader.next()
