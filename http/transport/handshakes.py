"""TLS handshakes one after the other: each takes the loop a millisecond, and anybody may begin as many as there are
connections.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections import deque
from collections.abc import Callable
from itertools import islice
from typing import NamedTuple

_RECORD_HEAD_BYTES = 5
_IS_HANDSHAKE = 22
_MAX_HELLO_BYTES = 8 * 1024
_UNPLANNED_AT_ONCE = 2
_PAUSES = 7
_LONGEST_PAUSE_SECONDS = 0.03
_GIVEN_UP_AFTER_TURNS = 12


class _Silent(NamedTuple):
    """A client that has not said hello as a whole."""

    until: float
    """By the loop's clock."""
    needed: int
    """How many bytes have to be there before anything else can be told."""


class Handshakes:
    """Has clients shake hands who have said hello as a whole, one at a time, and seven times as long a pause after it.

    So handshakes take an eighth of the loop's time at the most: whoever is connected already comes first. And who says
    nothing, or half of it, costs next to nothing and is in nobody's way.

    Args:
        loop: that all of it runs in.
        begin: has a client shake hands.
        patience_seconds: how long a client may take to say hello.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, begin: Callable[[socket.socket], object], patience_seconds: float
    ) -> None:
        self._loop = loop
        self._begin = begin
        self._patience_seconds = patience_seconds
        self._silent: dict[socket.socket, _Silent] = {}
        self._ready: deque[socket.socket] = deque()
        self._is_busy = False
        self._in_this_turn = 0
        self._next_call: asyncio.Handle | None = None

    def __len__(self) -> int:
        return len(self._silent) + len(self._ready)

    def add(self, accepted: socket.socket) -> None:
        """A client has come."""
        self._await(accepted, _Silent(self._loop.time() + self._patience_seconds, _RECORD_HEAD_BYTES))
        self._loop.add_reader(accepted, self._look, accepted)

    def may_say_hello(self) -> bool:
        """Whether the hello that has just come may be answered now: the part of a handshake that takes long.

        What is sent in pieces can come as a whole at any time, and from all at once.
        """
        self._in_this_turn += 1
        if self._in_this_turn == 1:
            self._loop.call_soon(self._end_turn, time.perf_counter())
        return self._in_this_turn <= _UNPLANNED_AT_ONCE

    def drop_late(self, now: float) -> None:
        """End those that have not said hello in time.

        Args:
            now: by the loop's clock.
        """
        for accepted in [accepted for accepted, silent in self._silent.items() if silent.until < now]:
            self._drop(accepted)

    def drop_oldest(self, count: int) -> None:
        """End those that have said nothing for longest: others need their places."""
        for accepted in list(islice(self._silent, count)):
            self._drop(accepted)

    def close(self) -> None:
        """End all that have not begun."""
        self.drop_oldest(len(self._silent))
        while self._ready:
            self._ready.popleft().close()

    def _look(self, accepted: socket.socket) -> None:
        silent = self._silent[accepted]
        try:
            begin = accepted.recv(_MAX_HELLO_BYTES, socket.MSG_PEEK)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:  # it was reset
            begin = b""
        if len(begin) < silent.needed:  # and yet it can be read: no more will come
            self._drop(accepted)
            return
        if begin[0] == _IS_HANDSHAKE:
            needed = min(_RECORD_HEAD_BYTES + int.from_bytes(begin[3:5], "big"), _MAX_HELLO_BYTES)
            if len(begin) < needed:
                self._await(accepted, silent._replace(needed=needed))
                return
        self._let_go(accepted)
        accepted.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)
        self._ready.append(accepted)
        if not self._is_busy:
            self._go_on()

    def _await(self, accepted: socket.socket, silent: _Silent) -> None:
        # The system says that it can be read when so much is there, and not for each byte.
        accepted.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, silent.needed)
        self._silent[accepted] = silent

    def _drop(self, accepted: socket.socket) -> None:
        self._let_go(accepted)
        accepted.close()

    def _let_go(self, accepted: socket.socket) -> None:
        del self._silent[accepted]
        self._loop.remove_reader(accepted)

    def _go_on(self) -> None:
        self._is_busy = bool(self._ready)
        if self._is_busy:
            self._begin(self._ready.popleft())
            self._wait_for_hello(_GIVEN_UP_AFTER_TURNS)

    def _wait_for_hello(self, turns: int) -> None:
        # It is there, and so read within a few turns of the loop, unless it is none.
        if turns:
            self._next_call = self._loop.call_soon(self._wait_for_hello, turns - 1)
        else:
            self._go_on()

    def _end_turn(self, began: float) -> None:
        self._in_this_turn = 0
        if self._is_busy and self._next_call is not None:
            self._next_call.cancel()
            pause = min(_PAUSES * (time.perf_counter() - began), _LONGEST_PAUSE_SECONDS)
            self._next_call = self._loop.call_later(pause, self._go_on)
