"""EventStream: what happens to the orders, for a thread that follows it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from time import monotonic
from typing import Protocol

from pykka import Timeout

from ..store.domain.errors import EngineStopped, EventsGone
from ..store.domain.event import Event, EventFilter, EventPage
from .reply import Reply, answer

_PAGE = 1_000


class EventLog(Protocol):
    """What a stream asks an engine for; see `Engine`."""

    def event_page(self, after: int, limit: int, wanted: EventFilter) -> EventPage:
        """What comes next in the log, without waiting for it."""

    def begin_wait_for_events(self, after: int) -> Reply[None]:
        """Be told when there is more."""


class EventStream(Iterator[Event]):
    """An iterator of events, as `Engine.events` gives it. It holds a page of the log at the most, however far behind.

    Use it in one thread; `close` may be called in any.

    Example:
        >>> with OrderEngine("orders.db", handler=lambda order: None) as engine:
        ...     engine.submit(make_order("o-1")).wait(timeout=30)
        ...     for event in engine.events(after=0, timeout=0):
        ...         print(event.id, event.order_id, event.to_status)
        <OrderStatus.COMPLETED: 'Completed'>
        1 o-1 Pending
        2 o-1 Processing
        3 o-1 Completed

    Args:
        log: of an engine.
        after: the id of the last event that is known.
        wanted: which ones are.
        timeout: seconds to wait for a further event; None waits for ever.
    """

    def __init__(self, log: EventLog, after: int, wanted: EventFilter, timeout: float | None) -> None:
        self._log = log
        self._position = after
        self._wanted = wanted
        self._timeout = timeout
        self._read: deque[Event] = deque()
        self._told_removed = 0
        """Of what was removed, all that is known to be: what was gone before one began with the oldest, for one."""
        self._has_begun = after != 0
        self._moved: Reply[None] | None = None
        self._is_closed = False

    def __next__(self) -> Event:
        deadline = None if self._timeout is None else monotonic() + self._timeout
        while not self._is_closed:
            if self._read:
                return self._read.popleft()
            try:
                if not self._read_on() and not self._wait(deadline):
                    break
            except EngineStopped:
                break
        raise StopIteration

    def close(self) -> None:
        """End the iteration, also where a thread waits for the next event."""
        self._is_closed = True
        if (moved := self._moved) is not None:
            answer(moved, None)

    def _read_on(self) -> bool:
        """Read some of the log. Returns whether there was any."""
        page = self._log.event_page(self._position, _PAGE, self._wanted)
        if page.removed_through > max(self._position, self._told_removed):
            self._told_removed = page.removed_through
            if self._has_begun:
                raise EventsGone(self._position, page.removed_through)
        self._has_begun = True
        self._read.extend(page.events)
        has_moved = page.through > self._position
        self._position = page.through
        return has_moved

    def _wait(self, deadline: float | None) -> bool:
        self._moved = self._log.begin_wait_for_events(self._position)
        if self._is_closed:
            answer(self._moved, None)
        try:
            self._moved.get(timeout=None if deadline is None else max(0.0, deadline - monotonic()))
        except Timeout:
            answer(self._moved, None)
            return False
        return True
