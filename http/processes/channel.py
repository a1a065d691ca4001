"""The channel between an engine and a process that serves HTTP: a pair of connected sockets that only these two have.

Each end belongs to an event loop, and takes and gives whole messages. What is sent in one turn of the loop goes out
together. The engine's process says how the engine is without being asked, so that the other one can tell at any moment,
even where that process hangs. When one of them dies, however it dies, the other one knows at once.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable

from ..transport.loops import new_event_loop
from ..transport.wake_ups import WakeUps

_LENGTH_BYTES = 4


class Channel(asyncio.Protocol):
    """One end: messages, each behind its length. All is done in the loop.

    Args:
        take: called with the bytes of each message that comes.
        lose: called once when there is no other end any more.
    """

    def __init__(self, take: Callable[[memoryview], object], lose: Callable[[], object]) -> None:
        self._take = take
        self._lose = lose
        self._received = bytearray()
        self._transport: asyncio.Transport | None = None
        self._early: list[bytes] = []
        self._is_closing = False

    def open(self, loop: asyncio.AbstractEventLoop, end: socket.socket) -> None:
        """Begin.

        Args:
            loop: that this is called in.
            end: of the pair of sockets; closed in the end.
        """
        end.setblocking(False)
        self._opening = loop.create_task(self._open(loop, end))

    def send(self, message: bytes) -> None:
        """Send a message; nothing where there is no other end any more."""
        length = len(message).to_bytes(_LENGTH_BYTES, "big")
        if self._transport is None:  # it is being opened
            self._early += (length, message)
        elif not self._transport.is_closing():
            self._transport.writelines((length, message))

    @property
    def is_behind(self) -> bool:
        """Whether something waits for the other end to read it."""
        return self._transport is not None and self._transport.get_write_buffer_size() > 0

    def close(self) -> None:
        """End it, after what was sent."""
        self._is_closing = True
        if self._transport is not None:
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  # asyncio's
        """The other process has ended, or has closed its end; or this one was closed."""
        self._lose()

    def data_received(self, data: bytes) -> None:
        """Something has come."""
        received = self._received
        received += data
        begin = 0
        with memoryview(received) as view:
            while begin + _LENGTH_BYTES <= len(received):
                content = begin + _LENGTH_BYTES
                end = content + int.from_bytes(view[begin:content], "big")
                if end > len(received):
                    break
                with view[content:end] as message:
                    self._take(message)
                begin = end
        del received[:begin]

    async def _open(self, loop: asyncio.AbstractEventLoop, end: socket.socket) -> None:
        try:
            self._transport, _ = await loop.create_unix_connection(lambda: self, sock=end)
        except (
            RuntimeError
        ):  # the other end has gone by now; uvloop has closed this one, and does not say so to the socket
            end.detach()
            return
        self._transport.writelines(self._early)
        self._early.clear()
        if self._is_closing:
            self._transport.close()


class ChannelLoop:
    """A thread with an event loop for channels, in a process that has none."""

    def __init__(self) -> None:
        self.loop = new_event_loop()
        self.wake_ups = WakeUps()
        """For other threads that have something to do in the loop."""
        self._thread = threading.Thread(target=self._run, name="ordermill-channels")

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End, when what was called has been done."""
        self.wake_ups.call(self.loop.stop)
        self._thread.join()

    def _run(self) -> None:
        try:
            self.wake_ups.attach(self.loop)
            self.loop.run_forever()
            self.loop.run_until_complete(asyncio.sleep(0))  # sockets are closed a turn later
        finally:
            self.loop.close()
