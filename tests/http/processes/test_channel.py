"""The channel: messages arrive whole and in order, however they are cut on the way, and an end that goes is noticed."""

from __future__ import annotations

import queue
import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial

import pytest

from ordermill.http.processes.channel import Channel, ChannelLoop

SECONDS = 60


class End:
    """One end, whose other end is in the hands of the test."""

    def __init__(self, channels: ChannelLoop) -> None:
        self.came: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self.lost = threading.Event()
        self._channels = channels
        ours, self.other = socket.socketpair()
        self.other.settimeout(SECONDS)
        self.channel = Channel(lambda message: self.came.put(bytes(message)), self.lost.set)
        channels.wake_ups.call(lambda: self.channel.open(channels.loop, ours))

    def send(self, message: bytes) -> None:
        """Send a message, in the loop."""
        self._channels.wake_ups.call(partial(self.channel.send, message))

    def close(self) -> None:
        """End it, in the loop."""
        self._channels.wake_ups.call(self.channel.close)
        assert self.lost.wait(SECONDS)


@contextmanager
def opened() -> Iterator[End]:
    """An end in a loop of its own."""
    channels = ChannelLoop()
    channels.start()
    end = End(channels)
    try:
        with closing(end.other):
            yield end
            end.close()
    finally:
        channels.stop()


@pytest.fixture
def end() -> Iterator[End]:
    """One end of a channel."""
    with opened() as end:
        yield end


def read(connection: socket.socket, size: int) -> bytes:
    """So many bytes."""
    received = b""
    while len(received) < size:
        received += (part := connection.recv(size - len(received)))
        assert part
    return received


def test_messages_come_whole_however_they_are_cut(end: End) -> None:
    content = b"\x00\x00\x00\x03one\x00\x00\x00\x00\x00\x00\x00\x05three"
    for number in range(len(content)):
        end.other.sendall(content[number : number + 1])
    end.other.sendall(3 * content)

    assert [end.came.get(timeout=SECONDS) for _ in range(12)] == 4 * [b"one", b"", b"three"]


def test_a_message_may_be_larger_than_all_buffers_on_the_way(end: End) -> None:
    message = bytes(range(256)) * 40_000
    end.send(message)
    end.send(b"after")
    echo = read(end.other, len(message) + 4 + 9)
    assert echo == len(message).to_bytes(4, "big") + message + b"\x00\x00\x00\x05after"

    end.other.sendall(echo)
    assert end.came.get(timeout=SECONDS) == message
    assert end.came.get(timeout=SECONDS) == b"after"


def test_an_end_whose_process_has_gone_is_noticed_and_takes_what_is_sent_for_nothing(end: End) -> None:
    end.send(b"one")
    assert read(end.other, 7) == b"\x00\x00\x00\x03one"
    end.other.close()

    assert end.lost.wait(SECONDS)
    end.send(b"to nobody")


def test_an_end_that_is_closed_has_sent_what_was_given_to_it() -> None:
    with opened() as end:
        end.send(b"x" * 100_000)
        reading = threading.Thread(target=lambda: end.came.put(read(end.other, 100_004)))
        end._channels.wake_ups.call(end.channel.close)
        reading.start()
        assert end.came.get(timeout=SECONDS)[4:] == b"x" * 100_000
        assert end.other.recv(1) == b""
        reading.join()


def test_what_the_other_end_does_not_read_is_told(end: End) -> None:
    assert not end.channel.is_behind
    end.send(b"x" * 10_000_000)
    end.send(b"")
    while not end.channel.is_behind:
        pass
    read(end.other, 10_000_008)
    while end.channel.is_behind:
        pass
