"""Calls from other threads into the loop: however many there are, they cost it one wake-up."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress


class WakeUps:
    """Has functions called in a loop. What is called before there is one waits for it."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._calls: deque[Callable[[], object]] = deque()
        self._is_on_its_way = False

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """This is the loop. Call it in the thread that the loop runs in."""
        self._loop = loop
        loop.call_soon(self._run)

    def call(self, function: Callable[[], object]) -> None:
        """Have a function called soon, in the loop. From any thread; nothing happens once the loop has ended."""
        self._calls.append(function)
        if self._loop is not None and not self._is_on_its_way:
            self._is_on_its_way = True
            with suppress(RuntimeError):  # it is closed
                self._loop.call_soon_threadsafe(self._run)

    def _run(self) -> None:
        self._is_on_its_way = False  # first: what is added from here on wakes the loop again
        for _ in range(len(self._calls)):
            function = self._calls.popleft()
            try:
                function()
            except Exception as error:  # it must not take the others with it
                assert self._loop is not None
                self._loop.call_exception_handler({"message": "unexpected error", "exception": error})
