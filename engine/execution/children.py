"""Processes that this one starts for itself, and signals: the whole group gets them, and only the parent heeds them."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker

_STOPPING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


@contextmanager
def shielded() -> Iterator[None]:
    """Start a process meanwhile that calls `leave_stopping_to_parent`: until then signals wait for it.

    A signal that comes before it has imported what it needs would end it.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _STOPPING)
    try:
        # Python's own helper comes with the first process, and lets the signals of this thread through when it has.
        resource_tracker.ensure_running()
        signal.pthread_sigmask(signal.SIG_BLOCK, _STOPPING)
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def leave_stopping_to_parent() -> None:
    """Go on when a signal tells the group to stop: the parent ends this process when its work is done.

    Programs that this process starts are told by signals as ever.
    """
    for number in _STOPPING:
        signal.signal(number, _go_on)  # SIG_IGN would be inherited by the programs that this process starts
    os.register_at_fork(after_in_child=_heed)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOPPING)


def _go_on(*_: object) -> None:
    pass


def _heed() -> None:
    for number in _STOPPING:
        if signal.getsignal(number) is _go_on:
            signal.signal(number, signal.default_int_handler if number is signal.SIGINT else signal.SIG_DFL)
