"""Forks: what a child of a server's process leaves to its parent.

A fork copies descriptors and signals' handlers. A child that lives on would keep the port from the next server, and
connections open that the server has closed; and what ends the child would stop the server within it instead.
"""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterable
from weakref import WeakSet

_kept: WeakSet[socket.socket] = WeakSet()
_handled: set[int] = set()


def keep_from_children(end: socket.socket) -> None:
    """Have a socket closed in each child that is forked while it is open."""
    _kept.add(end)


def handle_here_only(numbers: Iterable[int]) -> None:
    """Have these signals, which this process handles, do in a forked child what they do in any process.

    Args:
        numbers: all that are handled; none any more where it is empty.
    """
    _handled.clear()
    _handled.update(numbers)


def _leave_to_parent() -> None:
    for end in list(_kept):
        _close(end)
    _kept.clear()
    if _handled:
        signal.set_wakeup_fd(-1)  # which the parent reads from
    for number in _handled:
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    _handled.clear()


def _close(end: socket.socket) -> None:
    if (number := end.detach()) >= 0:  # whatever still uses it, and without a word to the other end
        os.close(number)


os.register_at_fork(after_in_child=_leave_to_parent)
