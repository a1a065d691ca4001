"""The channel: messages arrive whole and in order, however they are cut on the way, and an end that goes is noticed."""

from __future__ import annotations

import queue
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

import pytest

from ordermill.http.processes.channel import Channel, ChannelLoop

SECONDS = 60
POISON = b"poison"


class End:
    """One end, whose other end is in the hands of the test."""

    def __init__(self, channels: ChannelLoop) -> None:
        self.came: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self.lost = threading.Event()
        self._channels = channels
        ours, self.other = socket.socketpair()
        self.other.settimeout(SECONDS)
        self.channel = Channel(self._take, self.lost.set)
        channels.wake_ups.call(lambda: self.channel.open(channels.loop, ours))

    def call(self, function: Callable[[], object]) -> None:
        """Have something done in the loop."""
        self._channels.wake_ups.call(function)

    def _take(self, message: memoryview) -> None:
        if message == POISON:
            raise ValueError("poison")
        self.came.put(bytes(message))

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
    end.channel.send(message)
    end.channel.send(b"after")
    echo = read(end.other, len(message) + 4 + 9)
    assert echo == len(message).to_bytes(4, "big") + message + b"\x00\x00\x00\x05after"

    end.other.sendall(echo)
    assert end.came.get(timeout=SECONDS) == message
    assert end.came.get(timeout=SECONDS) == b"after"


def test_messages_come_whole_from_however_many_threads(end: End) -> None:
    messages = [bytes([number]) * 50_000 for number in range(40)]
    threads = [threading.Thread(target=end.channel.send, args=(message,)) for message in messages]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(read(end.other, 50_004)[4:] for _ in messages) == messages


def test_a_message_waits_neither_for_the_loop_nor_for_the_other_end(end: End) -> None:
    go_on = threading.Event()
    is_held = threading.Event()

    def hold() -> None:
        is_held.set()
        go_on.wait(SECONDS)

    end.call(hold)
    assert is_held.wait(SECONDS)

    end.channel.send(b"one")
    assert read(end.other, 7) == b"\x00\x00\x00\x03one"
    end.channel.send(b"x" * 10_000_000)
    go_on.set()
    assert read(end.other, 10_000_004)[4:] == b"x" * 10_000_000


def test_what_is_sent_before_it_is_open_is_not_lost() -> None:
    channels = ChannelLoop()
    ours, other = socket.socketpair()
    lost = threading.Event()
    channel = Channel(bytes, lost.set)
    channel.send(b"early")
    channels.start()
    try:
        with closing(other):
            other.settimeout(SECONDS)
            channels.wake_ups.call(lambda: channel.open(channels.loop, ours))
            assert read(other, 9) == b"\x00\x00\x00\x05early"
            channels.wake_ups.call(channel.close)
            assert lost.wait(SECONDS)
    finally:
        channels.stop()


def test_an_end_that_cannot_make_sense_of_a_message_is_closed(end: End) -> None:
    end.other.sendall(b"\x00\x00\x00\x06poison\x00\x00\x00\x03two")

    assert end.lost.wait(SECONDS)
    assert end.other.recv(1) == b""
    assert end.came.empty()


def test_an_end_whose_process_has_gone_is_noticed_and_takes_what_is_sent_for_nothing(end: End) -> None:
    end.channel.send(b"one")
    assert read(end.other, 7) == b"\x00\x00\x00\x03one"
    end.other.close()

    assert end.lost.wait(SECONDS)
    end.channel.send(b"to nobody")


def test_an_end_that_is_closed_has_sent_what_was_given_to_it() -> None:
    with opened() as end:
        end.channel.send(b"x" * 100_000)
        reading = threading.Thread(target=lambda: end.came.put(read(end.other, 100_004)))
        end.call(end.channel.close)
        reading.start()
        assert end.came.get(timeout=SECONDS)[4:] == b"x" * 100_000
        assert end.other.recv(1) == b""
        reading.join()


def test_another_thread_may_read_and_the_loop_does_where_that_one_does_not() -> None:
    channels = ChannelLoop()
    ours, other = socket.socketpair()
    readers: queue.SimpleQueue[Callable[[], bool]] = queue.SimpleQueue()
    came: queue.SimpleQueue[tuple[bytes, int]] = queue.SimpleQueue()
    lost = threading.Event()
    channel = Channel(lambda message: came.put((bytes(message), threading.get_ident())), lost.set)
    channels.start()
    try:
        with closing(other):
            channels.wake_ups.call(lambda: channel.open(channels.loop, ours, lambda _, read: readers.put(read)))
            read = readers.get(timeout=SECONDS)
            assert read()  # there is nothing yet
            go_on, is_held = threading.Event(), threading.Event()

            def hold() -> None:
                is_held.set()
                go_on.wait(SECONDS)

            channels.wake_ups.call(hold)
            assert is_held.wait(SECONDS)
            other.sendall(b"\x00\x00\x00\x03one")
            assert read()
            assert came.get(timeout=0) == (b"one", threading.get_ident())
            go_on.set()

            other.sendall(b"\x00\x00\x00\x03two")
            assert came.get(timeout=SECONDS) == (b"two", channels._thread.ident)
        assert lost.wait(SECONDS)
        assert not read()
    finally:
        channels.stop()


def test_what_the_other_end_does_not_read_is_told(end: End) -> None:
    assert not end.channel.is_behind
    end.channel.send(b"x" * 10_000_000)
    end.channel.send(b"")
    while not end.channel.is_behind:
        pass
    read(end.other, 10_000_008)
    while end.channel.is_behind:
        pass
