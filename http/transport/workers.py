"""Threads for what would hold up the loop: a few, and a bounded number of requests that wait for one of them."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

from ..wire.errors import ServerBusy
from .wake_ups import WakeUps

T = TypeVar("T")

_MAX_WAITING = 1_000


class Workers:
    """Runs work in threads, and brings what it gives back into the loop.

    Args:
        threads: how many.
        wake_ups: of the loop.
    """

    def __init__(self, threads: int, wake_ups: WakeUps) -> None:
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="ordermill-http")
        self._wake_ups = wake_ups
        self._unfinished = 0
        self._max_unfinished = threads + _MAX_WAITING

    def run(self, work: Callable[[], T], done: Callable[[T], object]) -> None:
        """Have some work done; see `RunAside`."""
        if self._unfinished >= self._max_unfinished:
            raise ServerBusy
        self._unfinished += 1
        future = self._executor.submit(work)
        future.add_done_callback(lambda future: self._wake_ups.call(partial(self._finish, future, done)))

    def close(self) -> None:
        """End the threads, when what they do is done. What has not begun never will."""
        self._executor.shutdown(cancel_futures=True)

    def _finish(self, future: Future[Any], done: Callable[[Any], object]) -> None:
        self._unfinished -= 1
        if not future.cancelled():
            done(future.result())
