"""The feed: one thread of a process reads the log of all transitions, for all who watch it over HTTP.

Who keeps up gets what the feed has read last, which all of them share. Who is behind, since it began earlier in the log
or reads slowly, is read for by itself, a page at a time. Nothing is held for anybody but its place.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterable
from contextlib import suppress

from pykka import Timeout

from ...engine import Engine, EngineStopped, Reply, StoreUnavailable
from ...engine.reply import answer
from ...store.domain.event import EVERYTHING, Event, EventFilter
from ..framework.deferred import Deferred
from ..framework.stream import Stream
from ..wire.errors import TooManyWatchers
from .responses import encode, event_payload
from .waiting_places import WaitingPlaces

_PAGE = 256
_KEPT_BYTES = 2 * 1024 * 1024
_READS_AT_ONCE = 16
_SHARE = 0.07
"""Of one core's time, what the feed may take however many watch. What that is not enough for comes later."""
_LONGEST_PAUSE_SECONDS = 2.0
_METRICS_SECONDS = 1.0
_HEARTBEAT_SECONDS = 10.0
_AGAIN_SECONDS = 1.0

Call = Callable[[Callable[[], object]], object]

_log = logging.getLogger("ordermill.http")


def _call_now(function: Callable[[], object]) -> None:
    function()


class EventFeed:
    """Reads the log for those who watch it, and tells them how the engine is doing.

    Args:
        engine: whose log it is.
        max_watchers: how many there may be at the same time; none of the callers takes all of their places.
        call: has a function called where the watchers are served, from any thread: in a loop. By default they are
            threads, of another server.
    """

    def __init__(self, engine: Engine, max_watchers: int, call: Call = _call_now) -> None:
        self._engine = engine
        self._places = WaitingPlaces(max_watchers)
        self._call = call
        self._lock = threading.Lock()
        self._watchers: set[Watcher] = set()
        self._waiting: dict[Watcher, Reply[None]] = {}
        self._chunks: deque[_Chunk] = deque()
        self._through = 0  # what has been read
        self._moved: Reply[None] = Reply()
        self._is_running = False
        self._has_ended = False
        self._spent_seconds = 0.0

    def watch(
        self,
        after: int | None,
        wanted: EventFilter,
        *,
        wants_metrics: bool,
        timeout: float | None = None,
        caller: str | None = None,
    ) -> Watcher:
        """Begin to watch.

        Args:
            after: the last event that the client knows; 0 to begin with the oldest, None to begin with the next one.
            wanted: which ones it wants to see.
            wants_metrics: whether it is told each second how the engine is doing.
            timeout: seconds without an event after which it ends; None for never.
            caller: the id of its key; None where none is needed.

        Raises:
            TooManyWatchers: there are as many as there may be, in all or of this caller.
            EngineStopped, StoreUnavailable: as `Engine.last_event_id`.
        """
        last = self._engine.last_event_id()
        watcher = Watcher(self, last, after, wanted, wants_metrics=wants_metrics, timeout=timeout, caller=caller)
        if not self._places.take(caller):
            raise TooManyWatchers
        with self._lock:
            self._watchers.add(watcher)
        return watcher

    # For the watchers.

    def next_part(self, watcher: Watcher) -> bytes | Deferred[bytes | None] | None:
        """What comes next for one of them, or what it has to wait for; None at its end."""
        with self._lock:
            if part := watcher.take_ready() or self._next_kept(watcher):
                return part
            if self._has_ended or watcher.is_over:
                return None
            reply: Reply[None] = Reply()
            self._waiting[watcher] = reply
            if not self._is_running:
                self._is_running = True
                threading.Thread(target=self._run, name="ordermill-events", daemon=True).start()
            elif self._is_behind(watcher) or watcher.ends_at < math.inf:
                answer(self._moved, None)
        return Deferred(reply, watcher.next, lambda: answer(reply, None))

    def leave(self, watcher: Watcher) -> None:
        """One of them watches no longer."""
        with self._lock:
            if watcher in self._watchers:
                self._watchers.remove(watcher)
                self._places.give_back(watcher.caller)
            self._waiting.pop(watcher, None)
            if not self._watchers:
                self._has_ended = False
                answer(self._moved, None)

    def _is_behind(self, watcher: Watcher) -> bool:
        return watcher.position < (self._chunks[0].after if self._chunks else self._through)

    def _next_kept(self, watcher: Watcher) -> bytes:
        if not self._is_behind(watcher):
            for chunk in self._chunks:
                if chunk.through > watcher.position and (part := chunk.give(watcher)):
                    return part
        return b""

    # The thread.

    def _run(self) -> None:
        try:
            self._through = self._engine.last_event_id()
            self._follow()
        except EngineStopped:
            pass
        except Exception:
            _log.exception("unexpected error in the feed of events: those who watch are cut off, and may come again")
        with self._lock:
            self._is_running = False
            self._chunks.clear()
            self._has_ended = bool(self._watchers)
        if self._has_ended:
            self._deliver(lambda: self._wake(self._waiting, is_end=True))

    def _follow(self) -> None:
        metrics_at = time.monotonic()
        heartbeat_at = metrics_at + _HEARTBEAT_SECONDS
        while not self._is_alone():
            began = time.thread_time()
            try:
                moved = self._engine.begin_wait_for_events(self._through)
                self._moved = moved  # first: whoever comes from here on ends the wait below
                self._read_on()
                self._read_for_those_behind()
                now = time.monotonic()
                if now >= metrics_at:
                    metrics_at = now + _METRICS_SECONDS
                    self._tell_metrics()
                if now >= heartbeat_at:
                    heartbeat_at = now + _HEARTBEAT_SECONDS
                    self._deliver(lambda: self._wake(self._waiting, Watcher.heartbeat))
            except StoreUnavailable as error:
                _log.warning("the log of events cannot be read for a moment: %s", error)
                time.sleep(_AGAIN_SECONDS)
                continue
            spent = time.thread_time() - began + self._spent_seconds
            self._spent_seconds = 0.0
            time.sleep(min(spent / _SHARE - spent, _LONGEST_PAUSE_SECONDS))
            with suppress(Timeout):
                moved.get(timeout=max(0.0, self._next_at(metrics_at) - time.monotonic()))
            answer(moved, None)

    def _is_alone(self) -> bool:
        with self._lock:
            if not self._watchers:
                self._is_running = False
            return not self._watchers

    def _next_at(self, metrics_at: float) -> float:
        with self._lock:
            if any(self._is_behind(watcher) for watcher in self._waiting):
                return 0.0
            return min([metrics_at, *(watcher.ends_at for watcher in self._waiting)])

    def _read_on(self) -> None:
        page = self._engine.event_page(self._through, _PAGE)
        if page.through == self._through:
            return
        chunk = _Chunk(self._through, page.through, page.removed_through, page.events)
        with self._lock:
            self._through = page.through
            self._chunks.append(chunk)
            while len(self._chunks) > 1 and sum(kept.size for kept in self._chunks) > _KEPT_BYTES:
                self._chunks.popleft()
        if not page.is_last:
            answer(self._moved, None)
        self._deliver(lambda: self._wake(self._waiting, self._next_kept))

    def _read_for_those_behind(self) -> None:
        now = time.monotonic()
        alike: dict[tuple[int, EventFilter], list[Watcher]] = defaultdict(list)
        with self._lock:
            for watcher in self._waiting:
                if self._is_behind(watcher) or watcher.ends_at <= now:
                    alike[watcher.position, watcher.wanted].append(watcher)
        for (position, wanted), watchers in list(alike.items())[:_READS_AT_ONCE]:
            page = self._engine.event_page(position, _PAGE, wanted)
            frames = b"".join(map(_frame, page.events))
            with self._lock:
                for watcher in watchers:
                    if watcher.position == position:  # or it was given what was kept meanwhile
                        watcher.is_over = page.is_last and not page.events and watcher.ends_at <= now
                        watcher.ready = watcher.advance(frames, page.through, page.removed_through)
            self._deliver(lambda those=watchers: self._wake(those, self._next_kept))  # type: ignore[misc]  # a default

    def _tell_metrics(self) -> None:
        with self._lock:
            if not any(watcher.wants_metrics for watcher in self._waiting):
                return
        with suppress(Timeout):
            frame = b"event: metrics\ndata: %b\n\n" % encode(self._engine.begin_metrics().get(timeout=_METRICS_SECONDS))
            self._deliver(lambda: self._wake(self._waiting, lambda watcher: frame if watcher.wants_metrics else b""))

    def _deliver(self, work: Callable[[], object]) -> None:
        """Have something done where the watchers are served, and wait until it is."""
        done: Reply[None] = Reply()

        def deliver() -> None:
            began = time.thread_time()
            try:
                work()
            finally:
                self._spent_seconds += time.thread_time() - began
                answer(done, None)

        self._call(deliver)
        with suppress(Timeout):  # the loop is busy, or has ended
            done.get(timeout=_LONGEST_PAUSE_SECONDS)

    # Where the watchers are served.

    def _wake(
        self,
        watchers: Iterable[Watcher],
        part_of: Callable[[Watcher], bytes] = lambda _: b"",
        *,
        is_end: bool = False,
    ) -> None:
        woken = []
        with self._lock:
            for watcher in list(watchers):
                if watcher in self._waiting:
                    watcher.ready = watcher.ready or part_of(watcher)
                    if watcher.ready or watcher.is_over or is_end:
                        woken.append(self._waiting.pop(watcher))
        for reply in woken:
            answer(reply, None)


class Watcher(Stream):
    """One who watches: its place in the log, and what it wants to see. All but `next` and `close` is the feed's.

    Args:
        feed: where it watches.
        last: the newest event by now.
        after: the last event that it knows; None for the newest.
        wanted: which ones it wants to see.
        wants_metrics: whether it is told how the engine is doing.
        timeout: seconds without an event after which it ends; None for never.
        caller: the id of its key; None where none is needed.
    """

    def __init__(
        self,
        feed: EventFeed,
        last: int,
        after: int | None,
        wanted: EventFilter,
        *,
        wants_metrics: bool,
        timeout: float | None,
        caller: str | None,
    ) -> None:
        self._feed = feed
        self.position = last if after is None else min(after, last)
        """Of all up to here, it has got what it wants."""
        self.wanted = wanted
        self.wants_metrics = wants_metrics
        self.caller = caller
        # Whoever begins with the oldest has missed nothing of what was there before.
        self._told_removed = None if after == 0 else 0
        self._timeout = math.inf if timeout is None else timeout
        self.ends_at = time.monotonic() + self._timeout
        """When it ends, if nothing happens until then; by the monotonic clock."""
        self.is_over = False
        """Whether it ends now."""
        # A browser comes again a second after an end, and goes on after this id, also if it has got no event.
        self.ready = b"retry: 1000\nid: %d\n\n" % self.position
        """What it gets next."""
        if after is not None and after > last:  # of a log that was there before this one, in a database put back
            self.ready += _gone(after, last)

    def next(self) -> bytes | Deferred[bytes | None] | None:
        """The next part."""
        return self._feed.next_part(self)

    def close(self) -> None:
        """It is over."""
        self._feed.leave(self)

    def take_ready(self) -> bytes:
        """What it gets next, which it has then."""
        ready, self.ready = self.ready, b""
        return ready

    def advance(self, frames: bytes, through: int, removed_through: int) -> bytes:
        """What it gets of a part of the log that begins at its place.

        Args:
            frames: the events in it that it wants.
            through: where that part ends.
            removed_through: how far the log has lost events.
        """
        if self._told_removed is not None and removed_through > max(self.position, self._told_removed):
            frames = _gone(self.position, removed_through) + frames
        self._told_removed = removed_through
        self.position = through
        if frames:
            self.ends_at = time.monotonic() + self._timeout
        return frames

    def heartbeat(self) -> bytes:
        """What keeps the connection alive, and tells how far it has got though nothing was for it."""
        return b": heartbeat\nid: %d\n\n" % self.position


class _Chunk:
    """A part of the log, written for all who want some of it."""

    def __init__(self, after: int, through: int, removed_through: int, events: list[Event]) -> None:
        self.after = after
        self.through = through
        self._removed_through = removed_through
        self._events = [(event, _frame(event)) for event in events]
        self._all = b"".join(frame for _, frame in self._events)
        self.size = len(self._all)
        self._by_user: dict[str, list[tuple[Event, bytes]]] = defaultdict(list)
        for event, frame in self._events:
            self._by_user[event.user_id].append((event, frame))

    def give(self, watcher: Watcher) -> bytes:
        """What a watcher gets of it, whose place is in it."""
        wanted, position = watcher.wanted, watcher.position
        if wanted == EVERYTHING and position <= self.after:
            frames = self._all
        else:
            some = self._events if wanted.user_id is None else self._by_user.get(wanted.user_id, ())
            frames = b"".join(frame for event, frame in some if event.id > position and wanted.takes(event))
        return watcher.advance(frames, self.through, self._removed_through)


def _frame(event: Event) -> bytes:
    kind = b"late" if event.is_late else event.to_status.lower().encode()
    return b"id: %d\nevent: order.%b\ndata: %b\n\n" % (event.id, kind, encode(event_payload(event)))


def _gone(after: int, removed_through: int) -> bytes:
    return b"event: gone\ndata: %b\n\n" % encode({"after": after, "removed_through": removed_through})
