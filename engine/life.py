"""The life of an engine: the one place that knows where it is, and what may come next."""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable
from concurrent.futures import process, thread  # noqa: F401  # both prepare for the end of the program when imported
from enum import StrEnum
from functools import cache
from typing import Any, ClassVar
from weakref import WeakSet

from pykka import ThreadingActor

from ..store.domain.errors import EngineStopped
from ..store.reader import Reader
from ..store.sqlite.descriptor import keep_for_ever
from .logger import EngineLogger
from .startup import RunningEngine, stop_actors

_log = EngineLogger("ordermill.engine")
_lives: WeakSet[Life] = WeakSet()

_LOOK_UP_SECONDS = 1.0
"""A signal that comes just before a thread falls asleep does not wake it, and is noticed so much later."""


IS_INHERITED = (
    "The engine was started before this process was forked, and runs in the parent only: "
    "submit there, or make an engine after the fork."
)


class Phase(StrEnum):
    """Where an engine is in its life; after STOPPED it may be STARTING again."""

    CREATED = "not started"
    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    STOPPED = "stopped"
    INHERITED = "the parent's of this process only"
    """In a forked child, for good."""


class Life:
    """Starts an engine and stops it, once each, whoever wants it and how often.

    It refers to what runs, not to the engine: one that nobody refers to any more can be stopped too.
    """

    def __init__(self) -> None:
        self._set_locks()
        self.phase = Phase.CREATED
        """Where it is."""
        self._running: RunningEngine | None = None
        self._stopper: Any = None
        self._starter: int | None = None
        _lives.add(self)

    def _set_locks(self) -> None:
        self.gate = threading.RLock()
        """While it is held the engine neither begins to run nor to stop. A signal's handler that stops the engine may
        interrupt the very thread that holds it, hence the kind of lock."""
        # Held by way of the gate, which is no Python code: an interrupt cannot come before it is let go.
        self._changed = threading.Condition(self.gate)

    @property
    def running(self) -> RunningEngine | None:
        """What runs; None before and afterwards, and from the first moment of a stop."""
        return self._running if self.phase is Phase.RUNNING else None

    @property
    def reader(self) -> Reader | None:
        """What to read from the database with, until the last moment of a stop; None before and afterwards."""
        running = self._running
        return None if running is None or self.phase is Phase.INHERITED else running.reader

    def start(self, start_actors: Callable[[], RunningEngine]) -> None:
        """Begin to run; nothing if it runs. Where it is being started or stopped, that comes first.

        Args:
            start_actors: starts everything, or raises and leaves nothing behind.

        Raises:
            EngineStopped: it is the parent's of this process.
        """
        _prepare_for_exit()
        with self.gate:
            if self.phase is Phase.INHERITED:
                raise EngineStopped(IS_INHERITED)
            while self.phase in (Phase.STARTING, Phase.STOPPING):
                self._changed.wait()
            if self.phase is Phase.RUNNING:
                return
            before = self.phase
            self._starter = threading.get_ident()
            self._enter(Phase.STARTING)
        try:
            running = start_actors()
            try:
                self._stopper = _StopActor.start(self._end)
            except BaseException:
                stop_actors(running)
                raise
        except BaseException:
            self._enter(before)
            raise
        self._running = running
        self._enter(Phase.RUNNING)

    def stop(self) -> None:
        """Stop, and wait until that is over; nothing if it does not run.

        Whoever waits may be interrupted: the stop goes on, and `stop` waits for it again.

        Raises:
            EngineStopped: called in a signal's handler that has interrupted the start: the start raises it.
        """
        with self.gate:
            if self.phase is Phase.STARTING and self._starter == threading.get_ident():
                raise EngineStopped("The engine was stopped while it was starting.")
            while self.phase is Phase.STARTING:
                self._changed.wait()
            self.begin_stop()
            while self.phase is Phase.STOPPING:
                self._changed.wait(_LOOK_UP_SECONDS)

    def begin_stop(self) -> None:
        """Have it stop, without waiting; nothing if it does not run. Even the garbage collector may call this."""
        with self.gate:
            if self.phase is Phase.RUNNING:
                self._enter(Phase.STOPPING)
                self._stopper.stop(block=False)

    def leave_to_parent(self) -> None:
        """In a forked child: run no more, for the actors' threads are not there, and stop nothing."""
        self._set_locks()  # other threads of the parent's may have had them
        if self.phase in (Phase.STARTING, Phase.RUNNING, Phase.STOPPING):
            self.phase = Phase.INHERITED
            # Its connections to the database are the parent's: not even the collector may close them here.
            keep_for_ever(self._running)

    def _end(self) -> None:
        with self.gate:
            # Everything that was told while it ran is in the mailboxes before the first word of the stop.
            self._enter(Phase.STOPPING)
        assert self._running is not None
        try:
            stop_actors(self._running)
        except Exception:  # it is over all the same, and the database free for the next engine
            _log.exception("unexpected error in a stop")
        finally:
            self._running = None
            self._enter(Phase.STOPPED)

    def _enter(self, phase: Phase) -> None:
        with self.gate:
            self.phase = phase
            self._changed.notify_all()


@cache
def _prepare_for_exit() -> None:
    # concurrent.futures shuts its pools down before `atexit` calls anybody, and the engine needs them for its stop. So
    # this uses what concurrent.futures uses; of those, whoever comes last is called first.
    threading._register_atexit(_stop_all)  # type: ignore[attr-defined]  # it is not public


def _stop_all() -> None:
    lives = [life for life in list(_lives) if life.phase in (Phase.RUNNING, Phase.STOPPING)]
    for life in lives:
        life.begin_stop()
    for life in lives:
        life.stop()


class _StopActor(ThreadingActor):
    """Of an engine's actors the one that Pykka's registry knows: when it is stopped, it stops the others in order.

    So it makes no difference who stops an engine: `OrderEngine.stop`, or `ActorRegistry.stop_all()` of a program with
    actors of its own.

    Args:
        end: stops the engine.
    """

    use_daemon_thread: ClassVar[bool] = True

    @staticmethod
    def _create_actor_inbox() -> Any:
        # The garbage collector may put something into it, in any thread.
        return queue.SimpleQueue()

    def __init__(self, end: Callable[[], None]) -> None:
        super().__init__()
        self._end = end

    def on_stop(self) -> None:
        """Stop the engine."""
        self._end()


def _leave_to_parent() -> None:
    for life in list(_lives):
        life.leave_to_parent()


os.register_at_fork(after_in_child=_leave_to_parent)
