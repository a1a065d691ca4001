"""What comes over a connection, cut into requests."""

from __future__ import annotations

import pytest

from ordermill.http.transport.request_reader import SKIPPED_BYTES, RequestReader
from ordermill.http.wire.errors import ContentTooLarge, HttpError, MalformedRequest, TruncatedBody

PLAIN = b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n"
POST = b"POST /b HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = b"POST /c HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nworld\r\n0\r\n\r\n"
ASKING = b"POST /b HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n"


def read_all(reader: RequestReader) -> list[tuple[str, bytes | None]]:
    """The path and the body of each request that is there."""
    found = []
    while (received := read_next(reader)) is not None:
        found.append(received)
    return found


def read_next(reader: RequestReader, max_bytes: int = 100) -> tuple[str, bytes | None] | None:
    """The path and the body of the next request, once it is there as a whole."""
    if reader.head is None and reader.read_head() is not None:
        reader.expect_body(max_bytes)
    if (head := reader.head) is None or not reader.read_body():
        return None
    return head.request.path, reader.take_body()


@pytest.mark.parametrize("size", [1, 2, 3, 7, 50, 1000])
def test_requests_are_found_however_they_are_cut(size: int) -> None:
    sent = PLAIN + POST + b"\r\n" + CHUNKED + PLAIN + CHUNKED + POST
    reader = RequestReader()
    found = []
    for begin in range(0, len(sent), size):
        reader.feed(sent[begin : begin + size])
        found += read_all(reader)

    plain, post, chunked = ("/a", None), ("/b", b"hello"), ("/c", b"world")
    assert found == [plain, post, chunked, plain, chunked, post]
    assert not reader.has_begun
    reader.end()


@pytest.mark.parametrize("rest", [b"", PLAIN])
def test_a_body_that_came_in_parts_is_handed_on_as_it_was_gathered(rest: bytes) -> None:
    reader = RequestReader()
    reader.feed(b"POST /b HTTP/1.1\r\nHost: h\r\nContent-Length: 90\r\n\r\n")
    for _ in range(8):
        reader.feed(b"a" * 10)
        assert read_next(reader) is None
    gathered = reader._received
    reader.feed(b"a" * 10 + rest)

    received = read_next(reader)
    assert received == ("/b", b"a" * 90)
    assert received[1] is gathered
    assert read_all(reader) == ([("/a", None)] if rest else [])


def test_what_waits_for_the_rest_is_counted() -> None:
    reader = RequestReader()
    reader.feed(POST[:-2])
    assert read_next(reader) is None

    assert reader.held == 3

    reader.feed(b"lo" + CHUNKED[:-10])
    read_all(reader)
    assert 0 < reader.held <= 10


def test_a_client_that_asks_is_told_once_and_not_where_the_body_is_there() -> None:
    reader = RequestReader()
    reader.feed(ASKING)
    assert read_next(reader) is None

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
    reader = RequestReader()
    reader.feed(sent)
    assert read_next(reader) is None

    with pytest.raises(fault):
        reader.end()


def test_a_body_that_is_announced_too_large_is_not_waited_for() -> None:
    reader = RequestReader()
    reader.feed(POST[:-5])

    with pytest.raises(ContentTooLarge):
        read_next(reader, 4)


@pytest.mark.parametrize("sent", [POST, CHUNKED])
@pytest.mark.parametrize("size", [1, 7, 1000])
def test_a_body_that_nobody_wants_is_read_over(sent: bytes, size: int) -> None:
    reader = RequestReader()
    for begin in range(0, len(sent), size):
        assert not reader.has_begun or begin
        reader.feed(sent[begin : begin + size])
        found = read_next(reader, 0)

    assert found == (sent[5:7].decode(), None)
    assert not reader.has_begun


@pytest.mark.parametrize("length", [SKIPPED_BYTES, SKIPPED_BYTES + 1])
def test_a_long_body_that_nobody_wants_is_not_waited_for(length: int) -> None:
    reader = RequestReader()
    reader.feed(b"GET /a HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n" % length)
    assert reader.read_head() is not None

    reader.expect_body(0)

    assert reader.is_lost is (length > SKIPPED_BYTES)
    assert reader.read_body() is reader.is_lost


def test_a_client_is_not_asked_for_a_body_that_nobody_wants() -> None:
    reader = RequestReader()
    reader.feed(ASKING)
    assert reader.read_head() is not None

    reader.expect_body(0)

    assert reader.is_lost
    assert reader.read_body()
    assert reader.take_body() is None


def test_nobody_waits_for_the_end_of_many_chunks_that_nobody_wants() -> None:
    reader = RequestReader()
    reader.feed(b"GET /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n")
    assert read_next(reader, 0) is None

    reader.feed(b"%x\r\n" % (SKIPPED_BYTES + 1))

    assert read_next(reader, 0) == ("/a", None)
    assert reader.is_lost


def test_a_body_of_more_chunks_than_are_read_at_once_is_whole_at_last() -> None:
    reader = RequestReader()
    reader.feed(b"POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n")
    reader.feed(b"1\r\na\r\n" * 2_500 + b"0\r\n\r\n")

    found = read_next(reader, 10_000)
    assert found is None
    while reader.is_behind:
        is_whole = reader.read_body()

    assert is_whole
    assert reader.take_body() == b"a" * 2_500


def test_more_chunks_that_nobody_wants_than_are_read_at_once_are_given_up() -> None:
    reader = RequestReader()
    reader.feed(b"GET /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n")
    reader.feed(b"1\r\na\r\n" * 2_500)

    assert read_next(reader, 0) == ("/a", None)
    assert reader.is_lost


def test_nothing_of_a_body_that_nobody_wants_is_held() -> None:
    reader = RequestReader()
    reader.feed(b"GET /a HTTP/1.1\r\nHost: h\r\nContent-Length: 60000\r\n\r\n" + b"a" * 50_000)
    assert read_next(reader, 0) is None

    assert reader.held == 0
