"""Lookout: files that an actor looks at while it has no messages, and reads itself."""

from __future__ import annotations

import selectors
import socket
from collections.abc import Callable
from contextlib import suppress


class Lookout:
    """Has files read by the thread that needs what is in them: a thread that only passes it on costs more than that.

    All but `wake_up` is for that thread.
    """

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._bell, self._ringer = socket.socketpair()
        self._bell.setblocking(False)
        self._ringer.setblocking(False)
        self._is_asleep = False
        self.attend(self._bell, self._hear)

    def attend(self, file: socket.socket, read: Callable[[], bool]) -> None:
        """Have a file read whenever there is something in it.

        Args:
            file: it.
            read: reads what is there, without waiting; whether that may happen again. It raises nothing.
        """
        with suppress(ValueError):  # it has been closed meanwhile
            with suppress(KeyError):  # one that has been closed, whose number this one has got
                self._selector.unregister(file)
            self._selector.register(file, selectors.EVENT_READ, read)

    def look(self) -> bool:
        """Read what is there; whether anything was."""
        return self._read(0)

    def sleep_unless(self, is_needed: Callable[[], bool], seconds: float | None) -> None:
        """Read what comes until something did, `wake_up` was called or time is over.

        Args:
            is_needed: whether there is no time to sleep. Whatever comes after it was asked wakes up.
            seconds: how long at the most; None for ever.
        """
        self._is_asleep = True
        self._read(0 if is_needed() else seconds)

    def wake_up(self) -> None:
        """Have it sleep no longer. For any thread."""
        if self._is_asleep:
            self._is_asleep = False
            with suppress(OSError):  # it rings already, or all is over
                self._ringer.send(b"\0")

    def close(self) -> None:
        """Look at nothing any more."""
        self._selector.close()
        self._bell.close()
        self._ringer.close()

    def _read(self, seconds: float | None) -> bool:
        ready = self._selector.select(seconds)
        self._is_asleep = False
        for key, _ in ready:
            if not key.data():
                self._selector.unregister(key.fileobj)
        return bool(ready)

    def _hear(self) -> bool:
        with suppress(BlockingIOError):
            self._bell.recv(64)
        return True
