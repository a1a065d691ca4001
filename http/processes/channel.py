"""The channel between an engine and a process that serves HTTP: a pair of connected sockets that only these two have.

Each end belongs to an event loop, and takes and gives whole messages. A message is sent at once, by the thread that has
it, and may be read by the thread that needs it: to wake up another one costs more. The engine's process says how the
engine is without being asked, so that the other one can tell at any moment, even where that process hangs. When one of
them dies, however it dies, the other one knows at once.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial

from ..transport.loops import new_event_loop
from ..transport.wake_ups import WakeUps

_Attend = Callable[[socket.socket, Callable[[], bool]], object]

_LENGTH_BYTES = 4
_READ_BYTES = 64 * 1024
_LOOK_SECONDS = 0.05
"""How often the loop reads what another thread should."""

_log = logging.getLogger("ordermill.http.processes")


class Channel:
    """One end: messages, each behind its length. They are sent from any thread, and come in one at a time.

    Args:
        take: called with the bytes of each message that comes.
        lose: called once when there is no other end any more, or this one is closed.
    """

    def __init__(self, take: Callable[[memoryview], object], lose: Callable[[], object]) -> None:
        self._take = take
        self._lose = lose
        self._received = bytearray()
        self._unsent = bytearray()
        self._sending = threading.Lock()
        self._receiving = threading.Lock()
        self._end: socket.socket | None = None  # until it is open
        self._is_closing = False
        self._is_over = False

    def open(self, loop: asyncio.AbstractEventLoop, end: socket.socket, attend: _Attend | None = None) -> None:
        """Begin. In the loop, as all but sending and reading.

        Args:
            loop: it.
            end: of the pair of sockets; closed in the end.
            attend: has the thread that needs the messages read the end; the loop does where that is busy for long, or
                has ended. None for the loop alone.
        """
        end.setblocking(False)
        self._loop = loop
        with self._sending:
            self._end = end
        self._send_rest_later()
        if attend is None:
            loop.add_reader(end, self._receive, end)
        else:
            self._look_again()
            attend(end, partial(self._receive, end))

    def send(self, message: bytes) -> None:
        """Send a message; nothing where there is no other end any more. From any thread, which never waits."""
        data = len(message).to_bytes(_LENGTH_BYTES, "big") + message
        with self._sending:
            if self._is_over:
                return
            if self._end is None or self._unsent:  # behind what came before
                self._unsent += data
                return
            sent = _send(self._end, data)
            if sent == len(data):
                return
            self._unsent += data[sent:]
        with suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._send_rest_later)

    @property
    def is_behind(self) -> bool:
        """Whether something waits for the other end to read it."""
        return bool(self._unsent)

    def close(self) -> None:
        """End it, after what was sent."""
        if self._end is None:
            return
        self._is_closing = True
        self._loop.remove_reader(self._end)
        if not self._unsent:
            self._finish(self._end)

    def _look_again(self) -> None:
        if self._end is not None:
            self._receive(self._end)
            self._loop.call_later(_LOOK_SECONDS, self._look_again)

    def _send_rest_later(self) -> None:
        if self._end is not None and self._unsent:
            self._loop.add_writer(self._end, self._send_rest, self._end)

    def _send_rest(self, end: socket.socket) -> None:
        with self._sending:
            del self._unsent[: _send(end, self._unsent)]
        if not self._unsent:
            self._loop.remove_writer(end)
            if self._is_closing:
                self._finish(end)

    def _receive(self, end: socket.socket) -> bool:
        """Take what has come; whether more may come."""
        with self._receiving:
            if self._is_closing or self._is_over:
                return False
            try:
                data = end.recv(_READ_BYTES)
            except BlockingIOError:
                return True
            except OSError:
                data = b""
            if data:
                self._received += data
                try:
                    self._take_whole()
                    return True
                except Exception:  # nobody can make sense of what follows
                    _log.exception("what has come over a channel makes no sense")
            self._is_closing = True
        # The other process has ended, or has closed its end.
        with suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._finish, end)
        return False

    def _take_whole(self) -> None:
        received = self._received
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

    def _finish(self, end: socket.socket) -> None:
        if self._is_over:
            return
        with self._sending, self._receiving:
            self._is_over = True
            self._end = None
            self._unsent.clear()
        self._loop.remove_reader(end)
        self._loop.remove_writer(end)
        end.close()
        self._lose()


def _send(end: socket.socket, data: bytes | bytearray) -> int:
    try:
        return end.send(data)
    except BlockingIOError:
        return 0
    except OSError:  # there is no other end any more: whoever reads notices as well
        return len(data)


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
        finally:
            self.loop.close()
