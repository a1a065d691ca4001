"""Bodies in chunks, wherever they are cut; what is no chunk is in the corpus."""

from __future__ import annotations

import pytest

from ordermill.http.wire.chunked import ChunkedBody
from ordermill.http.wire.errors import ContentTooLarge, HeadTooLarge, MalformedRequest

SENT = b"5\r\nhello\r\n1;name=value\r\n \r\n00A\r\n1234567890\r\n0\r\nX-Sum: 1\r\nX-Y: 2\r\n\r\n"
NEXT = b"GET / HTTP/1.1\r\n"


def test_chunks_become_a_body_and_what_follows_is_left() -> None:
    body, received = ChunkedBody(16), bytearray(SENT + NEXT)

    assert body.take(received)
    assert (body.content, received) == (b"hello 1234567890", NEXT)


@pytest.mark.parametrize("length", range(1, len(SENT)))
def test_chunks_may_be_cut_anywhere(length: int) -> None:
    body, received = ChunkedBody(16), bytearray(SENT[:length])
    assert not body.take(received)

    received += SENT[length:] + NEXT

    assert body.take(received)
    assert (body.content, received) == (b"hello 1234567890", NEXT)


def test_chunks_may_come_byte_by_byte() -> None:
    body, received = ChunkedBody(16), bytearray()
    for number, byte in enumerate(SENT, 1):
        received.append(byte)
        assert body.take(received) is (number == len(SENT))

    assert body.content == b"hello 1234567890"


def test_of_many_chunks_some_are_taken_at_once() -> None:
    body, received = ChunkedBody(10_000), bytearray(b"1\r\na\r\n" * 2_500 + b"0\r\n\r\n")

    taken = []
    while not body.take(received):
        assert body.is_behind
        taken.append(len(body.content))

    assert taken == [1_000, 2_000]
    assert body.content == b"a" * 2_500
    assert not body.is_behind
    assert not received


def test_nothing_is_behind_where_the_rest_has_not_come() -> None:
    body = ChunkedBody(10_000)

    assert not body.take(bytearray(b"1\r\na\r\n" * 10))
    assert not body.is_behind


def test_a_body_of_no_chunks_is_empty() -> None:
    body = ChunkedBody(0)

    assert body.take(bytearray(b"0\r\n\r\n"))
    assert body.content == b""


def test_what_is_too_much_is_refused_before_it_is_there() -> None:
    with pytest.raises(ContentTooLarge):
        ChunkedBody(16).take(bytearray(b"11\r\n"))
    with pytest.raises(ContentTooLarge):
        ChunkedBody(16).take(bytearray(b"10\r\n" + b"a" * 16 + b"\r\n1\r\n"))


@pytest.mark.parametrize("sent", [b"g\r\n", b"\r\n", b"1\r\nab\r\n", b"1\n", b"0\r\nX Y: z\r\n\r\n"])
def test_what_is_no_chunk_is_refused(sent: bytes) -> None:
    with pytest.raises((MalformedRequest, HeadTooLarge)):
        ChunkedBody(16).take(bytearray(sent + b" " * 300))


def test_what_is_around_the_chunks_is_bounded() -> None:
    with pytest.raises(HeadTooLarge):
        ChunkedBody(10_000).take(bytearray(b"1;%b\r\na\r\n" % (b"x" * 250) * 200))
